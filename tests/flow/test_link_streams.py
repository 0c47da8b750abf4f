"""Streams of a link: whatever passes arrives as it was sent, and nobody suffers for another."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest
from link_fixtures import Pki, Talker, a_pair, until

from edgemesh.reactor.virtual import VirtualSocket


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


async def test_a_thousand_streams_at_once_carry_what_they_are_given_both_ways(pki: Pki) -> None:
    chance = random.Random(1)
    async with a_pair(pki) as pair:
        answering: dict[int, Talker] = {}

        def answer(sock: VirtualSocket) -> None:
            number = len(answering)
            size = chance.choice([0, 1, 100, 5000, 100_000])
            answering[number] = Talker(sock, pair.reactor, size, number)

        pair.b.then = answer
        asking = [
            Talker(
                pair.a.open(),
                pair.reactor,
                chance.choice([0, 1, 100, 5000, 300_000]),
                5000 + number,
            )
            for number in range(1000)
        ]
        await until(lambda: len(answering) == 1000)
        await until(lambda: all(each.done for each in [*asking, *answering.values()]))
        for number, asked in enumerate(asking):
            answered = answering[number]
            assert (asked.problem, answered.problem) == (0, 0)
            assert asked.said == answered.heard
            assert answered.said == asked.heard
        assert not pair.a.link.mux.streams
        assert not pair.b.link.mux.streams
