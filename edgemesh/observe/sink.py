"""Where lines go: standard error or a file, never waiting for whoever reads them.

A line is first put into a bounded buffer and written as far as the descriptor takes it at once.
Standard error is shared with whoever started us, so its O_NONBLOCK is not ours to set; instead
poll is asked before every write, and a pipe or socket gets no more than PIPE_BUF bytes, which
fit whenever it is writable (pipe(7)).
"""

from __future__ import annotations

import os
import select
import stat
import threading
from datetime import UTC, datetime

import msgspec
import trio

from edgemesh.model.errors import OperatorError
from edgemesh.model.observe_settings import LogSettings

# What is buffered for the sake of fewer system calls is written after so much data or time.
_FLUSH_BYTES = 65536
_FLUSH_SECONDS = 0.1
_STANDARD_ERROR = 2


class LineSink:
    """Takes whole lines from any thread; drops and counts those that nobody takes off it.

    Ownership: `close` closes a file that `open_sink` opened, and never standard error.

    Attributes:
        dropped: lines lost since the start.
    """

    def __init__(self, descriptor: int, buffer_bytes: int, file: str = "") -> None:
        """Write to ``descriptor``, which was opened from ``file``, or is not ours when ""."""
        self.dropped = 0
        self._reported = 0
        self._file = file
        self._buffer_bytes = buffer_bytes
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self._attach(descriptor)

    def write(self, line: bytes) -> None:
        """Take a line, newline included; it is written with those that follow."""
        with self._lock:
            if len(self._buffer) + len(line) > self._buffer_bytes:
                self.dropped += 1
                return
            self._buffer += line
            if len(self._buffer) >= _FLUSH_BYTES and not self._stuck:
                self._write_out()

    def flush(self) -> None:
        """Write what the descriptor takes without waiting, and how many lines were dropped."""
        with self._lock:
            self._write_out()
            if self.dropped > self._reported and not self._stuck:
                self._buffer += _notice(self.dropped - self._reported)
                self._reported = self.dropped
                self._write_out()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Flush every 100 ms until cancelled, and once more then."""
        task_status.started()
        try:
            while True:
                await trio.sleep(_FLUSH_SECONDS)
                self.flush()
        finally:
            self.flush()

    def reopen(self) -> None:
        """Go on in a new file of the same name, after somebody has moved the old one away.

        Raises:
            OperatorError: it cannot be opened; the old one stays in use.
        """
        if not self._file:
            return
        descriptor = _open(self._file)
        with self._lock:
            self._write_out()
            os.close(self._descriptor)
            self._attach(descriptor)

    def close(self) -> None:
        """Flush, and let go of a file of ours."""
        self.flush()
        if self._file:
            os.close(self._descriptor)

    def _attach(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._stuck = False
        self._line_open = False
        self._torn = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._chunk_bytes = _FLUSH_BYTES if is_file else select.PIPE_BUF

    def _write_out(self) -> None:
        self._stuck = False
        while self._buffer:
            if not self._poll.poll(0):
                self._stuck = True
                return
            mend = b"\n" if self._torn else b""
            chunk = mend + self._buffer[: self._chunk_bytes]
            try:
                written = os.write(self._descriptor, chunk)
            except OSError:
                # The reader is gone or the disk is full. Nothing may pile up meanwhile; each
                # flush tries again, and ends the line that was cut first.
                self.dropped += self._buffer.count(b"\n")
                self._buffer.clear()
                self._torn = self._line_open
                self._stuck = True
                return
            del self._buffer[: written - len(mend)]
            self._torn = False
            self._line_open = chunk[written - 1 : written] != b"\n"


def open_sink(settings: LogSettings) -> LineSink:
    """The sink that the settings name: a file, made when it is missing, or standard error.

    Raises:
        OperatorError: the file cannot be opened.
    """
    if settings.file:
        return LineSink(_open(settings.file), settings.buffer_bytes, settings.file)
    try:
        os.fstat(_STANDARD_ERROR)
    except OSError:
        # Started with it closed: the next socket would get its number, and our lines.
        return LineSink(_open(os.devnull), settings.buffer_bytes, os.devnull)
    return LineSink(_STANDARD_ERROR, settings.buffer_bytes)


def _open(file: str) -> int:
    try:
        return os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise OperatorError(
            f"log.file: cannot write {file}: {error.strerror}",
            "name a file in a writable directory",
        ) from error


def _notice(lines: int) -> bytes:
    notice = {
        "event": "log lines dropped",
        "level": "warning",
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "lines": lines,
    }
    return msgspec.json.encode(notice) + b"\n"
