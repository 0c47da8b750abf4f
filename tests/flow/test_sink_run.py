"""A sink that is run writes within a tenth of a second, and what is left when it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from edgemesh.model.observe_settings import LogSettings
from edgemesh.observe.sink import LineSink, open_sink


async def test_lines_are_written_every_100_ms_and_at_the_end(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    file = tmp_path / "log"
    sink = open_sink(LogSettings(file=str(file)))
    async with trio.open_nursery() as nursery:
        await nursery.start(sink.run)
        sink.write(b"one\n")
        await trio.sleep(0.11)
        assert file.read_bytes() == b"one\n"
        sink.write(b"two\n")
        nursery.cancel_scope.cancel()
    assert file.read_bytes() == b"one\ntwo\n"
    sink.close()


async def test_a_cancelled_run_ends_although_nobody_reads(
    autojump_clock: trio.testing.MockClock, request: pytest.FixtureRequest
) -> None:

    reader, writer = os.pipe()
    request.addfinalizer(lambda: (os.close(reader), os.close(writer)))
    sink = LineSink(writer, 1_000_000)
    async with trio.open_nursery() as nursery:
        await nursery.start(sink.run)
        for _ in range(9000):
            sink.write(b"x" * 99 + b"\n")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
