"""The log's sink never waits, never grows without bound, never fails, and owns up to losses."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edgemesh.model.errors import OperatorError
from edgemesh.model.observe_settings import LogSettings
from edgemesh.observe.sink import LineSink, open_sink

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def read_all(reader: int) -> bytes:
    data = b""
    while select.select([reader], [], [], 0)[0]:
        data += os.read(reader, 65536)
    return data


def test_lines_are_kept_until_flushed_and_written_in_order(pipe: tuple[int, int]) -> None:
    sink = LineSink(pipe[1], 1000)
    sink.write(b"one\n")
    sink.write(b"two\n")
    assert read_all(pipe[0]) == b""
    sink.flush()
    assert read_all(pipe[0]) == b"one\ntwo\n"


def test_64_kib_are_written_without_a_flush(pipe: tuple[int, int]) -> None:
    sink = LineSink(pipe[1], 1_000_000)
    for _ in range(656):
        sink.write(LINE)
    assert len(read_all(pipe[0])) >= 61440


def test_a_reader_that_stalls_costs_the_bound_and_is_told_what_it_missed(
    pipe: tuple[int, int],
) -> None:
    sink = LineSink(pipe[1], 100_000)
    for _ in range(10_000):
        sink.write(LINE)
    assert sink.dropped > 8000
    received = b""
    while chunk := read_all(pipe[0]):
        received += chunk
        sink.flush()
    lines = received.splitlines(keepends=True)
    notice = msgspec.json.decode(lines.pop())
    assert lines == [LINE] * (10_000 - sink.dropped)
    assert notice["event"] == "log lines dropped"
    assert notice["lines"] == sink.dropped


def test_losses_are_told_once(pipe: tuple[int, int]) -> None:
    sink = LineSink(pipe[1], 10)
    sink.write(LINE)
    sink.flush()
    sink.flush()
    assert read_all(pipe[0]).count(b"log lines dropped") == 1


def test_a_reader_that_is_gone_costs_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    sink = LineSink(writer, 1000)
    for expected in (1, 2):
        sink.write(b"lost\n")
        sink.flush()
        assert sink.dropped == expected
    os.close(writer)


def test_a_line_cut_by_a_full_disk_is_ended_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A disk of just the right size would need a mount; the descriptor answers as one would.
    target = tmp_path / "log"
    sink = open_sink(LogSettings(file=str(target)))
    real_write = os.write
    answers = iter([3, OSError(28, "No space left on device")])

    def full_disk(descriptor: int, data: bytes) -> int:
        answer = next(answers, len(data))
        if isinstance(answer, OSError):
            raise answer
        return real_write(descriptor, data[:answer])

    monkeypatch.setattr(os, "write", full_disk)
    sink.write(b"first\n")
    sink.flush()
    sink.write(b"second\n")
    sink.flush()
    monkeypatch.undo()
    sink.close()
    first, second, notice = target.read_bytes().splitlines()
    assert (first, second) == (b"fir", b"second")
    assert msgspec.json.decode(notice)["lines"] == 1


def test_dev_full_never_fails() -> None:
    sink = open_sink(LogSettings(file="/dev/full"))
    sink.write(LINE)
    sink.close()
    assert sink.dropped == 1


def test_a_file_moved_away_is_left_for_a_new_one(tmp_path: Path) -> None:
    target, rotated = tmp_path / "log", tmp_path / "log.1"
    sink = open_sink(LogSettings(file=str(target)))
    sink.write(b"old\n")
    target.rename(rotated)
    sink.reopen()
    sink.write(b"new\n")
    sink.close()
    assert rotated.read_bytes() == b"old\n"
    assert target.read_bytes() == b"new\n"


def test_an_old_file_is_added_to(tmp_path: Path) -> None:
    target = tmp_path / "log"
    target.write_bytes(b"before\n")
    sink = open_sink(LogSettings(file=str(target)))
    sink.write(b"after\n")
    sink.close()
    assert target.read_bytes() == b"before\nafter\n"


def test_standard_error_is_neither_reopened_nor_closed(pipe: tuple[int, int]) -> None:
    sink = LineSink(pipe[1], 1000)
    sink.reopen()
    sink.close()
    assert os.fstat(pipe[1])


def test_a_file_that_cannot_be_opened_is_the_operator_s_mistake(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"log.file.*No such file or directory"):
        open_sink(LogSettings(file=str(tmp_path / "missing" / "log")))


def test_a_file_that_cannot_be_reopened_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    folder, moved = tmp_path / "a", tmp_path / "b"
    folder.mkdir()
    sink = open_sink(LogSettings(file=str(folder / "log")))
    folder.rename(moved)
    with pytest.raises(OperatorError):
        sink.reopen()
    sink.write(b"kept\n")
    sink.close()
    assert (moved / "log").read_bytes() == b"kept\n"
