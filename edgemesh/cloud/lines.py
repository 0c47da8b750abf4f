"""Lines of a watch, read ahead of whoever writes down what they tell."""

from __future__ import annotations

import trio

from edgemesh.cloud.access import SilentError, Stream, UnreachableError
from edgemesh.policy.reflector.course import Ending
from edgemesh.wire.lines import LineSplitter


class LineReader:
    """Reads lines until the watch ends; run it beside who takes batches.

    Args:
        stream: of the watch.
        held: lines that may wait to be taken; nothing more is read while there are so many.
        max_bytes: of a line.
        seconds: after which the watch is over, whatever the server says.

    Attributes:
        ending: how the watch has ended, once there are no more batches.
        problem: what was wrong with that, for people; "" when nothing was.
    """

    def __init__(self, stream: Stream, held: int, max_bytes: int, seconds: float) -> None:
        self._stream = stream
        self._held = held
        self._splitter = LineSplitter(max_bytes)
        self._seconds = seconds
        self._send, self._receive = trio.open_memory_channel[bytes](held)
        self.ending = Ending.ENDED
        self.problem = ""

    async def run(self) -> None:
        """Read until the end; what goes wrong is in `ending` and `problem` then."""
        with self._send, trio.move_on_after(self._seconds):
            try:
                await self._read()
            except SilentError:
                self.ending, self.problem = Ending.SILENT, "the server has gone silent"
            except UnreachableError as error:
                self.ending, self.problem = Ending.FAILED, f"the watch was cut: {error}"

    async def batch(self, deadline: float) -> list[bytes]:
        """The lines that have come, at least one; none after the end.

        Args:
            deadline: on trio's clock; that none has come by then counts as the end.
        """
        lines: list[bytes] = []
        with trio.move_on_at(deadline) as waiting:
            try:
                lines.append(await self._receive.receive())
            except trio.EndOfChannel:
                return lines
        if waiting.cancelled_caught:
            self.ending, self.problem = Ending.SILENT, "what was asked for does not come"
            return lines
        while len(lines) < self._held:
            try:
                lines.append(self._receive.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        return lines

    async def _read(self) -> None:
        while data := await self._stream.receive():
            for line in self._splitter.feed(data):
                if line is None:
                    raise UnreachableError("an event is longer than it may be")
                if line:
                    await self._send.send(line)
