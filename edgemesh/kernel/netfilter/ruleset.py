"""The shipped rule sets with the settings' values in place of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2s

from edgemesh.kernel.shipped import shipped
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import NetfilterSettings, ProxySettings

# iptables allows 28 characters in a chain's name; the longest is TABLE-NEW-POSTROUTING.
_TABLE = re.compile(r"[a-z][a-z0-9-]{0,10}")
_NFT_DEFINE = re.compile(r"^define (\w+) = .*$", re.MULTILINE)
_RULES_DEFINE = re.compile(r"^# define (\w+) (\S+)$", re.MULTILINE)


def check(settings: NetfilterSettings) -> None:
    """Refuse values that no rule set can hold.

    Raises:
        OperatorError: naming the setting and the value.
    """
    if not _TABLE.fullmatch(settings.table):
        raise OperatorError(
            f"netfilter.table: {settings.table!r} is no name",
            "at most 11 lower-case letters, digits and hyphens",
        )
    for name, mark in (
        ("divert_mark", settings.divert_mark),
        ("own_mark", settings.own_mark),
    ):
        if not mark or mark & ~settings.mark_mask:
            raise OperatorError(
                f"netfilter.{name}: {mark:#x} is not within mark_mask {settings.mark_mask:#x}"
            )
    if settings.divert_mark == settings.own_mark:
        raise OperatorError(f"netfilter: divert_mark and own_mark are both {settings.own_mark:#x}")


def nft_ruleset(settings: NetfilterSettings, proxy: ProxySettings, *, owned: bool) -> str:
    """The nft table that the settings ask for, with a comment that names it.

    Args:
        settings: marks, table name, mode and families.
        proxy: the listeners' ports, and whose calls are intercepted.
        owned: whether the table is to vanish with the process that loads it.
    """
    values = {
        "families": {"ipv4": "{ ipv4 }", "ipv6": "{ ipv6 }"}.get(settings.family, "{ ipv4, ipv6 }"),
        "mark_mask": f"{settings.mark_mask:#x}",
        "keep_mask": f"{settings.mark_mask ^ 0xFFFFFFFF:#x}",
        "divert_mark": f"{settings.divert_mark:#x}",
        "own_mark": f"{settings.own_mark:#x}",
        "tcp_port": f"{proxy.tcp_port}",
        "udp_port": f"{proxy.udp_port}",
        "without_listener": "refuse" if settings.fail == "closed" else "pass",
        **_callers(settings, proxy),
    }
    text = shipped("netfilter", f"{settings.mode}.nft").read_text()
    # A context of the library keeps what is defined, for when the rules have to be put right.
    text = _NFT_DEFINE.sub(lambda found: f"redefine {found[1]} = {values[found[1]]}", text)
    flags = "\tflags owner\n" if owned else ""
    comment = f'\tcomment "{_fingerprint(settings, text + flags)}"\n'
    return re.sub(
        r"^table inet edgemesh \{\n",
        f"table inet {settings.table} {{\n{flags}{comment}",
        text,
        flags=re.MULTILINE,
    )


def iptables_ruleset(settings: NetfilterSettings, proxy: ProxySettings, version: int) -> str:
    """The iptables-restore text that the settings ask for, its services still empty.

    Args:
        settings: marks, table name and mode.
        proxy: the listeners' ports.
        version: 4 or 6.
    """
    values = {
        "chains": chains(settings),
        "own_mark": f"{settings.own_mark:#x}/{settings.mark_mask:#x}",
        "divert_mark": f"{settings.divert_mark:#x}/{settings.mark_mask:#x}",
        "tcp_port": f"{proxy.tcp_port}",
        "udp_port": f"{proxy.udp_port}",
    }
    text = shipped("netfilter", f"{settings.mode}.v{version}.rules").read_text()
    replaced = {found[2]: values[found[1]] for found in _RULES_DEFINE.finditer(text)}
    words = re.compile("|".join(rf"(?<![\w/]){re.escape(word)}(?![\w/])" for word in replaced))
    return words.sub(lambda found: replaced[found[0]], text)


def _callers(settings: NetfilterSettings, proxy: ProxySettings) -> Mapping[str, str]:
    """Where the rules lead calls of those who are listed, of others and of the node itself."""
    if proxy.intercept_default == "enabled":
        return {"listed_callers": "left_alone", "other_callers": "divert", "own_calls": "by_lo"}
    # What is redirected is decided once for a connection: nothing of it could be cut in two.
    listed = "beginning" if settings.mode == "tproxy" else "divert"
    return {"listed_callers": listed, "other_callers": "left_alone", "own_calls": "leave"}


def chains(settings: NetfilterSettings) -> str:
    """What the names of our iptables chains begin with."""
    return settings.table.upper()


def iptables_fingerprint(settings: NetfilterSettings, text: str) -> str:
    """The name of a rendered rule set."""
    return _fingerprint(settings, text)


def _fingerprint(settings: NetfilterSettings, text: str) -> str:
    digest = blake2s(f"{settings}\n{text}".encode(), digest_size=6).hexdigest()
    return f"edgemesh {settings.mode} {settings.family} {settings.fail} {digest}"
