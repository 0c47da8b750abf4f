"""A stream that does not wait for ever, and remembers what ended it."""

from __future__ import annotations

from collections.abc import Callable

import trio


class WatchedStream(trio.abc.Stream):
    """Breaks when the peer is silent, or takes nothing, for too long.

    Silence counts only while this side listens: whoever does not read hears nothing.

    Args:
        stream: carries the bytes; closed with this one.
        seconds: of silence.
        describe: says what an exception of the stream means.
        ended: called once, when the stream has broken or ended.

    Attributes:
        problem: what ended it, "" while nothing has.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        seconds: float,
        describe: Callable[[trio.BrokenResourceError], str],
    ) -> None:
        self._stream = stream
        self._seconds = seconds
        self._describe = describe
        self.problem = ""
        self.ended = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As always.

        Raises:
            trio.BrokenResourceError: also after too long a silence.
        """
        try:
            with trio.fail_after(self._seconds):
                data = await self._stream.receive_some(max_bytes)
        except trio.TooSlowError:
            raise self._broken(f"silent for {self._seconds:g} s") from None
        except trio.BrokenResourceError as error:
            raise self._broken(self._describe(error)) from error
        if not data:
            self._end("closed the connection")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As always.

        Raises:
            trio.BrokenResourceError: also when the peer takes nothing for too long.
        """
        try:
            with trio.fail_after(self._seconds):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            raise self._broken(f"takes nothing for {self._seconds:g} s") from None
        except trio.BrokenResourceError as error:
            raise self._broken(self._describe(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        """As always."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream below, at once: whoever is silent would not say goodbye.

        Nobody closes it before its end but who could not read what came.
        """
        self._end("sent what is no WebSocket")
        await trio.aclose_forcefully(self._stream)

    def _broken(self, problem: str) -> trio.BrokenResourceError:
        self._end(problem)
        return trio.BrokenResourceError(problem)

    def _end(self, problem: str) -> None:
        self.problem = self.problem or problem
        self.ended.set()
