"""Which way streams take to another node."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.peers import Way
from edgemesh.policy.bus.peers import PeerRoute

PERIOD = 16.0


def peer() -> PeerRoute:
    return PeerRoute(0.5, PERIOD, 0.0)


def test_the_first_stream_waits_for_a_link_though_there_is_a_hub() -> None:
    assert peer().choose(0, hub=True) is Way.LINK


def test_what_cannot_be_reached_directly_is_reached_by_the_hub() -> None:
    route = peer()
    route.failed(1, "connection refused")
    assert route.choose(1, hub=True) is Way.HUB
    assert route.problem == "connection refused"


def test_what_cannot_be_reached_at_all_is_not_reached() -> None:
    route = peer()
    route.failed(1, "connection refused")
    assert route.choose(1, hub=False) is Way.NONE


def test_a_link_that_comes_back_is_used_again_and_the_time_of_each_change_is_known() -> None:
    route = peer()
    assert (route.choose(0, hub=True), route.since) == (Way.LINK, 0)
    route.failed(1, "no route")
    assert (route.choose(2, hub=True), route.since) == (Way.HUB, 2)
    assert (route.choose(3, hub=True), route.since) == (Way.HUB, 2)
    route.came_up(4)
    assert (route.choose(5, hub=True), route.since) == (Way.LINK, 5)
    assert route.problem == ""


def test_a_link_that_is_silent_gives_way_to_the_hub_until_it_speaks() -> None:
    route = peer()
    route.came_up(0)
    route.doubted("no word for 4 s")
    assert route.choose(5, hub=True) is Way.HUB
    assert route.choose(5, hub=False) is Way.LINK
    route.believed()
    assert route.choose(6, hub=True) is Way.LINK


def test_a_link_that_was_lost_soon_has_to_last_before_it_is_trusted_again() -> None:
    route = peer()
    route.came_up(0)
    route.lost(10, "reset")
    route.came_up(11)
    assert route.choose(11, hub=True) is Way.HUB
    assert route.choose(11, hub=False) is Way.LINK
    assert route.choose(11 + PERIOD / 4, hub=True) is Way.LINK


@given(st.lists(st.floats(0, 4 * PERIOD - 1), min_size=1, max_size=30))
def test_the_trial_of_a_link_that_comes_and_goes_doubles_up_to_a_bound(lives: list[float]) -> None:
    route, now, before = peer(), 0.0, 0.0
    for life in lives:
        route.came_up(now)
        now += life
        route.lost(now, "reset")
        route.came_up(now)
        trial = next(
            wait
            for wait in (PERIOD * 2**power for power in range(-3, 8))
            if route.choose(now + wait, hub=True) is Way.LINK
        )
        assert before <= trial <= 4 * PERIOD
        assert trial in {PERIOD / 4, 2 * before, 4 * PERIOD}
        before = trial


def test_a_link_that_has_lasted_is_trusted_at_once_when_it_comes_back() -> None:
    route = peer()
    route.came_up(0)
    route.lost(1, "reset")
    route.came_up(2)
    route.lost(2 + 4 * PERIOD, "reset")
    route.came_up(100)
    assert route.choose(100, hub=True) is Way.LINK


def test_a_link_that_was_closed_in_order_is_no_failure() -> None:
    route = peer()
    route.came_up(0)
    route.left(5)
    assert route.choose(5, hub=True) is Way.LINK
    assert route.is_dial_due(5, hub=True)
    assert route.problem == ""


def test_the_pauses_between_trials_double_up_to_the_period_of_probing() -> None:
    route, now, pauses = peer(), 0.0, []
    for _ in range(8):
        assert route.is_dial_due(now, hub=True)
        route.dialled(now)
        route.failed(now, "refused")
        before = now
        while not route.is_dial_due(now, hub=True):
            now += 0.125
        pauses.append(now - before)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 16, 16]


def test_a_link_that_was_up_is_dialled_for_soon() -> None:
    route = peer()
    for _ in range(5):
        route.failed(0, "refused")
    route.came_up(1)
    route.lost(2, "reset")
    assert route.is_dial_due(2.5, hub=True)


def test_without_a_hub_it_is_tried_again_as_soon_as_somebody_asks() -> None:
    route = peer()
    for _ in range(8):
        route.failed(0, "refused")
    route.dialled(1)
    assert not route.is_dial_due(2, hub=True)
    assert not route.is_dial_due(1.25, hub=False)
    assert route.wait_to_dial(1.25) == 0.25
    assert route.is_dial_due(1.5, hub=False)


def test_a_node_is_wanted_for_a_while_after_somebody_has_asked() -> None:
    route = peer()
    assert not route.is_wanted(0, 10)
    route.asked(1)
    assert route.is_wanted(11, 10)
    assert not route.is_wanted(11.5, 10)
