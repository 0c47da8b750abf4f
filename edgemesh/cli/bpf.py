"""``edgemesh bpf``: programs that balance and move in the kernel what need not pass an agent."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import trio
from cyclopts import App, Parameter

from edgemesh.app.config import load_settings
from edgemesh.kernel.bpf import loader
from edgemesh.kernel.bpf.listing import Pinned, list_pinned
from edgemesh.kernel.bpf.loader import Loading
from edgemesh.kernel.bpf.state import LoadedState
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.errors import OperatorError

app = App(name="bpf", help="The BPF programs that balance and forward calls in the kernel.")

AsJson = Annotated[bool, Parameter(name="--json", negative="")]
Verbose = Annotated[bool, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class BpfOptions:
    """Which programs; the configuration decides what is not given.

    Args:
        directory: where they are pinned, in a BPF file system.
        cgroup: the cgroup v2 directory whose processes they are for.
        headers: the kernel headers that they are compiled with.
        config: TOML file; default /etc/edgemesh/edgemesh.toml where it exists.
    """

    directory: Path | None = None
    cgroup: Path | None = None
    headers: Path | None = None
    config: Path | None = None

    def settings(self) -> BpfSettings:
        """The configuration with these flags over it."""
        given = {"directory": self.directory, "cgroup": self.cgroup, "headers": self.headers}
        flags = {name: path and str(path.absolute()) for name, path in given.items()}
        return load_settings(self.config, {"bpf": flags}).bpf


_NO_OPTIONS = BpfOptions()


@app.command
async def load(
    *, options: BpfOptions = _NO_OPTIONS, verbose: Verbose = False, as_json: AsJson = False
) -> None:
    """Load the programs, to stay until they are unloaded.

    They leave all calls alone until an agent that is started with the same configuration takes
    them over. An agent that finds none loads its own, and needs none of this.

    Args:
        options: which programs.
        verbose: tell each step, and what compiler and kernel say, on standard error.
        as_json: as one JSON object.
    """
    settings = options.settings()
    loading = Loading(told=_tell) if verbose else Loading()

    def work() -> Mapping[str, str]:
        return loader.load(settings, owner="operator", loading=loading).groups

    groups = await trio.to_thread.run_sync(work)
    if as_json:
        _print_json({"directory": str(settings.directory), "groups": groups})
    else:
        there = [name for name, reason in groups.items() if not reason]
        print(f"loaded at {settings.directory}: {', '.join(there)}")
        _print_missing(groups)


@app.command
async def unload(
    *,
    options: BpfOptions = _NO_OPTIONS,
    force: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
) -> None:
    """Unload the programs, whoever loaded them, and nothing of anybody else's.

    Args:
        options: which programs.
        force: also when an agent works with them: connections that the kernel moves for it end,
            those that it has balanced live on, and the agent relays what comes from then on.
        as_json: as one JSON object.
    """
    settings = options.settings()
    state = loader.loaded(settings)
    if state is not None and state.in_use and not force:
        raise OperatorError(
            f"{settings.directory}: BPF programs are in use: loaded {state.described()}",
            "stop the agent first, or give --force",
        )
    found = await trio.to_thread.run_sync(loader.unload, settings)
    if as_json:
        _print_json({"unloaded": found})
    else:
        print(f"unloaded from {settings.directory}" if found else "nothing was loaded")


@app.command
def show(*, options: BpfOptions = _NO_OPTIONS, as_json: AsJson = False) -> None:
    """Show what is loaded: programs, maps, and whose they are.

    Args:
        options: which programs.
        as_json: as one JSON object.
    """
    settings = options.settings()
    state = loader.loaded(settings)
    pinned = list_pinned(settings.directory) if state is not None else Pinned([], [])
    if as_json:
        facts = {"loaded": state is not None, "directory": str(settings.directory)}
        _print_json({**facts, **(asdict(state) if state else {}), **asdict(pinned)})
    elif state is None:
        print("nothing is loaded")
    else:
        _print_page(settings, state, pinned)


def _print_page(settings: BpfSettings, state: LoadedState, pinned: Pinned) -> None:
    print(f"{settings.directory}: loaded {state.described()}, build {state.build}")
    print(f"for processes in {state.cgroup}")
    _print_missing(state.groups)
    print("\nPROGRAM                 KIND                ID")
    for program in pinned.programs:
        print(f"{program.name:<24}{program.kind:<20}{program.id}")
    print("\nMAP                     KIND                ENTRIES   MEMORY")
    for each in pinned.maps:
        memory = f"{each.memory_bytes / 1024:.0f} KiB"
        print(f"{each.name:<24}{each.kind:<20}{each.max_entries:<10}{memory}")


def _print_missing(groups: Mapping[str, str]) -> None:
    for name, reason in groups.items():
        if reason:
            print(f"not loaded: {name}: {reason}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print_json(value: object) -> None:
    print(msgspec.json.encode(value).decode())
