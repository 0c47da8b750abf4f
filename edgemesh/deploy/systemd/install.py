"""Put the units of this folder into their places, with the path of the program that they start."""

from __future__ import annotations

import shlex
import sysconfig
from pathlib import Path
from typing import NamedTuple

from edgemesh.model.errors import OperatorError

_HERE = Path(__file__).parent
_UNITS = Path("etc/systemd/system")
_USERS = Path("etc/sysusers.d/edgemesh.conf")
# As the units have it: they are valid as they are.
_PROGRAM = "/usr/bin/edgemesh"
# What ProtectHome= of the units hides.
_HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))


class Installed(NamedTuple):
    """What was written, and the commands that make systemd use it."""

    files: tuple[Path, ...]
    commands: tuple[str, ...]


def own_program() -> Path:
    """The command ``edgemesh`` of this installation.

    Raises:
        OperatorError: it was installed without one.
    """
    program = Path(sysconfig.get_path("scripts"), "edgemesh")
    if not program.is_file():
        raise OperatorError(
            f"{program}: there is no such command", "name it: --program /usr/bin/edgemesh"
        )
    return program


def install_unit(root: Path, program: Path, *, cloud: bool) -> Installed:
    """Write the unit of the agent, or of the cloud, and the user that it needs.

    Blocks: writes two files; what was there is replaced.

    Args:
        root: of the system that it is for, ``/`` for this one.
        program: the absolute path, there, of the command ``edgemesh``.
        cloud: whether the cloud is to run there, not an agent.

    Raises:
        OperatorError: services cannot start that program, or a file cannot be written.
    """
    if not program.is_absolute() or any(home in program.parents for home in _HOMES):
        raise OperatorError(
            f"{program}: services do not see what lies in homes",
            "install edgemesh elsewhere, for example with a virtual environment in /opt/edgemesh",
        )
    name = "edgemesh-cloud" if cloud else "edgemesh"
    text = (_HERE / f"{name}.service").read_text()
    started = shlex.quote(str(program)).replace("%", "%%")
    contents = {
        root / _UNITS / f"{name}.service": text.replace(_PROGRAM, started),
        root / _USERS: (_HERE / "edgemesh.sysusers.conf").read_text(),
    }
    for path, content in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        except OSError as error:
            raise OperatorError(f"{path}: {error.strerror}") from error
    return Installed(tuple(contents), _commands(root, name))


def _commands(root: Path, name: str) -> tuple[str, ...]:
    if root == Path("/"):
        return ("systemd-sysusers", "systemctl daemon-reload", f"systemctl enable --now {name}")
    # A system that does not run: its users come and its services start when it does.
    return (f"systemctl --root={shlex.quote(str(root))} enable {name}",)
