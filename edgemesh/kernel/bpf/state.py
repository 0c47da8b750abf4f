"""What is loaded, and whose it is: kept in a map beside the pins, since those are all there is."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from edgemesh.kernel.bpf.maps import Map, MapType, create_map
from edgemesh.kernel.bpf.pins import CURRENT, INFO
from edgemesh.kernel.bpf.syscall import pin
from edgemesh.kernel.processes import start_time
from edgemesh.model.errors import OperatorError

Owner = Literal["agent", "operator"]
_INFO_BYTES = 8192
_KEY = bytes(4)


@dataclass(frozen=True, slots=True)
class User:
    """The agent that works with what is loaded.

    Args:
        pid: its process.
        started: of the process, in clock ticks since the machine's start.
    """

    pid: int
    started: int

    @classmethod
    def this_process(cls) -> User:
        """Ourselves."""
        pid = os.getpid()
        return cls(pid, start_time(pid) or 0)

    @property
    def alive(self) -> bool:
        """Whether it runs still."""
        return start_time(self.pid) == self.started


@dataclass(frozen=True, slots=True)
class LoadedState:
    """What is loaded.

    Args:
        build: the same word for what is built alike, see `build_id`.
        owner: who loaded it: an ``agent`` takes it along when it ends, an ``operator`` decides
            by command.
        user: the agent that works with it, None while there is none.
        loaded_at: seconds since 1970.
        cgroup: the directory that programs are attached to.
        groups: "" for those that are there, else why not.
    """

    build: str
    owner: Owner
    user: User | None
    loaded_at: float
    cgroup: str
    groups: dict[str, str]

    @property
    def in_use(self) -> bool:
        """Whether a living agent works with it."""
        return self.user is not None and self.user.alive

    def described(self) -> str:
        """Since when it is there and whose it is, to follow "were loaded"."""
        loaded = f"{_age(time.time() - self.loaded_at)} ago by an {self.owner}"
        if self.user is None:
            return f"{loaded}, used by no agent"
        ended = "" if self.user.alive else ", which ended"
        return f"{loaded}, used by the agent {self.user.pid}{ended}"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def read_state(directory: Path) -> LoadedState | None:
    """What is loaded there, None for nothing.

    Raises:
        OperatorError: it cannot be looked at.
    """
    path = directory / CURRENT / INFO
    try:
        info = Map.open(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}", "run as root") from error
    with info:
        value = info.lookup(_KEY) or b""
    try:
        return msgspec.json.decode(value.rstrip(b"\0"), type=LoadedState)
    except msgspec.DecodeError as error:
        problem = f"{directory}: what is loaded there is of another edgemesh: {error}"
        raise OperatorError(problem, "edgemesh bpf unload") from error


def pin_state(tree: Path, state: LoadedState) -> None:
    """Keep it in a new map, pinned in a directory."""
    with create_map(MapType.ARRAY, 4, _INFO_BYTES, 1, "edgemesh_info") as info:
        info.update(_KEY, _encoded(state))
        pin(info.fd, tree / INFO)


def change_state(directory: Path, state: LoadedState) -> None:
    """Replace what is kept about that which is loaded."""
    with Map.open(directory / CURRENT / INFO) as info:
        info.update(_KEY, _encoded(state))


def _encoded(state: LoadedState) -> bytes:
    return msgspec.json.encode(state).ljust(_INFO_BYTES, b"\0")
