"""``edgemesh bpf`` as an operator types it, with the programs that come with edgemesh."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from bpf_samples import attached, bpf_place, counting, only

from edgemesh.kernel.bpf.loader import adopt_or_load
from edgemesh.kernel.bpf.programs import GROUPS
from edgemesh.model.bpf_settings import BpfSettings

pytestmark = pytest.mark.root


@pytest.fixture
def place() -> Iterator[BpfSettings]:
    with bpf_place() as settings:
        yield settings


def edgemesh_bpf(
    place: BpfSettings, *words: str, status: int = 0, under: Sequence[str] = ()
) -> str:
    where = ("--directory", str(place.directory), "--cgroup", place.cgroup)
    argv = [*under, sys.executable, "-m", "edgemesh.cli.main", "bpf", *words, *where]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr if status else done.stdout


def test_what_load_puts_there_is_shown_and_unload_takes_it_away(place: BpfSettings) -> None:
    assert edgemesh_bpf(place, "show") == "nothing is loaded\n"
    names = ", ".join(group.name for group in GROUPS)
    assert edgemesh_bpf(place, "load") == f"loaded at {place.directory}: {names}\n"
    page = edgemesh_bpf(place, "show")
    assert f"{place.directory}: loaded " in page
    assert f"for processes in {place.cgroup}\n" in page
    shown = json.loads(edgemesh_bpf(place, "show", "--json"))
    functions = {program.function for group in GROUPS for program in group.programs}
    assert {program["name"] for program in shown["programs"]} == functions
    assert all(program["linked"] for program in shown["programs"])
    assert all(each["memory_bytes"] > 0 for each in shown["maps"])
    assert edgemesh_bpf(place, "unload") == f"unloaded from {place.directory}\n"
    assert attached(place.cgroup) == ()
    assert json.loads(edgemesh_bpf(place, "show", "--json"))["loaded"] is False


def test_loading_twice_is_refused_by_name(place: BpfSettings) -> None:
    told = json.loads(edgemesh_bpf(place, "load", "--json"))
    assert told == {
        "directory": str(place.directory),
        "groups": {group.name: "" for group in GROUPS},
    }
    refusal = edgemesh_bpf(place, "load", status=2)
    assert refusal.startswith(f"edgemesh: {place.directory}: BPF programs were loaded already: ")
    assert refusal.endswith("(edgemesh bpf unload)\n")


def test_unloading_nothing_says_so(place: BpfSettings) -> None:
    assert edgemesh_bpf(place, "unload") == "nothing was loaded\n"
    assert json.loads(edgemesh_bpf(place, "unload", "--json")) == {"unloaded": False}


def test_what_a_running_agent_works_with_is_not_unloaded(
    place: BpfSettings, tmp_path: Path
) -> None:
    adopt_or_load(place, loading=only(counting(tmp_path)))
    assert "are in use: loaded" in edgemesh_bpf(place, "unload", status=2)
    assert len(attached(place.cgroup)) == 1


def test_headers_that_are_none_are_named(place: BpfSettings, tmp_path: Path) -> None:
    refusal = edgemesh_bpf(place, "load", "--headers", str(tmp_path), status=2)
    assert f"bpf.headers = '{tmp_path}' is no tree of kernel headers" in refusal
    assert not place.directory.exists()


def test_a_missing_privilege_is_told_in_one_line(place: BpfSettings) -> None:
    # A BPF file system can be written by root without it.
    lacking = "-sys_admin,-bpf"
    under = ("setpriv", "--bounding-set", lacking, "--inh-caps", lacking)
    refusal = edgemesh_bpf(place, "load", status=2, under=under)
    assert "BPF does not work here: connect.bpf.c gets no maps: " in refusal
    assert refusal.endswith("error: Operation not permitted\n")
    assert len(refusal.splitlines()) == 1
    assert not place.directory.exists()


def test_a_user_who_may_not_look_is_told_so(place: BpfSettings) -> None:
    nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    for words in (("show",), ("load",), ("unload",)):
        refusal = edgemesh_bpf(place, *words, status=2, under=nobody)
        assert refusal.endswith("Permission denied (run as root)\n")


def test_each_step_is_told_when_asked_for(place: BpfSettings, tmp_path: Path) -> None:
    where = ("--directory", str(place.directory), "--cgroup", place.cgroup)
    argv = [sys.executable, "-m", "edgemesh.cli.main", "bpf", "load", "--verbose", *where]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "pinned links/mesh_connect4" in done.stderr.splitlines()
    assert done.stdout.startswith("loaded at")
