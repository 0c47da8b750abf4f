"""Whose BPF programs are, in words."""

from __future__ import annotations

import os
import time

import pytest

from edgemesh.kernel.bpf.state import LoadedState, Owner, User


def described(owner: Owner, user: User | None, seconds: float = 5) -> str:
    return LoadedState("", owner, user, time.time() - seconds, "", {}).described()


@pytest.mark.parametrize(
    ("seconds", "age"),
    [(-30, "0 s"), (5, "5 s"), (119, "119 s"), (130, "2 min"), (9000, "2 h"), (200000, "2 d")],
)
def test_an_age_is_told_in_a_unit_that_suits_it(seconds: float, age: str) -> None:
    assert described("operator", None, seconds) == f"{age} ago by an operator, used by no agent"


def test_an_agent_that_runs_is_named_by_its_process() -> None:
    told = described("agent", User.this_process())
    assert told == f"5 s ago by an agent, used by the agent {os.getpid()}"


def test_another_process_of_the_same_number_is_not_the_agent() -> None:
    user = User(os.getpid(), 1)
    assert not user.alive
    assert described("agent", user).endswith(f"the agent {os.getpid()}, which ended")


def test_a_process_that_is_gone_is_not_alive() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert not User(child, 1).alive
