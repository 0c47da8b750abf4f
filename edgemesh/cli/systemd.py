"""``edgemesh deploy systemd``: units for this host, or for an image of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgemesh.deploy.systemd.install import install_unit, own_program


def systemd(
    *,
    cloud: Annotated[bool, Parameter(negative="")] = False,
    root: Path = Path("/"),
    program: Path | None = None,
) -> None:
    """Write the unit of the agent, and print the commands that start it.

    Args:
        cloud: write the unit of the cloud instead.
        root: of the system that it is for.
        program: the command edgemesh there; default the one that runs now.
    """
    installed = install_unit(root, program or own_program(), cloud=cloud)
    for path in installed.files:
        print(f"# wrote {path}")
    for command in installed.commands:
        print(command)
