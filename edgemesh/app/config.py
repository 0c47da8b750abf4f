"""The configuration: a TOML file, then ``EDGEMESH_*``, then flags; parsed once into Settings."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import socket
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgemesh.model.configuration import read_settings
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import Settings

DEFAULT_FILE = Path("/etc/edgemesh/edgemesh.toml")
_PREFIX = "EDGEMESH_"


def load_settings(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Read the settings in force.

    Args:
        config: the file that a flag named; it must exist. None means ``EDGEMESH_CONFIG``, else
            /etc/edgemesh/edgemesh.toml where there is one.
        overrides: values of flags, shaped like the file; None values are left out.
        environment: variables such as ``EDGEMESH_NODE`` or ``EDGEMESH_PROXY_TCP_PORT``. Unknown
            ones are passed over: Kubernetes adds its own for a Service named edgemesh.

    Raises:
        OperatorError: naming the file or variable, the key and the value.
    """
    if config is None and environment.get(_PREFIX + "CONFIG"):
        config = Path(environment[_PREFIX + "CONFIG"])
    values: dict[str, Any] = {}
    if config is not None or DEFAULT_FILE.exists():
        path = config or DEFAULT_FILE
        values = _read(path)
        read_settings(values, str(path))
    for name, text in environment.items():
        _overlay_variable(values, name, text)
    for key, value in (overrides or {}).items():
        if isinstance(value, Mapping):
            section = values.setdefault(key, {})
            section.update({k: v for k, v in value.items() if v is not None})
        elif value is not None:
            values[key] = value
    settings = read_settings(values, "the environment or a flag")
    _check_networks(settings)
    _check_source(settings)
    return settings if settings.node else dataclasses.replace(settings, node=_host_name())


def _check_networks(settings: Settings) -> None:
    for key, version in (("service_cidr4", 4), ("service_cidr6", 6)):
        text = getattr(settings.meta, key)
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise OperatorError(f"config: meta.{key} = {text!r}: {error}") from error
        if network.version != version:
            raise OperatorError(f"config: meta.{key} = {text!r} is not IPv{version}")


def _check_source(settings: Settings) -> None:
    if settings.proxy.source == "preserve" and settings.netfilter.mode == "redirect":
        raise OperatorError(
            "config: proxy.source = 'preserve' does not go with netfilter.mode = 'redirect'",
            "only tproxy brings answers to a client's own address back to the agent",
        )


def _host_name() -> str:
    # Kubernetes' nodes are called by the host's name in lower case.
    return socket.gethostname().lower()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise OperatorError(f"config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OperatorError(f"config {path}: {error}") from error


def _overlay_variable(values: dict[str, Any], name: str, text: str) -> None:
    if not name.startswith(_PREFIX):
        return
    key = name.removeprefix(_PREFIX).lower()
    fields = typing.get_type_hints(Settings)
    if key in fields and not dataclasses.is_dataclass(fields[key]):
        values[key] = text
        return
    section, _, option = key.partition("_")
    options = typing.get_type_hints(fields[section]) if section in fields else {}
    if option in options:
        is_list = typing.get_origin(options[option]) is tuple
        listed = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
        values.setdefault(section, {})[option] = listed
