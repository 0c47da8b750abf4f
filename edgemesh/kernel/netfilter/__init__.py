"""Interception of calls to Services by the kernel's packet filter."""

from __future__ import annotations

from edgemesh.kernel.netfilter.interception import (
    HeldConnection,
    Installed,
    Interception,
    Target,
)
from edgemesh.kernel.netfilter.iptables import IptablesInterception
from edgemesh.kernel.netfilter.nft import NftInterception
from edgemesh.model.settings import NetfilterSettings, ProxySettings

__all__ = ["HeldConnection", "Installed", "Interception", "Target", "open_interception"]


def open_interception(
    settings: NetfilterSettings, proxy: ProxySettings, *, owned: bool
) -> Interception:
    """The interception that the settings ask for; nothing is changed yet.

    Args:
        settings: backend, mode, families, marks and names.
        proxy: the listeners' ports.
        owned: True for a long-lived agent, whose rules go with it (fail mode ``open``), False
            for a command, whose rules stay until they are removed.

    Raises:
        OperatorError: a setting cannot be used, or the backend's tool is missing.

    Ownership: the caller calls `Interception.close`.
    """
    if settings.backend == "nft":
        return NftInterception(settings, proxy, owned=owned)
    return IptablesInterception(settings, proxy, owned=owned)
