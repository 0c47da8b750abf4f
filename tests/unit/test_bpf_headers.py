"""Kernel headers are found and made into one tree, as distributions lay them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgemesh.kernel.bpf.headers import HeaderPlaces, find_headers, header_tree
from edgemesh.model.errors import OperatorError

KCONFIG = "include/linux/kconfig.h"
GENERATED = "include/generated/autoconf.h"


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))


@pytest.fixture
def places(tmp_path: Path) -> HeaderPlaces:
    (tmp_path / "src").mkdir()
    return HeaderPlaces(tmp_path / "src", tmp_path / "modules")


def complete(tree: Path) -> Path:
    touch(tree / KCONFIG, tree / GENERATED)
    return tree


def halves(places: HeaderPlaces, version: str) -> Path:
    """As Debian has them."""
    common = places.sources / f"linux-headers-{version}-common"
    own = places.sources / f"linux-headers-{version}-amd64"
    for architecture in ("x86", "arm64", "riscv"):
        touch(common / f"arch/{architecture}/include/asm/page.h")
        touch(own / f"arch/{architecture}/include/generated/asm/rwonce.h")
    touch(common / KCONFIG, own / GENERATED)
    (own / "Makefile").write_text(f"include {common}/Makefile\n")
    return own


def test_those_of_the_running_kernel_come_first(places: HeaderPlaces) -> None:
    complete(places.sources / "linux-headers-99.0")
    running = complete(places.modules / os.uname().release / "build")
    assert find_headers("", places) == running


def test_the_newest_installed_ones_come_next(places: HeaderPlaces) -> None:
    complete(places.sources / "linux-headers-6.9.0")
    newest = complete(places.sources / "linux-headers-6.10.0")
    assert find_headers("", places) == newest


def test_the_chosen_ones_come_before_all(places: HeaderPlaces, tmp_path: Path) -> None:
    complete(places.sources / "linux-headers-6.9.0")
    chosen = complete(tmp_path / "chosen")
    assert find_headers(str(chosen), places) == chosen


def test_chosen_ones_that_are_none_are_named(places: HeaderPlaces, tmp_path: Path) -> None:
    complete(places.sources / "linux-headers-6.9.0")
    with pytest.raises(OperatorError, match="is no tree of kernel headers"):
        find_headers(str(tmp_path), places)


def test_half_a_tree_alone_is_passed_over(places: HeaderPlaces) -> None:
    touch(places.sources / "linux-headers-7.0" / GENERATED)
    whole = complete(places.sources / "linux-headers-6.9.0")
    assert find_headers("", places) == whole


def test_that_there_are_none_is_told_with_the_package(places: HeaderPlaces) -> None:
    with pytest.raises(OperatorError, match="apt-get install linux-headers"):
        find_headers("", places)


def test_a_complete_tree_is_used_as_it_is(places: HeaderPlaces) -> None:
    tree = complete(places.sources / "linux-headers-6.9.0")
    with header_tree("", places) as used:
        assert used == tree


def test_two_halves_become_one_tree_for_as_long_as_it_is_used(places: HeaderPlaces) -> None:
    own = halves(places, "6.1.0-1")
    architecture = {"x86_64": "x86", "aarch64": "arm64"}.get(os.uname().machine, "riscv")
    wanted = (
        KCONFIG,
        GENERATED,
        f"arch/{architecture}/include/asm/page.h",
        f"arch/{architecture}/include/generated/asm/rwonce.h",
    )
    with header_tree(str(own), places) as tree:
        assert [name for name in wanted if (tree / name).is_file()] == list(wanted)
    assert not tree.exists()


def test_the_half_that_has_the_generated_ones_is_found_by_itself(places: HeaderPlaces) -> None:
    own = halves(places, "6.1.0-1")
    assert find_headers("", places) == own
