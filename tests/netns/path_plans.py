"""What the two sides of a connection say to each other, worked out from a number.

Both sides work out the same plan, each in its own process. Nothing but the standard library is
used, so that those processes start at once.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from functools import lru_cache

# Prime, so that no repetition of the content falls together with a buffer or a page.
_BLOCK = 1_048_573
_LARGEST_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Say:
    """One part of what a side says.

    Args:
        after: bytes that it has heard before.
        pause: seconds that it waits first.
        size: in bytes.
    """

    after: int
    pause: float
    size: int


@dataclass(slots=True)
class Part:
    """The part of one side.

    Args:
        stream: the number of the content that it says.
        says: in order.
        rests: how many bytes it hears until it stops reading for how many seconds, in order.
        resets: ends with a reset instead of the end of its stream, and hears no more then.
    """

    stream: int
    says: list[Say] = field(default_factory=list)
    rests: list[tuple[int, float]] = field(default_factory=list)
    resets: bool = False

    @property
    def total(self) -> int:
        """Bytes that it says in all."""
        return sum(say.size for say in self.says)


@dataclass(frozen=True, slots=True)
class Plan:
    """Both parts."""

    client: Part
    endpoint: Part

    @property
    def resets(self) -> bool:
        """Whether one of them ends with a reset."""
        return self.client.resets or self.endpoint.resets


def plan(number: int, largest: int) -> Plan:
    """Talk of small messages in turns, of bulk one way and both ways, in any order.

    Args:
        number: which plan.
        largest: bytes of one stretch of bulk at the most.
    """
    chance = random.Random(number)
    client, endpoint = Part(2 * number), Part(2 * number + 1)
    if number % 20 == 0:
        # The bounds, which chance would not find.
        return _one_stretch(client, endpoint, largest if number % 40 else 1)
    breaks_off = chance.random() < 0.3
    if breaks_off:
        # Who is reset before it was connected has nobody to tell.
        _take_turns(chance, client, endpoint)
    for _ in range(chance.randint(1, 4)):
        if chance.random() < 0.5:
            _take_turns(chance, client, endpoint)
        else:
            _stream(chance, client, endpoint, largest)
    for part, other in ((client, endpoint), (endpoint, client)):
        part.rests = _rests(chance, other.total)
    if breaks_off:
        _break_off(chance, *chance.choice([(client, endpoint), (endpoint, client)]))
    return Plan(client, endpoint)


def content(stream: int, start: int, count: int) -> memoryview:
    """At most so many bytes of a stream, from there on."""
    start %= _BLOCK
    return memoryview(_block(stream))[start : start + count]


@lru_cache(maxsize=2)
def _block(stream: int) -> bytes:
    return random.Random(stream).randbytes(_BLOCK)


def _one_stretch(speaking: Part, silent: Part, size: int) -> Plan:
    speaking.says = [
        Say(0, 0.0, min(_LARGEST_CHUNK, size - begin)) for begin in range(0, size, _LARGEST_CHUNK)
    ]
    return Plan(speaking, silent)


def _take_turns(chance: random.Random, client: Part, endpoint: Part) -> None:
    """Questions and answers: each waits for what the other says."""
    largest = chance.choice([16, 1000, 20_000])
    heard_by_client, heard_by_endpoint = endpoint.total, client.total
    for _ in range(chance.randint(1, 60)):
        question, answer = chance.randint(1, largest), chance.randint(1, largest)
        client.says.append(Say(heard_by_client, _pause(chance), question))
        heard_by_endpoint += question
        endpoint.says.append(Say(heard_by_endpoint, _pause(chance), answer))
        heard_by_client += answer


def _stream(chance: random.Random, client: Part, endpoint: Part, largest: int) -> None:
    """Much, one way or both ways at once, after what was said before or at the same time."""
    one_way = chance.choice([None, client, endpoint])
    after = chance.random() < 0.5
    heard = {id(client): endpoint.total, id(endpoint): client.total}
    for part in (client, endpoint):
        if one_way not in (None, part):
            continue
        left = round(math.exp(chance.uniform(0, math.log(largest))))
        largest_chunk = chance.choice([1000, 65_536, _LARGEST_CHUNK])
        largest_chunk = max(largest_chunk, left // 200)
        while left:
            size = min(left, chance.randint(1, largest_chunk))
            part.says.append(Say(heard[id(part)] if after else 0, _pause(chance), size))
            left -= size


def _pause(chance: random.Random) -> float:
    return chance.uniform(0, 0.01) if chance.random() < 0.05 else 0.0


def _rests(chance: random.Random, total: int) -> list[tuple[int, float]]:
    count = chance.choice([0, 0, 1, 3])
    return sorted((chance.randint(0, total), chance.uniform(0, 0.1)) for _ in range(count))


def _break_off(chance: random.Random, breaking: Part, other: Part) -> None:
    """Let one side say a random part of what it would, and then reset."""
    breaking.resets = True
    left = chance.randint(breaking.says[0].size, breaking.total)
    kept = []
    for say in breaking.says:
        kept.append(replace(say, size=min(say.size, left)))
        left -= kept[-1].size
        if not left:
            break
    breaking.says = [*kept, Say(other.says[0].size, _pause(chance), 0)]
    # What waited for more waits for the reset now.
    other.says = [say for say in other.says if say.after <= breaking.total]
