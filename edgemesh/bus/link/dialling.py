"""Dialling another end: its addresses one after the other, the first link that comes up wins.

As RFC 8305 has it for host names: an address that does not answer soon does not keep the next one
waiting.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from edgemesh.bus.link.link import Link
from edgemesh.bus.link.roles import Owner
from edgemesh.bus.link.shared import Shared
from edgemesh.kernel.sockets import Address, dialling_socket
from edgemesh.reactor.reactor import Handler
from edgemesh.reactor.timers import Timer
from edgemesh.wire.host_port import joined

_NEXT_SECONDS = 0.25  # RFC 8305 section 5


class Race:
    """Attempts to reach one end.

    Attributes:
        problem: of the attempt that has failed last.
    """

    __slots__ = (
        "_attempts",
        "_expected",
        "_keep",
        "_lost",
        "_owner",
        "_server_name",
        "_shared",
        "_timer",
        "_untried",
        "problem",
    )

    def __init__(
        self,
        shared: Shared,
        owner: Owner,
        expected: str,
        addresses: Sequence[Address],
        lost: Callable[[], None],
        *,
        server_name: str,
        keep: bool,
    ) -> None:
        """Try nothing yet; see `start`.

        Args:
            shared: what all links have.
            owner: of the links; it calls `is_won` and `has_failed`.
            expected: who is dialled.
            addresses: where.
            lost: is called once when all attempts have failed.
            server_name: see `Link`.
            keep: see `Link`.
        """
        self._shared = shared
        self._owner = owner
        self._expected = expected
        self._untried = deque(addresses)
        self._lost = lost
        self._server_name = server_name
        self._keep = keep
        self._attempts: list[Link] = []
        self._timer: Timer[Handler] | None = None
        self.problem = "it has told no address for links"

    def start(self) -> None:
        """Try the first address."""
        self._try_next()

    def is_won(self, link: Link) -> bool:
        """Whether ``link``, which has come up, is one of the attempts; the others are given up."""
        if link not in self._attempts:
            return False
        self._attempts.remove(link)
        self.stop()
        return True

    def has_failed(self, link: Link) -> bool:
        """Whether ``link``, which is over, was one of the attempts; the next one begins."""
        if link not in self._attempts:
            return False
        self._attempts.remove(link)
        self.problem = f"{link.address}: {link.problem}"
        self._try_next()
        return True

    def stop(self) -> None:
        """Give up what is under way."""
        if self._timer is not None:
            self._timer.cancel()
        self._untried.clear()
        attempts, self._attempts = self._attempts, []
        for link in attempts:
            link.end("another address was faster")

    def _try_next(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._untried:
            address = self._untried.popleft()
            problem = self._try(address)
            if not problem:
                if self._untried:
                    after = self._shared.reactor.after
                    self._timer = after(_NEXT_SECONDS, self._attempts[-1], self._try_next)
                return
            self.problem = f"{joined(*address)}: {os.strerror(problem).lower()}"
        if not self._attempts:
            self._lost()

    def _try(self, address: Address) -> int:
        """Begin one attempt; an errno when that was not possible."""
        shared = self._shared
        try:
            sock = dialling_socket(address[0], socket.SOCK_STREAM, shared.own_mark)
        except OSError as error:
            return error.errno or errno.EIO
        problem = sock.connect_ex(address)
        if problem not in {0, errno.EINPROGRESS}:
            sock.close()
            return problem
        link = Link(
            shared,
            self._owner,
            sock,
            joined(*address),
            expected=self._expected,
            server_name=self._server_name,
            keep=self._keep,
        )
        self._attempts.append(link)
        link.start()
        return 0
