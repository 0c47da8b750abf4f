"""Faults, in an order by lot."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import trio
from faulted_calls import Disturbance
from faulted_lab import CALLING, CLOUD, SERVING, FaultedLab

_HUB_PORT, _LINK_PORT = 10000, 10006
_RESET = "reject with tcp reset"
_DAY = 86400
_STEPS = (400 * _DAY, -_DAY, 3600, -3600)

Fault = Callable[[FaultedLab, random.Random], Awaitable[None]]


async def _cut(node: str, port: int, verdict: str, lab: FaultedLab, chance: random.Random) -> None:
    async with lab.cut(node, port, verdict):
        # Shorter and longer than what a link may be silent.
        await trio.sleep(chance.uniform(0.5, 7))


async def _kill(name: str, lab: FaultedLab, chance: random.Random) -> None:
    await lab.kill(name)
    await trio.sleep(chance.uniform(0, 2))
    await lab.start(name)


async def _freeze(name: str, lab: FaultedLab, chance: random.Random) -> None:
    lab.signal(name, signal.SIGSTOP)
    try:
        await trio.sleep(chance.uniform(0.5, 7))
    finally:
        lab.signal(name, signal.SIGCONT)


async def _step_clock(name: str, lab: FaultedLab, chance: random.Random) -> None:
    lab.set_clock(name, chance.choice(_STEPS))
    try:
        await trio.sleep(chance.uniform(2, 4))
    finally:
        lab.set_clock(name, 0)


def _faults() -> dict[str, Fault]:
    found: dict[str, Fault] = {
        "direct link cut, half open": partial(_cut, CALLING, _LINK_PORT, "drop"),
        "direct link reset": partial(_cut, SERVING, _LINK_PORT, _RESET),
    }
    for node in (CALLING, SERVING):
        found[f"cloud of {node} cut, half open"] = partial(_cut, node, _HUB_PORT, "drop")
        found[f"cloud of {node} reset"] = partial(_cut, node, _HUB_PORT, _RESET)
    for name in (CALLING, SERVING, CLOUD):
        found[f"{name} killed"] = partial(_kill, name)
        found[f"{name} frozen"] = partial(_freeze, name)
        found[f"clock of {name} stepped"] = partial(_step_clock, name)
    return found


def by_lot(chance: random.Random) -> Iterator[tuple[str, Fault]]:
    """All faults, shuffled anew each time all have been."""
    faults = _faults()
    while True:
        names = sorted(faults)
        chance.shuffle(names)
        yield from ((name, faults[name]) for name in names)


async def disturb(lab: FaultedLab, seed: int, seconds: float) -> list[Disturbance]:
    """Do one after the other, now and then two at once, until the time is over.

    At first the nodes reach each other by the cloud only; halfway, and then every half minute or
    so, that changes. In the end they can reach each other.
    """
    chance = random.Random(seed)
    done: list[Disturbance] = []
    faults = by_lot(chance)
    end = time.monotonic() + seconds
    turn = time.monotonic() + min(seconds / 2, 30)
    parted = True
    while time.monotonic() < end:
        if time.monotonic() > turn:
            await (lab.join() if parted else lab.part())
            parted = not parted
            turn += 30
        async with trio.open_nursery() as nursery:
            first, *others = [next(faults) for _ in range(chance.choice((1, 1, 2)))]
            for name, fault in (first, *(o for o in others if _differ(first[0], o[0]))):
                nursery.start_soon(_note, done, name, fault, lab, chance)
        await trio.sleep(chance.uniform(0, 1.5))
    if parted:
        await lab.join()
    return done


def _differ(one: str, other: str) -> bool:
    """Whether two faults can be at once: not both of one process, not both of one way."""
    return not any(word in one and word in other for word in (CALLING, SERVING, CLOUD, "direct"))


async def _note(
    done: list[Disturbance], name: str, fault: Fault, lab: FaultedLab, chance: random.Random
) -> None:
    began = time.monotonic()
    print(f"{began:.1f} {name}")  # to see what came before a failure
    await fault(lab, chance)
    silences = name in {f"{CALLING} killed", f"{CALLING} frozen"}
    done.append(Disturbance(name, began, time.monotonic(), silences))
