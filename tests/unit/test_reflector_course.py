"""What to ask an API server next, whatever has come of asking so far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.policy.reflector.course import Course, Ending, Outcome, Server, Step, Way
from edgemesh.policy.reflector.refusals import ending_of

SETTINGS = KubernetesSettings()
API, META, UNKNOWN = Server.API_SERVER, Server.METASERVER, Server.UNKNOWN
FIRST = SETTINGS.first_retry_seconds
GOOD = 300.0


def after(
    step: Step, ending: Ending, server: Server = API, course: Course | None = None, **more: Any
) -> Step:
    """The step after one, with the longest pause that the lot can give."""
    outcome = Outcome(ending, **more)
    return (course or Course(SETTINGS)).after(step, outcome, server, 1.0)


WATCH = Step(Way.WATCH, revision="7", seconds=300)
STREAM = Step(Way.STREAM, seconds=300)


def test_a_list_comes_first_for_whom_is_there_is_not_known() -> None:
    assert Course(SETTINGS).begin(UNKNOWN, 0.5) == Step(Way.LIST)
    assert Course(SETTINGS).begin(META, 0.5) == Step(Way.LIST)


def test_an_api_server_is_asked_for_a_streamed_list() -> None:
    assert Course(SETTINGS).begin(API, 0.0) == STREAM


@pytest.mark.parametrize("server", [API, META, UNKNOWN])
def test_after_a_list_comes_a_watch_from_its_revision(server: Server) -> None:
    step = after(Step(Way.LIST), Ending.LISTED, server, revision="7")
    assert (step.way, step.revision, step.pause) == (Way.WATCH, "7", 0)


def test_a_metaserver_is_watched_for_a_short_time_and_all_watches_end_apart() -> None:
    course = Course(SETTINGS)
    listed = Outcome(Ending.LISTED, revision="7")
    seconds = [
        course.after(Step(Way.LIST), listed, server, chance).seconds
        for server in (META, API)
        for chance in (0.0, 1.0)
    ]
    assert seconds == [30, 24, 300, 240]


def test_a_watch_that_is_over_is_taken_up_at_once_where_it_ended() -> None:
    step = after(WATCH.come_to("9"), Ending.ENDED, lasted=GOOD, events=3)
    assert (step.way, step.revision, step.pause) == (Way.WATCH, "9", 0)


def test_after_a_watch_of_a_metaserver_comes_a_list_for_it_may_have_been_deaf() -> None:
    assert after(WATCH, Ending.ENDED, META, lasted=30, events=3) == Step(Way.LIST)


def test_a_server_that_ends_every_watch_at_once_is_asked_less_and_less_often() -> None:
    course = Course(SETTINGS)
    pauses = [after(WATCH, Ending.ENDED, course=course, lasted=0.1).pause for _ in range(8)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert after(WATCH, Ending.FAILED, course=course, lasted=6, events=1).pause == FIRST


def test_a_revision_that_is_too_old_calls_for_a_list() -> None:
    assert after(WATCH, Ending.EXPIRED, lasted=GOOD) == replace(STREAM, pause=FIRST, seconds=240)
    assert after(WATCH, Ending.EXPIRED, META).way is Way.LIST


def test_a_token_that_is_too_old_calls_for_a_list_in_one_piece_and_then_for_pages_again() -> None:
    course = Course(SETTINGS)
    whole = after(Step(Way.LIST), Ending.EXPIRED, META, course)
    assert whole == Step(Way.LIST, paged=False)
    assert after(whole, Ending.EXPIRED, META, course) == Step(Way.LIST, pause=FIRST)


def test_a_silent_watch_is_taken_up_again_and_the_tenth_time_a_list_makes_sure() -> None:
    course = Course(SETTINGS)
    steps = [after(WATCH, Ending.SILENT, course=course, lasted=90) for _ in range(10)]
    assert [step.way for step in steps] == [Way.WATCH] * 9 + [Way.STREAM]
    assert {step.pause for step in steps} == {FIRST}


def test_a_bookmark_now_and_then_is_enough() -> None:
    course = Course(SETTINGS)
    for number in range(30):
        quiet = number % 9 > 0
        assert after(WATCH, Ending.ENDED, course=course, events=not quiet).way is Way.WATCH


def test_a_silent_metaserver_is_asked_for_a_list() -> None:
    assert after(WATCH, Ending.SILENT, META, lasted=90).way is Way.LIST


@pytest.mark.parametrize("ending", [Ending.UNOFFERED, Ending.SILENT])
def test_a_server_without_streamed_lists_is_asked_for_pages_ever_after(ending: Ending) -> None:
    course = Course(SETTINGS)
    assert after(STREAM, ending, course=course) == Step(Way.LIST)
    assert after(WATCH, Ending.EXPIRED, course=course).way is Way.LIST


def test_streams_that_fail_again_and_again_are_given_up_for_a_list() -> None:
    course = Course(SETTINGS)
    ways = [after(STREAM, Ending.FAILED, course=course, events=9).way for _ in range(3)]
    assert ways == [Way.STREAM, Way.STREAM, Way.LIST]


def test_a_watch_that_fails_is_taken_up_where_it_was_and_the_third_time_a_list_decides() -> None:
    course = Course(SETTINGS)
    steps = [after(WATCH, Ending.FAILED, course=course) for _ in range(3)]
    assert [step.way for step in steps] == [Way.WATCH, Way.WATCH, Way.LIST]
    assert [step.revision for step in steps] == ["7", "7", ""]
    listed = after(Step(Way.LIST), Ending.LISTED, course=course, revision="9")
    assert after(listed, Ending.FAILED, course=course).way is Way.WATCH


def test_a_watch_that_brought_something_before_it_failed_counts_as_good() -> None:
    course = Course(SETTINGS)
    ways = {after(WATCH, Ending.FAILED, course=course, events=1).way for _ in range(5)}
    assert ways == {Way.WATCH}


def test_a_resource_that_is_not_there_is_asked_for_from_time_to_time() -> None:
    assert after(Step(Way.LIST), Ending.MISSING) == replace(STREAM, pause=24, seconds=240)
    assert after(STREAM, Ending.MISSING, META) == Step(Way.LIST, pause=24)
    assert after(Step(Way.LIST), Ending.UNKNOWN, META) == Step(Way.LIST, pause=24)


def test_a_resource_that_vanishes_under_a_watch_is_listed_to_make_sure() -> None:
    step = after(WATCH, Ending.MISSING, META, lasted=GOOD)
    assert step == Step(Way.LIST, pause=FIRST)


def test_a_server_that_asks_to_be_left_alone_is_up_to_a_limit() -> None:
    assert after(WATCH, Ending.FAILED, retry_after=7).pause == 7
    assert after(WATCH, Ending.FAILED, retry_after=0.1).pause == FIRST
    assert after(Step(Way.LIST), Ending.FAILED, retry_after=90_000).pause == 300


@pytest.mark.parametrize(
    ("way", "code", "ending"),
    [
        (Way.LIST, 404, Ending.MISSING),
        (Way.WATCH, 404, Ending.MISSING),
        (Way.LIST, 410, Ending.EXPIRED),
        (Way.WATCH, 410, Ending.EXPIRED),
        (Way.WATCH, 400, Ending.EXPIRED),
        (Way.STREAM, 422, Ending.UNOFFERED),
        (Way.LIST, 400, Ending.FAILED),
        (Way.WATCH, 401, Ending.FAILED),
        (Way.STREAM, 403, Ending.FAILED),
        (Way.WATCH, 429, Ending.FAILED),
        (Way.WATCH, 500, Ending.FAILED),
        (Way.WATCH, 0, Ending.FAILED),
    ],
)
def test_every_refusal_has_its_meaning(way: Way, code: int, ending: Ending) -> None:
    assert ending_of(way, code) is ending


OUTCOMES = {
    Way.LIST: [Ending.LISTED, Ending.UNKNOWN, Ending.MISSING, Ending.EXPIRED, Ending.FAILED],
    Way.STREAM: [*set(Ending) - {Ending.LISTED, Ending.UNKNOWN}],
    Way.WATCH: [*set(Ending) - {Ending.LISTED, Ending.UNKNOWN, Ending.UNOFFERED}],
}


@given(data=st.data(), server=st.sampled_from(Server))
def test_whatever_happens_every_step_is_sound(data: st.DataObject, server: Server) -> None:
    course = Course(SETTINGS)
    chances = st.floats(0, 1)
    step = course.begin(server, data.draw(chances))
    shown, eager, offered = "", 0, True
    for number in range(40):
        # A stream that has shown everything goes on as a watch.
        if step.way is Way.STREAM and data.draw(st.booleans()):
            step = step.come_to(shown := f"{number}")
        outcome = Outcome(
            data.draw(st.sampled_from(OUTCOMES[step.way])),
            revision=f"{number}",
            lasted=data.draw(st.sampled_from([0.0, 1.0, 90.0])),
            events=data.draw(st.integers(0, 2)),
            retry_after=data.draw(st.sampled_from([0.0, 7.0, 1e9])),
        )
        before, step = step, course.after(step, outcome, server, data.draw(chances))
        listed = outcome.ending is Ending.LISTED
        shown = f"{number}" if listed else shown
        offered = offered and outcome.ending is not Ending.UNOFFERED
        # A watch knows from where, and follows what has shown that.
        assert (step.revision == shown != "") if step.way is Way.WATCH else step.revision == ""
        assert step.seconds > 0 or step.way is Way.LIST
        if server is not API:
            assert step.way is Way.LIST or (step.way is Way.WATCH and listed)
        assert offered or step.way is not Way.STREAM
        if outcome.ending in {Ending.EXPIRED, Ending.MISSING}:
            assert step.way is not Way.WATCH
        # Pauses are bounded, and what fails is never repeated without one.
        assert 0 <= step.pause <= 300
        if outcome.ending is Ending.FAILED:
            assert step.pause >= min(max(outcome.retry_after, FIRST / 2), 300)
        good = listed or (before.way is Way.WATCH and outcome.lasted > 5)
        eager = 0 if good or step.pause else eager + 1
        assert eager <= 2
