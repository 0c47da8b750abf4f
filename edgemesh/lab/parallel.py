"""Several things at a time, where an operator is to read one error and not a group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import trio

from edgemesh.model.errors import OperatorError


async def in_parallel(jobs: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Run jobs together; when one fails, the others are still finished.

    Raises:
        OperatorError: the first one that came up.
    """
    errors: list[OperatorError] = []

    async def run(job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        except OperatorError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(run, job)
    if errors:
        raise errors[0]
