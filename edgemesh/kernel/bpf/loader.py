"""BPF programs on their way into the kernel and out again, wherever a process is killed.

Built by a child process into a staging directory, published by one rename (see ``pins``).
Everything here blocks, for seconds where something is compiled: call it in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgemesh.kernel.bpf.bpffs import in_bpf_file_system, mount_if_missing
from edgemesh.kernel.bpf.build import CHILD, BuildSpec, build_id, build_spec, run_child
from edgemesh.kernel.bpf.maps import Map
from edgemesh.kernel.bpf.pins import (
    CURRENT,
    MAPS,
    STAGING,
    Loaded,
    locked,
    remove_current,
    remove_remains,
    take_down,
)
from edgemesh.kernel.bpf.programs import GROUPS, Group
from edgemesh.kernel.bpf.state import (
    LoadedState,
    Owner,
    User,
    change_state,
    pin_state,
    read_state,
)
from edgemesh.kernel.mounts import file_system, mount_point
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.errors import OperatorError

Told = Callable[[str], None]


def _nobody(_: str) -> None:
    """Listen to no steps."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How it is loaded.

    Args:
        groups: what is.
        child: how the compile child is started.
        told: is given each step that is done, and what compiler and verifier said.
    """

    groups: Sequence[Group] = GROUPS
    child: Sequence[str] = CHILD
    told: Told = _nobody


_USUAL = Loading()


def load(settings: BpfSettings, *, owner: Owner, loading: Loading = _USUAL) -> Loaded:
    """Load what works here.

    Args:
        settings: where to, and the limits.
        owner: ``agent`` when it is this process that is going to work with it.
        loading: what and how.

    Raises:
        OperatorError: something is loaded there already, or nothing can be.
    """
    cgroup = cgroup_directory(settings)
    mount_if_missing(settings.directory)
    with locked(settings.directory) as lock:
        remove_remains(settings.directory)
        state = read_state(settings.directory)
        if state is not None:
            raise OperatorError(
                f"{settings.directory}: BPF programs were loaded already: {state.described()}",
                "edgemesh bpf unload",
            )
        spec = build_spec(settings, loading.groups, cgroup, settings.directory / STAGING)
        return _publish(settings, spec, owner, loading, lock)


def adopt_or_load(settings: BpfSettings, *, loading: Loading = _USUAL) -> Loaded:
    """Get an agent, this process, what it is to work with.

    What is there and would be built alike is used again, with its maps emptied. What an agent
    left that ended is replaced where it is another build, or lacks a group that may be had now.

    Args:
        settings: where to, and the limits.
        loading: what and how.

    Raises:
        OperatorError: a living agent works with what is there, an operator loaded another
            build, or nothing can be loaded.
    """
    directory = settings.directory
    cgroup = cgroup_directory(settings)
    mount_if_missing(directory)
    with locked(directory) as lock:
        remove_remains(directory)
        spec = build_spec(settings, loading.groups, cgroup, directory / STAGING)
        state = read_state(directory)
        if state is None:
            return _publish(settings, spec, "agent", loading, lock)
        if state.in_use:
            raise OperatorError(
                f"{directory}: BPF programs are in use: loaded {state.described()}",
                "give each agent of a host a bpf.directory of its own",
            )
        complete = not any(state.groups.values())
        if state.build == build_id(spec) and (complete or state.owner == "operator"):
            _clear_maps(directory)
            change_state(directory, replace(state, user=User.this_process()))
            loading.told("adopted")
            return Loaded(directory / CURRENT, state.groups)
        if state.owner == "operator":
            raise OperatorError(
                f"{directory}: other BPF programs than this agent's are there: loaded "
                f"{state.described()}",
                "edgemesh bpf unload",
            )
        remove_current(directory)
        return _publish(settings, spec, "agent", loading, lock)


def release(settings: BpfSettings) -> None:
    """End this agent's work with what is loaded, at its orderly end.

    What it loaded itself goes; an operator's stays, with its maps emptied. What is another
    agent's by now is left alone.
    """
    directory = settings.directory
    if not _exists(directory):
        return
    with locked(directory):
        state = read_state(directory)
        if state is None or state.user != User.this_process():
            return
        if state.owner == "agent":
            remove_current(directory)
        else:
            _clear_maps(directory)
            change_state(directory, replace(state, user=None))


def unload(settings: BpfSettings) -> bool:
    """Remove what is loaded, whoever did, and what killed loads left; False for nothing.

    Links go first, then programs, then the maps' contents, then all pins.
    """
    directory = settings.directory
    if not _exists(directory):
        return False
    with locked(directory):
        remove_remains(directory)
        return remove_current(directory)


def remove_abandoned(settings: BpfSettings) -> bool:
    """Remove what an agent loaded that ended without its `release`; False for nothing.

    For an agent that begins and is not to use BPF itself.
    """
    directory = settings.directory
    if not _exists(directory):
        return False
    with locked(directory):
        remove_remains(directory)
        state = read_state(directory)
        abandoned = state is not None and state.owner == "agent" and not state.in_use
        return abandoned and remove_current(directory)


def loaded(settings: BpfSettings) -> LoadedState | None:
    """What is loaded now, None for nothing.

    Raises:
        OperatorError: it cannot be looked at.
    """
    return read_state(settings.directory)


def cgroup_directory(settings: BpfSettings) -> Path:
    """The directory that programs are attached to.

    Raises:
        OperatorError: there is no such directory of a cgroup v2 hierarchy.
    """
    if not settings.cgroup:
        root = mount_point("cgroup2")
        if root is None:
            raise OperatorError(
                "no cgroup v2 hierarchy is mounted",
                "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
            )
        return root
    cgroup = Path(settings.cgroup)
    if not cgroup.is_dir() or file_system(cgroup) != "cgroup2":
        raise OperatorError(f"bpf.cgroup = {settings.cgroup!r} is no cgroup v2 directory")
    return cgroup


def _publish(
    settings: BpfSettings, spec: BuildSpec, owner: Owner, loading: Loading, lock: int
) -> Loaded:
    """Build, and put it where it is found; what failed leaves nothing."""
    staging = settings.directory / STAGING
    staging.mkdir()
    try:
        result = run_child(spec, settings, lock, loading.child, loading.told)
        reasons = [reason for reason in result.groups.values() if reason]
        if reasons and len(reasons) == len(result.groups):
            raise OperatorError(f"BPF does not work here: {reasons[0]}")
        user = User.this_process() if owner == "agent" else None
        state = LoadedState(
            build_id(spec), owner, user, time.time(), spec.cgroup, dict(result.groups)
        )
        pin_state(staging, state)
        loading.told("described")
        staging.rename(settings.directory / CURRENT)
        loading.told("published")
    finally:
        take_down(staging)
    return Loaded(settings.directory / CURRENT, state.groups)


def _exists(directory: Path) -> bool:
    try:
        return in_bpf_file_system(directory) and directory.is_dir()
    except PermissionError as error:
        raise OperatorError(f"{directory}: {error.strerror}", "run as root") from error


def _clear_maps(directory: Path) -> None:
    for path in (directory / CURRENT / MAPS).iterdir():
        # Connections outlive agents, and their callers go on to ask whom they are connected to.
        if path.name == "sockets":
            continue
        with Map.open(path) as each:
            each.clear()
