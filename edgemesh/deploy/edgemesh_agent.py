"""From the configuration of EdgeMesh's agent to ours, key by key.

EdgeMesh: github.com/kubeedge/edgemesh, `pkg/apis/config/v1alpha1`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from edgemesh.deploy.edgemesh_keys import ITS_OWN, KEYS, Fate, Outcome, WrongValueError
from edgemesh.deploy.yaml_text import read_mapping
from edgemesh.model.configuration import read_settings
from edgemesh.model.errors import OperatorError

_KIND = "EdgeMeshAgent"
_FILE = "edgemesh-agent.yaml"
_HEAD = frozenset({"apiVersion", "kind"})
_UNKNOWN = Outcome(Fate.UNKNOWN, "no key of EdgeMesh's agent up to v1.17; passed over")
_OWN = Outcome(Fate.NOT_NEEDED, "EdgeMesh sets it itself")


class Judged(NamedTuple):
    """One key of the file.

    Args:
        key: ``modules.edgeDNS.listenPort``.
        value: as given.
        outcome: what became of it.
    """

    key: str
    value: Any
    outcome: Outcome


class Imported(NamedTuple):
    """A configuration of ours, and how it came about.

    Args:
        settings: shaped like edgemesh.toml.
        keys: of the file, in its order.
    """

    settings: dict[str, dict[str, Any]]
    keys: tuple[Judged, ...]


def import_agent(data: bytes, name: str) -> Imported:
    """Read EdgeMesh's edgemesh-agent.yaml, or the ConfigMap that holds it.

    Args:
        data: YAML.
        name: of the file, for messages.

    Raises:
        OperatorError: it is something else, or a value is not what EdgeMesh has in its place.
    """
    found = dict(_leaves(_configuration(data, name), ""))
    keys = tuple(_judge(key, value, found, name) for key, value in found.items())
    settings: dict[str, dict[str, Any]] = {}
    for judged in keys:
        for path, value in judged.outcome.settings.items():
            section, _, key = path.partition(".")
            settings.setdefault(section, {})[key] = value
    read_settings(settings, name)
    return Imported(settings, keys)


def _configuration(data: bytes, name: str) -> Mapping[str, Any]:
    body = read_mapping(data, name)
    if body.get("kind") == "ConfigMap":
        files = body.get("data")
        inner = files.get(_FILE) if isinstance(files, Mapping) else None
        if not isinstance(inner, str):
            raise OperatorError(f"{name}: the ConfigMap has no {_FILE}")
        body = read_mapping(inner.encode(), f"{name}: {_FILE}")
    kind = body.get("kind", _KIND)
    if kind != _KIND:
        raise OperatorError(f"{name}: kind is {kind}, expected {_KIND}")
    if not {"kubeAPIConfig", "commonConfig", "modules"} & set(body):
        raise OperatorError(f"{name}: no configuration of EdgeMesh's agent: it has no modules")
    return body


def _leaves(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """Every key that holds a value; what is null is not said."""
    for key, each in value.items():
        where = f"{path}{key}"
        if isinstance(each, Mapping):
            yield from _leaves(each, f"{where}.")
        elif each is not None and where not in _HEAD:
            yield where, each


def _judge(key: str, value: Any, found: Mapping[str, Any], name: str) -> Judged:
    if key.startswith(ITS_OWN):
        return Judged(key, value, _OWN)
    rule = KEYS.get(key)
    if rule is None:
        return Judged(key, value, _UNKNOWN)
    try:
        return Judged(key, value, rule(value, found))
    except WrongValueError as error:
        raise OperatorError(f"{name}: {key} = {value!r}: {error}") from error
