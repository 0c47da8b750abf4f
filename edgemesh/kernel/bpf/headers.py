"""Kernel headers for bcc: its programs include some, though they use the stable interface only.

Those of another kernel do, since programs take the places of members of kernel structs from
BTF. Distributions lay headers out in three ways: one complete tree, one of links into another
(Ubuntu), and two halves (Debian: ``linux-headers-V-amd64`` has what is generated, its Makefile
names ``linux-headers-V-common``). bcc wants one tree.
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from edgemesh.model.errors import OperatorError

_ARCHITECTURES = {"x86_64": "x86", "aarch64": "arm64", "riscv64": "riscv"}
_ONE_TREE = ("include/linux/kconfig.h", "include/generated/autoconf.h")
_REMEDY = "apt-get install linux-headers-$(dpkg --print-architecture), or set bpf.headers"


class HeaderPlaces(NamedTuple):
    """Where distributions put headers."""

    sources: Path = Path("/usr/src")
    modules: Path = Path("/lib/modules")


_USUAL = HeaderPlaces()


@contextmanager
def header_tree(chosen: str, places: HeaderPlaces = _USUAL) -> Iterator[Path]:
    """A complete tree of headers, as BCC_KERNEL_SOURCE wants it, until the block is left.

    Args:
        chosen: the one that the settings name, "" to look for one.
        places: where to look.

    Raises:
        OperatorError: there is none.
    """
    headers = find_headers(chosen, places)
    if _complete(headers):
        yield headers
        return
    with tempfile.TemporaryDirectory(prefix="edgemesh-headers-") as made:
        tree = Path(made)
        _join([headers, _other_half(headers)], tree)
        yield tree


def find_headers(chosen: str, places: HeaderPlaces = _USUAL) -> Path:
    """The headers that would be used: of the running kernel, else the newest there are.

    Args:
        chosen: the ones that the settings name, "" to look for some.
        places: where to look.

    Raises:
        OperatorError: there are none, or the chosen ones cannot be used.
    """
    if chosen:
        if not _usable(Path(chosen)):
            raise OperatorError(f"bpf.headers = {chosen!r} is no tree of kernel headers", _REMEDY)
        return Path(chosen)
    installed = sorted(places.sources.glob("linux-headers-*"), key=_version, reverse=True)
    for candidate in (places.modules / os.uname().release / "build", *installed):
        if _usable(candidate):
            return candidate
    raise OperatorError("no kernel headers are installed", _REMEDY)


def _complete(tree: Path) -> bool:
    return all((tree / name).is_file() for name in _ONE_TREE)


def _usable(tree: Path) -> bool:
    if _complete(tree):
        return True
    # The half without autoconf.h is found through the one that has it.
    return (tree / _ONE_TREE[1]).is_file() and (_other_half(tree) / _ONE_TREE[0]).is_file()


def _other_half(tree: Path) -> Path:
    """The tree that the Makefile includes; the tree itself where it includes none."""
    makefile = tree / "Makefile"
    text = makefile.read_text() if makefile.exists() else ""
    found = re.search(r"^include (\S+)/Makefile$", text, re.MULTILINE)
    return Path(found[1]) if found else tree


def _join(halves: list[Path], tree: Path) -> None:
    machine = platform.machine()
    architecture = _ARCHITECTURES.get(machine, machine)
    for folder in (Path("include"), Path("arch", architecture, "include")):
        (tree / folder).mkdir(parents=True)
        for entry in (each for half in halves for each in (half / folder).iterdir()):
            with suppress(FileExistsError):
                (tree / folder / entry.name).symlink_to(entry.absolute())


def _version(tree: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", tree.name)]
