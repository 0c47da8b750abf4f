"""What the compile child is told, what it answers, and how it is run."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgemesh.kernel.bpf.headers import header_tree
from edgemesh.kernel.bpf.programs import Group, constants
from edgemesh.kernel.shipped import shipped
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.errors import OperatorError

# -P: a module of that name in the directory where root happens to be is not ours.
CHILD = (sys.executable, "-P", "-m", "edgemesh.kernel.bpf.compile_child")


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """The order to a compile child.

    Args:
        groups: what to build, in this order.
        sources: the path of each group's C file, by the group's name.
        macros: for all groups.
        cgroup: the directory that programs are attached to.
        pins: an empty directory in a BPF file system.
        loader: the process that gives it, with whose end the child ends, too.
    """

    groups: tuple[Group, ...]
    sources: dict[str, str]
    macros: dict[str, int]
    cgroup: str
    pins: str
    loader: int


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The answer: for each group "", or in one sentence why it is not there."""

    groups: dict[str, str]


def build_spec(
    settings: BpfSettings, groups: Sequence[Group], cgroup: Path, pins: Path
) -> BuildSpec:
    """The order for these groups.

    Args:
        settings: where the sizes come from.
        groups: a file that is no absolute path is one that comes with edgemesh.
        cgroup: that programs are attached to.
        pins: where they are pinned.
    """
    sources = {group.name: str(_source(group.file)) for group in groups}
    return BuildSpec(
        tuple(groups), sources, constants(settings), str(cgroup), str(pins), os.getpid()
    )


def build_id(spec: BuildSpec) -> str:
    """A word that is the same for what would be built alike, on this boot of this machine.

    A cgroup that was removed and made again is another one: nothing is attached to it.
    """
    digest = hashlib.sha256()
    folders = {Path(source).parent for source in spec.sources.values()}
    headers = sorted(header for folder in folders for header in folder.glob("*.h"))
    for path in (*map(Path, spec.sources.values()), *headers):
        text = path.read_bytes()
        digest.update(f"{path.name} {len(text)} ".encode() + text)
    kernel = os.uname()
    attached_to = (spec.cgroup, Path(spec.cgroup).stat().st_ino)
    facts = (spec.groups, spec.macros, attached_to, kernel.release, kernel.version)
    digest.update(msgspec.json.encode(facts))
    return digest.hexdigest()[:16]


def run_child(
    spec: BuildSpec,
    settings: BpfSettings,
    lock: int,
    child: Sequence[str],
    told: Callable[[str], None],
) -> BuildResult:
    """Have it built and pinned; blocks for one to some seconds.

    Args:
        spec: what to build.
        settings: say with which headers, and for how long at most.
        lock: a descriptor that the child holds, too: it ends with the last of us both.
        child: how to start it.
        told: is given what compiler and verifier said.

    Raises:
        OperatorError: there is no compiler, there are no headers, or the child failed as a
            whole.
    """
    if not has_bcc():
        raise OperatorError("bcc is not installed", "apt-get install python3-bpfcc")
    with header_tree(settings.headers) as tree:
        environment = {**os.environ, "BCC_KERNEL_SOURCE": str(tree)}
        try:
            done = subprocess.run(  # noqa: S603 - ourselves
                child,
                input=msgspec.json.encode(spec),
                env=environment,
                pass_fds=(lock,),
                capture_output=True,
                timeout=settings.build_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            said = _text(error.stderr)
            told(said)
            raise OperatorError(
                f"compiling BPF took longer than {settings.build_seconds:g} s, after: {_last(said)}"
            ) from None
    said = _text(done.stderr)
    told(said)
    if done.returncode:
        raise OperatorError(
            f"the BPF compile child ended with status {done.returncode}, after: {_last(said)}"
        )
    return msgspec.json.decode(done.stdout, type=BuildResult)


def has_bcc() -> bool:
    """Whether the BPF compiler is there; on PyPI ``bcc`` is something about crystals."""
    module = importlib.util.find_spec("bcc")
    folders = module.submodule_search_locations if module is not None else None
    return any(Path(folder, "libbcc.py").exists() for folder in folders or ())


def _text(said: bytes | None) -> str:
    return (said or b"").decode(errors="replace").strip()


def _last(said: str) -> str:
    return said.splitlines()[-1] if said else "nothing"


def _source(file: str) -> Path:
    path = Path(file)
    return path if path.is_absolute() else shipped("bpf", file)
