"""A Lease is held by one at a time, by the clock of who looks, and changes hands when it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.policy.leases import (
    LeaseView,
    Step,
    Wanted,
    Watched,
    lease_body,
    next_step,
    read_lease,
    released,
    watched,
)

NOW = "2026-11-22T20:00:00.000000Z"
HELD = LeaseView("b", 15, 2, "7", "then")


@pytest.mark.parametrize(
    ("lease", "later", "step"),
    [
        (None, 0, Step.CREATE),
        (HELD, 0, Step.WAIT),
        (HELD, 14.9, Step.WAIT),
        (HELD, 15, Step.TAKE),
        (HELD._replace(holder=""), 0, Step.TAKE),
        (HELD._replace(holder="a"), 100, Step.RENEW),
    ],
)
def test_what_to_do_depends_on_who_has_it_and_since_when(
    lease: LeaseView | None, later: float, step: Step
) -> None:
    assert next_step(Watched(lease, 100), "a", 100 + later) is step


def test_a_lease_is_as_old_as_its_last_change() -> None:
    first = watched(None, HELD, 10)
    assert watched(first, HELD, 20) is first
    assert watched(first, HELD._replace(revision="8"), 20).since == 20
    assert watched(first, None, 20) == Watched(None, 20)


def test_a_new_lease_and_one_that_is_taken_and_one_that_is_renewed_say_so() -> None:
    wanted = Wanted("edgemesh", "cloud", "a", 15.4)
    new = lease_body(wanted, None, NOW)
    assert new["metadata"] == {"namespace": "edgemesh", "name": "cloud"}
    assert new["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": NOW,
        "renewTime": NOW,
        "leaseTransitions": 0,
    }
    taken = lease_body(wanted, HELD, NOW)
    assert taken["metadata"]["resourceVersion"] == "7"
    assert (taken["spec"]["leaseTransitions"], taken["spec"]["acquireTime"]) == (3, NOW)
    renewed = lease_body(wanted, HELD._replace(holder="a"), NOW)
    assert (renewed["spec"]["leaseTransitions"], renewed["spec"]["acquireTime"]) == (2, "then")
    assert (
        lease_body(wanted, HELD._replace(holder="a", acquired=""), NOW)["spec"]["acquireTime"]
        == NOW
    )
    given_up = released(HELD, NOW)
    assert (given_up["spec"]["holderIdentity"], given_up["metadata"]) == (
        "",
        {"resourceVersion": "7"},
    )


def test_what_is_written_is_read_back() -> None:
    body = lease_body(Wanted("n", "c", "a", 15), HELD, NOW)
    assert read_lease(body) == LeaseView("a", 15, 3, "7", NOW)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "spec": st.one_of(
                st.none(),
                st.dictionaries(
                    st.sampled_from(["holderIdentity", "leaseDurationSeconds", "leaseTransitions"]),
                    st.one_of(st.none(), st.text(max_size=3), st.integers(), st.lists(st.none())),
                ),
            ),
            "metadata": st.one_of(st.none(), st.just({"resourceVersion": "1"})),
        },
    )
)
def test_whatever_a_lease_says_can_be_read(body: dict[str, Any]) -> None:
    lease = read_lease(body)
    assert next_step(Watched(lease, 0), "a", math.inf) in {Step.TAKE, Step.RENEW}


@dataclass
class _Replica:
    """One that follows the rules, with a clock that is off."""

    name: str
    skew: float
    known: Watched | None = None
    believes_until: float = 0.0


@dataclass
class _Server:
    """Keeps one Lease, and takes a write of the newest version only."""

    lease: LeaseView | None = None
    writes: int = 0
    held: list[str] = field(default_factory=list)

    def look(self, replica: _Replica, now: float) -> None:
        own = now + replica.skew
        replica.known = watched(replica.known, self.lease, own)
        if next_step(replica.known, replica.name, own) is Step.WAIT:
            return
        body = lease_body(Wanted("n", "c", replica.name, 15), self.lease, NOW)
        self.writes += 1
        body["metadata"]["resourceVersion"] = str(self.writes)
        self.lease = read_lease(body)
        replica.known = Watched(self.lease, own)
        replica.believes_until = now + 10


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 12)), max_size=60),
    st.tuples(*[st.floats(-1e6, 1e6)] * 3),
)
def test_no_two_hold_it_at_once_however_their_clocks_differ(
    looks: list[tuple[int, float]], skews: tuple[float, float, float]
) -> None:
    server, now = _Server(), 0.0
    replicas = [_Replica(f"r{number}", skew) for number, skew in enumerate(skews)]
    for number, pause in looks:
        now += pause
        server.look(replicas[number], now)
        # A holder gives up before its Lease ends: see Election.
        assert sum(each.believes_until > now for each in replicas) <= 1
