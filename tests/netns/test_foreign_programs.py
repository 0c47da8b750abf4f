"""Programs of others are found where ours are to go, and named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from bpf_programs import loaded_program, made_cgroup, opened

from edgemesh.app.bpf_prerequisites import check_bpf
from edgemesh.app.prerequisites import State
from edgemesh.kernel.bpf.foreign import foreign_at_cgroup, foreign_on_sockmaps
from edgemesh.kernel.bpf.syscall import (
    AttachType,
    ProgramType,
    link_create,
    prog_attach,
    prog_detach,
    prog_info,
)
from edgemesh.model.bpf_settings import BpfSettings

pytestmark = pytest.mark.root

HOOK = AttachType.CGROUP_INET4_CONNECT
OTHER_HOOK = AttachType.CGROUP_UDP4_SENDMSG
OVERRIDABLE, MULTIPLE = 1, 2


@pytest.fixture
def cgroup() -> Iterator[Path]:
    with made_cgroup() as made:
        yield made


@pytest.fixture
def program() -> Iterator[int]:
    with loaded_program("their_connect", ProgramType.CGROUP_SOCK_ADDR, HOOK) as fd:
        yield fd


@pytest.mark.parametrize(
    ("flags", "exclusive"), [(0, True), (OVERRIDABLE, True), (MULTIPLE, False)]
)
def test_a_program_at_the_cgroup_is_found(
    cgroup: Path, program: int, flags: int, *, exclusive: bool
) -> None:
    with opened(cgroup) as target:
        prog_attach(program, target, HOOK, flags)
        try:
            found = foreign_at_cgroup(cgroup, [HOOK, OTHER_HOOK], ())
        finally:
            prog_detach(program, target, HOOK)
    [one] = found
    assert one.id == prog_info(program).id
    assert str(one) == f"their_connect (id {one.id}, cgroup_inet4_connect at {cgroup})"
    assert one.exclusive is exclusive
    assert foreign_at_cgroup(cgroup, [HOOK], ()) == []


@pytest.mark.parametrize(
    ("flags", "exclusive"), [(0, True), (OVERRIDABLE, False), (MULTIPLE, False)]
)
def test_a_program_above_is_found_and_what_it_forbids_is_told(
    cgroup: Path, program: int, flags: int, *, exclusive: bool
) -> None:
    with made_cgroup(cgroup) as below, opened(cgroup) as target, opened(below) as ours:
        prog_attach(program, target, HOOK, flags)
        try:
            [found] = foreign_at_cgroup(below, [HOOK], ())
            assert (found.cgroup, found.exclusive) == (cgroup, exclusive)
            # What is told is what the kernel does.
            with loaded_program("ours", ProgramType.CGROUP_SOCK_ADDR, HOOK) as own:
                if exclusive:
                    with pytest.raises(PermissionError):
                        link_create(own, ours, HOOK)
                else:
                    os.close(link_create(own, ours, HOOK))
        finally:
            prog_detach(program, target, HOOK)


def test_our_own_programs_are_not_foreign(cgroup: Path, program: int) -> None:
    with opened(cgroup) as target:
        prog_attach(program, target, HOOK, MULTIPLE)
        try:
            assert foreign_at_cgroup(cgroup, [HOOK], {prog_info(program).id}) == []
        finally:
            prog_detach(program, target, HOOK)


def test_a_hook_that_the_kernel_does_not_know_is_passed_over(cgroup: Path) -> None:
    unknown = cast("AttachType", 250)
    assert foreign_at_cgroup(cgroup, [unknown], ()) == []


def test_programs_for_sockmaps_are_found_wherever_they_are() -> None:
    with loaded_program("their_verdict", ProgramType.SK_SKB) as fd:
        mine = prog_info(fd).id
        assert "their_verdict" in {each.name for each in foreign_on_sockmaps(()) if each.id == mine}
        assert mine not in {each.id for each in foreign_on_sockmaps({mine})}


def test_doctor_names_a_program_that_allows_no_others(cgroup: Path, program: int) -> None:
    with opened(cgroup) as target:
        prog_attach(program, target, HOOK, 0)
        try:
            checks = list(check_bpf(BpfSettings(cgroup=str(cgroup))))
        finally:
            prog_detach(program, target, HOOK)
    [check] = [check for check in checks if "their_connect" in check.what]
    assert check.state is State.LACKING
    assert check.what.endswith("allows no others")
