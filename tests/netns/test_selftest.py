"""What is loaded is tried before it is used; what does not work is told in a sentence."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from bpf_programs import made_cgroup
from bpf_samples import bpf_place, detached

from edgemesh.app.selftest.order import CHILD, SelfTestOrder, SelfTestResult
from edgemesh.app.selftest.run import self_test
from edgemesh.kernel.bpf.loader import load
from edgemesh.kernel.bpf.programs import GROUPS
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.settings import ProxySettings

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

NAMES = tuple(group.name for group in GROUPS)
PROGRAM = {program.function: program for group in GROUPS for program in group.programs}
NOTHING_WRONG = dict.fromkeys(NAMES, "")
# A step may take a fifteenth of it: more than a machine stands still for.
SECONDS = 90.0


@pytest.fixture(scope="module")
def place() -> Iterator[BpfSettings]:
    with bpf_place() as made:
        loaded = load(made, owner="operator")
        assert loaded.groups == NOTHING_WRONG
        yield replace(made, self_test_seconds=SECONDS)


async def test_what_works_has_no_problem_and_leaves_nothing_behind(place: BpfSettings) -> None:
    assert await self_test(place, ProxySettings(), NAMES) == NOTHING_WRONG
    assert cgroups_below(place.cgroup) == []


@pytest.mark.parametrize(
    ("function", "group", "problem"),
    [
        ("mesh_getpeer4", "connect", "a client is not told the address that it has called"),
        ("mesh_sendmsg6", "connect", "a datagram to a Service is not led to its endpoint"),
        ("mesh_recvmsg4", "connect", "a datagram does not come from the address that was called"),
        ("mesh_sockops", "sockops", "that an endpoint refuses a connection is not told"),
        ("gate_verdict", "gate", "the kernel moves nothing"),
        ("observed_verdict", "observed_gate", "the kernel moves no requests"),
    ],
)
async def test_what_does_not_work_takes_nothing_else_along(
    place: BpfSettings, function: str, group: str, problem: str
) -> None:
    with detached(place, PROGRAM[function]):
        found = await self_test(place, ProxySettings(), NAMES)
    assert found == {**NOTHING_WRONG, group: problem}
    assert await self_test(place, ProxySettings(), NAMES) == NOTHING_WRONG


def cgroups_below(cgroup: str) -> list[Path]:
    return [each for each in Path(cgroup).iterdir() if each.is_dir()]


def test_calls_that_are_not_led_anywhere_are_a_problem(place: BpfSettings) -> None:
    with made_cgroup() as elsewhere:
        order = SelfTestOrder(place, ProxySettings(), str(elsewhere), ("connect",))
        done = subprocess.run(
            CHILD,
            input=msgspec.json.encode(order, enc_hook=str),
            capture_output=True,
            check=True,
            timeout=SECONDS,
        )
    result = msgspec.json.decode(done.stdout, type=SelfTestResult)
    assert result == SelfTestResult("connect", "a call of a Service is not led to its endpoint")


async def test_a_group_that_is_not_there_is_a_problem(place: BpfSettings) -> None:
    nowhere = replace(place, directory=place.directory / "nothing")
    problems = await self_test(nowhere, ProxySettings(), ("connect", "gate"))
    assert all("No such file or directory" in problem for problem in problems.values())


async def test_what_does_not_answer_in_time_is_not_used(place: BpfSettings) -> None:
    hasty = replace(place, self_test_seconds=0.01)
    problem = "the self-test took longer than 0.01 s"
    assert await self_test(hasty, ProxySettings(), ("gate",)) == {"gate": problem}


async def test_what_was_tried_before_a_process_dies_stays_known(
    place: BpfSettings, tmp_path: Path
) -> None:
    """One that is killed when it begins with the second of its two groups."""
    script = tmp_path / "child.py"
    script.write_text(
        "import os, signal, sys\n"
        "from edgemesh.app.selftest import child, problem\n"
        "def die(name):\n"
        "    if name.endswith(('.failures', '.observed')): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(name)\n"
        "real, child.import_module = child.import_module, die\n"
        "child.main()\n"
    )
    child = (CHILD[0], str(script))
    died = "the self-test ended with status -9: it said nothing"
    expected = {"connect": "", "sockops": died, "gate": "", "observed_gate": died}
    assert await self_test(place, ProxySettings(), NAMES, child=child) == expected
