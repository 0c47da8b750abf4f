"""``edgemesh import``: from EdgeMesh's configuration to ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import Parameter

from edgemesh.deploy.edgemesh_agent import Imported, Judged, import_agent
from edgemesh.deploy.gotemplate.functions import as_json
from edgemesh.deploy.yaml_text import read_file

_NO_SOURCE = (
    "Where objects come from is not said: set bus.cloud for a cloud of edgemesh, or"
    ' kubernetes.server = "http://127.0.0.1:10550" for KubeEdge\'s MetaServer.'
)


def import_file(
    path: Path,
    *,
    values: Annotated[
        bool, Parameter(negative="", help="Print values for deploy render, not edgemesh.toml.")
    ] = False,
) -> None:
    """Print EdgeMesh's edgemesh-agent.yaml as edgemesh.toml, and what became of each key.

    Args:
        path: the file, or the ConfigMap edgemesh-agent-cfg as YAML.
        values: as values of the chart, for edgemesh deploy render --values.
    """
    imported = import_agent(read_file(path), str(path))
    lines = [*_told(imported), *(_values(imported) if values else _toml(imported))]
    print("\n".join(lines))


def _told(imported: Imported) -> Iterator[str]:
    yield "# What became of each key of EdgeMesh's configuration:"
    for judged in imported.keys:
        yield f"#   {judged.outcome.fate:<14}{_line(judged)}"
    if not {"kubernetes", "bus"} & _sources(imported):
        yield f"# {_NO_SOURCE}"
    yield ""


def _line(judged: Judged) -> str:
    became = ", ".join(judged.outcome.settings)
    told = [f"{' '.join(judged.key.split())} = {as_json(judged.value)}"]
    told += [f"-> {became}"] if became else []
    told += [f"({judged.outcome.note})"] if judged.outcome.note else []
    return " ".join(told)


def _sources(imported: Imported) -> set[str]:
    """The sections that name where objects come from."""
    wanted = {"kubernetes": "server", "bus": "cloud"}
    return {name for name, key in wanted.items() if key in imported.settings.get(name, {})}


def _toml(imported: Imported) -> Iterator[str]:
    """JSON's strings, numbers and arrays are TOML's, too."""
    for section, keys in imported.settings.items():
        yield f"[{section}]"
        yield from (f"{key} = {as_json(value)}" for key, value in keys.items())
        yield ""


def _values(imported: Imported) -> Iterator[str]:
    config = {section: dict(keys) for section, keys in imported.settings.items()}
    server = config.get("kubernetes", {}).pop("server", "")
    agent: dict[str, Any] = {"follow": "kubernetes", "server": server} if server else {}
    listen = config.get("admin", {}).pop("listen", "")
    if listen:
        # Not in the configuration: probes have to know it, too.
        agent |= {"adminPort": int(listen.rpartition(":")[2]), "adminPublic": True}
    agent["config"] = {section: keys for section, keys in config.items() if keys}
    # Agents that ask a server themselves have no use for a cloud.
    cloud = {"cloud": {"enabled": False}} if server else {}
    yield yaml.safe_dump({"agent": agent, **cloud}, sort_keys=False).rstrip("\n")
