"""Wherever a load is killed, nothing is half loaded, and the next one works."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bpf_samples import attached, bpf_place, connect_in, counting, number, only

from edgemesh.kernel.bpf.loader import Loading, load, loaded, unload
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.errors import OperatorError

pytestmark = pytest.mark.root

KILLED = str(Path(__file__).with_name("bpf_killed.py"))
IN_THE_CHILD = (
    "compiled counting",
    "loaded counting",
    "attached counting",
    "pinned maps/connects",
    "pinned maps/ports",
    "pinned programs/count_connects",
    "pinned links/count_connects",
)


@pytest.fixture
def place() -> Iterator[BpfSettings]:
    with bpf_place() as settings:
        yield settings


def run_killed(role: str, place: BpfSettings, sources: Path, step: str) -> None:
    argv = [sys.executable, KILLED, role, str(place.directory), place.cgroup, str(sources), step]
    assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL


def assert_it_works(place: BpfSettings, sources: Path) -> None:
    """One load, one program, that counts once; and afterwards nothing."""
    result = load(place, owner="operator", loading=only(counting(sources)))
    assert len(attached(place.cgroup)) == 1
    connect_in(place.cgroup)
    with result.map("connects") as connects:
        assert number(connects.lookup(bytes(4))) == 1
    unload(place)
    assert attached(place.cgroup) == ()
    assert not place.directory.exists()


@pytest.mark.parametrize("step", IN_THE_CHILD)
def test_a_killed_compile_child_leaves_nothing(
    place: BpfSettings, tmp_path: Path, step: str
) -> None:
    loading = Loading((counting(tmp_path),), (sys.executable, KILLED, "child", step))
    with pytest.raises(OperatorError, match="compile child ended with status -9"):
        load(place, owner="operator", loading=loading)
    assert attached(place.cgroup) == ()
    assert not place.directory.exists()
    assert_it_works(place, tmp_path)


@pytest.mark.parametrize("step", IN_THE_CHILD[1::2] + IN_THE_CHILD[-1:])
def test_a_load_that_is_killed_while_it_compiles_is_nothing_to_the_next_one(
    place: BpfSettings, tmp_path: Path, step: str
) -> None:
    run_killed("parent", place, tmp_path, step)
    assert loaded(place) is None
    assert_it_works(place, tmp_path)


def test_a_load_that_is_killed_before_it_publishes_is_nothing_to_the_next_one(
    place: BpfSettings, tmp_path: Path
) -> None:
    run_killed("loader", place, tmp_path, "described")
    assert loaded(place) is None
    assert_it_works(place, tmp_path)


def test_a_load_that_is_killed_when_it_has_published_is_whole(
    place: BpfSettings, tmp_path: Path
) -> None:
    run_killed("loader", place, tmp_path, "published")
    state = loaded(place)
    assert state is not None
    assert state.groups == {"counting": ""}
    unload(place)
    assert_it_works(place, tmp_path)


def test_unloading_removes_what_a_killed_load_left(place: BpfSettings, tmp_path: Path) -> None:
    run_killed("parent", place, tmp_path, IN_THE_CHILD[-1])
    assert not unload(place)
    assert attached(place.cgroup) == ()
    assert not place.directory.exists()


@pytest.mark.parametrize("gone", ["", "links/count_connects", "programs/count_connects"])
def test_an_unload_that_was_killed_is_finished_by_the_next_load(
    place: BpfSettings, tmp_path: Path, gone: str
) -> None:
    load(place, owner="operator", loading=only(counting(tmp_path)))
    leaving = place.directory / "leaving"
    (place.directory / "current").rename(leaving)
    if gone:
        (leaving / gone).unlink()
    assert loaded(place) is None
    assert_it_works(place, tmp_path)
