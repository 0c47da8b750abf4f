"""What is loaded is tried before it is used; what does not work is told in a sentence."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from bpf_programs import made_cgroup
from bpf_samples import bpf_place

from edgemesh.app.selftest.order import CHILD, SelfTestOrder, SelfTestResult, self_test
from edgemesh.kernel.bpf.loader import load
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.settings import ProxySettings

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

GROUPS = ("connect", "sockops", "gate", "observed_gate")


@pytest.fixture(scope="module")
def place() -> Iterator[BpfSettings]:
    with bpf_place() as made:
        loaded = load(made, owner="operator")
        assert loaded.groups == dict.fromkeys(GROUPS, "")
        yield made


async def test_what_works_has_no_problem_and_leaves_nothing_behind(place: BpfSettings) -> None:
    assert await self_test(place, ProxySettings(), GROUPS) == {"connect": "", "gate": ""}
    assert cgroups_below(place.cgroup) == []


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
            timeout=60,
        )
    result = msgspec.json.decode(done.stdout, type=SelfTestResult)
    assert result.groups == {"connect": "a call of a Service is not led to its endpoint"}


async def test_a_group_that_is_not_there_is_a_problem(place: BpfSettings) -> None:
    nowhere = replace(place, directory=place.directory / "nothing")
    problems = await self_test(nowhere, ProxySettings(), ("connect", "gate"))
    assert all("No such file or directory" in problem for problem in problems.values())


async def test_what_does_not_answer_in_time_is_not_used(place: BpfSettings) -> None:
    hasty = replace(place, self_test_seconds=0.01)
    problem = "the self-test took longer than 0.01 s"
    assert await self_test(hasty, ProxySettings(), ("gate",)) == {"gate": problem}
