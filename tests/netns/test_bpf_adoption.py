"""What an agent that begins makes of BPF programs that are there already."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bpf_samples import attached, bpf_place, connect_in, counting, number, only

from edgemesh.kernel.bpf.loader import adopt_or_load, load, loaded, release
from edgemesh.kernel.bpf.state import LoadedState, User, change_state
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.errors import OperatorError

pytestmark = pytest.mark.root

KILLED = str(Path(__file__).with_name("bpf_killed.py"))


@pytest.fixture
def place() -> Iterator[BpfSettings]:
    with bpf_place() as settings:
        yield settings


def state_of(place: BpfSettings) -> LoadedState:
    state = loaded(place)
    assert state is not None
    return state


def leave_as_a_dead_agent(place: BpfSettings, sources: Path) -> tuple[int, ...]:
    argv = [sys.executable, KILLED, "agent", str(place.directory), place.cgroup, str(sources), "-"]
    subprocess.run(argv, check=True)
    return attached(place.cgroup)


def change(sources: Path) -> Path:
    """Another build: a folder with a header that was not there."""
    (sources / "more.h").write_text("")
    return sources


def test_an_agent_loads_where_nothing_is(place: BpfSettings, tmp_path: Path) -> None:
    adopt_or_load(place, loading=only(counting(tmp_path)))
    state = state_of(place)
    assert (state.owner, state.user) == ("agent", User.this_process())


def test_an_agent_takes_along_what_it_loaded(place: BpfSettings, tmp_path: Path) -> None:
    adopt_or_load(place, loading=only(counting(tmp_path)))
    release(place)
    assert attached(place.cgroup) == ()
    assert not place.directory.exists()


def test_an_agent_adopts_what_a_dead_one_left(place: BpfSettings, tmp_path: Path) -> None:
    left = leave_as_a_dead_agent(place, tmp_path)
    adopt_or_load(place, loading=only(counting(tmp_path)))
    assert attached(place.cgroup) == left
    assert state_of(place).user == User.this_process()


def test_what_is_adopted_begins_with_empty_maps(place: BpfSettings, tmp_path: Path) -> None:
    leave_as_a_dead_agent(place, tmp_path)
    connect_in(place.cgroup)
    result = adopt_or_load(place, loading=only(counting(tmp_path)))
    with result.map("connects") as connects:
        assert number(connects.lookup(bytes(4))) == 0


def test_another_build_of_a_dead_agent_is_replaced(place: BpfSettings, tmp_path: Path) -> None:
    left = leave_as_a_dead_agent(place, tmp_path)
    adopt_or_load(place, loading=only(counting(change(tmp_path))))
    (now,) = attached(place.cgroup)
    assert now not in left


def test_what_a_dead_agent_loaded_in_part_is_loaded_again(
    place: BpfSettings, tmp_path: Path
) -> None:
    left = leave_as_a_dead_agent(place, tmp_path)
    change_state(place.directory, replace(state_of(place), groups={"counting": "no luck"}))
    result = adopt_or_load(place, loading=only(counting(tmp_path)))
    assert result.groups == {"counting": ""}
    assert attached(place.cgroup) != left


def test_an_operators_is_used_and_stays(place: BpfSettings, tmp_path: Path) -> None:
    load(place, owner="operator", loading=only(counting(tmp_path)))
    left = attached(place.cgroup)
    result = adopt_or_load(place, loading=only(counting(tmp_path)))
    assert state_of(place).user == User.this_process()
    connect_in(place.cgroup)
    release(place)
    assert attached(place.cgroup) == left
    assert state_of(place).user is None
    with result.map("connects") as connects:
        assert number(connects.lookup(bytes(4))) == 0


def test_another_build_of_an_operator_is_left_alone(place: BpfSettings, tmp_path: Path) -> None:
    load(place, owner="operator", loading=only(counting(tmp_path)))
    left = attached(place.cgroup)
    with pytest.raises(OperatorError, match="other BPF programs than this agent's are there"):
        adopt_or_load(place, loading=only(counting(change(tmp_path))))
    assert attached(place.cgroup) == left


def test_what_a_living_agent_works_with_is_left_alone(place: BpfSettings, tmp_path: Path) -> None:
    adopt_or_load(place, loading=only(counting(tmp_path)))
    with pytest.raises(OperatorError, match=f"used by the agent {os.getpid()} "):
        adopt_or_load(place, loading=only(counting(tmp_path)))


def test_what_is_another_agents_by_now_is_not_released(place: BpfSettings, tmp_path: Path) -> None:
    leave_as_a_dead_agent(place, tmp_path)
    release(place)
    assert len(attached(place.cgroup)) == 1


def test_releasing_nothing_does_nothing(place: BpfSettings) -> None:
    release(place)
    assert not place.directory.exists()


def test_a_cgroup_that_was_made_again_gets_programs_of_its_own(
    place: BpfSettings, tmp_path: Path
) -> None:
    leave_as_a_dead_agent(place, tmp_path)
    cgroup = Path(place.cgroup)
    cgroup.rmdir()
    cgroup.mkdir()
    adopt_or_load(place, loading=only(counting(tmp_path)))
    assert len(attached(place.cgroup)) == 1
