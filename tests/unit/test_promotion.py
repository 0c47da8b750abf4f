"""Which mover suits a flow, by how it behaves."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.flows import Mover
from edgemesh.policy.promotion import NOTHING, SMALL_BYTES, Behaviour, Promotion

MEBIBYTE = 1 << 20
EVERY = frozenset(Mover)
NO_BPF = frozenset({Mover.RELAY, Mover.SPLICE})
NO_SPLICE = frozenset({Mover.RELAY, Mover.SOCKMAP})
ONLY_RELAY = frozenset({Mover.RELAY})
RULE = Promotion(MEBIBYTE)

UP, DOWN = True, False
READS = st.lists(st.tuples(st.booleans(), st.integers(1, 4 * MEBIBYTE)), max_size=60)
MOVERS = st.sampled_from(Mover)
SUITABLE = st.sets(MOVERS).map(lambda some: frozenset(some | {Mover.RELAY}))


def behaviour(reads: Iterable[tuple[bool, int]], least: int = 0) -> Behaviour:
    """That of a flow of which only reads of ``least`` bytes or more are noted."""
    seen = Behaviour()
    moved = {UP: 0, DOWN: 0}
    for from_client, count in reads:
        if count >= least:
            seen.note(from_client=from_client, count=count, answered=moved[not from_client])
        moved[from_client] += count
    return seen


def after(
    reads: Iterable[tuple[bool, int]],
    suitable: AbstractSet[Mover] = EVERY,
    mover: Mover = Mover.RELAY,
    least: int = 0,
) -> Mover:
    return RULE.decide(behaviour(reads, least), mover, suitable)


def test_small_messages_back_and_forth_are_for_the_sockmap() -> None:
    assert after([(UP, 64), (DOWN, 64)] * 9) is Mover.SOCKMAP


def test_a_few_of_them_are_not() -> None:
    assert after([(UP, 64), (DOWN, 64)] * 7) is Mover.RELAY


def test_small_messages_that_nobody_answers_are_not() -> None:
    assert after([(UP, 64)] * 100) is Mover.RELAY


def test_a_large_message_begins_the_count_anew() -> None:
    small = [(UP, 64), (DOWN, 64)] * 6
    assert after([*small, (UP, SMALL_BYTES), (DOWN, 64), *small]) is Mover.RELAY


def test_a_large_message_in_small_parts_is_a_large_one() -> None:
    parts = [(UP, 1000)] * 20
    assert after([*parts, (DOWN, 10)] * 20, NO_SPLICE) is Mover.RELAY


def test_much_in_one_direction_is_for_splice() -> None:
    assert after([(DOWN, 65536)] * 15) is Mover.RELAY
    assert after([(DOWN, 65536)] * 16) is Mover.SPLICE


def test_much_in_both_directions_is_for_splice_too() -> None:
    assert after([(DOWN, 65536), (UP, 65536)] * 8) is Mover.SPLICE


def test_window_updates_among_it_do_not_matter() -> None:
    assert after([(DOWN, 65536), (DOWN, 65536), (UP, 13)] * 20) is Mover.SPLICE


def test_neither_do_they_when_they_are_too_small_to_be_noted() -> None:
    reads = [(DOWN, 65536), (DOWN, 65536), (UP, 13)] * 20
    assert after(reads, least=SMALL_BYTES) is Mover.SPLICE


def test_calls_that_are_answered_never_add_up_to_much() -> None:
    calls = [(UP, 1000), (DOWN, SMALL_BYTES)] * 1000
    assert after(calls, least=SMALL_BYTES) is Mover.RELAY


def test_what_was_much_and_talks_now_leaves_splice() -> None:
    talk = [(DOWN, MEBIBYTE - SMALL_BYTES), *[(UP, 64), (DOWN, 64)] * 9]
    assert after(talk, EVERY, Mover.SPLICE) is Mover.SOCKMAP
    assert after(talk, NO_BPF, Mover.SPLICE) is Mover.RELAY


def test_what_has_talked_and_is_much_now_leaves_the_sockmap() -> None:
    reads = [*[(UP, 64), (DOWN, 64)] * 9, *[(DOWN, 65536)] * 16]
    assert after(reads, EVERY, Mover.SOCKMAP) is Mover.SPLICE
    assert after(reads, NO_SPLICE, Mover.SOCKMAP) is Mover.SOCKMAP


@given(READS, MOVERS, SUITABLE)
def test_only_what_is_suitable_is_decided_for(
    reads: list[tuple[bool, int]], mover: Mover, suitable: AbstractSet[Mover]
) -> None:
    decided = after(reads, suitable, mover)
    assert decided is mover or decided in suitable


@given(READS)
def test_where_nothing_else_is_suitable_the_relay_stays(reads: list[tuple[bool, int]]) -> None:
    assert after(reads, ONLY_RELAY) is Mover.RELAY


@given(READS)
def test_bulk_is_never_more_than_what_has_passed(reads: list[tuple[bool, int]]) -> None:
    assert 0 <= behaviour(reads).bulk <= sum(count for _, count in reads)


def test_where_there_is_no_choice_nothing_is_noted() -> None:
    assert RULE.notice_from(None, Mover.RELAY, ONLY_RELAY) == NOTHING
    assert RULE.notice_from(behaviour([(UP, 1)]), Mover.RELAY, ONLY_RELAY) == NOTHING


def test_where_only_much_matters_only_much_is_noted() -> None:
    assert RULE.notice_from(None, Mover.RELAY, NO_BPF) == SMALL_BYTES


def test_small_messages_are_noted_at_first_where_they_matter() -> None:
    assert RULE.notice_from(None, Mover.RELAY, EVERY) == 0
    assert RULE.notice_from(behaviour([(UP, 1)] * 63), Mover.RELAY, EVERY) == 0
    assert RULE.notice_from(behaviour([(UP, 1)] * 64), Mover.RELAY, EVERY) == SMALL_BYTES
    assert RULE.notice_from(behaviour([(UP, 1)] * 64), Mover.RELAY, NO_SPLICE) == NOTHING


def test_other_movers_note_everything() -> None:
    assert RULE.notice_from(None, Mover.SPLICE, EVERY) == 0
