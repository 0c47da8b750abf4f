"""TLS of the cloud's ports: a handshake that fails tells the other side why."""

from __future__ import annotations

import ssl
from typing import Any, cast

import trio

from edgemesh.bus.pki.problems import CertificateProblem

# For the peer to hear it: a close with unread data resets, and may take the alert away.
_LINGER_SECONDS = 1.0
_RECEIVE_BYTES = 16384


async def shake_hands(
    plain: trio.SocketStream, context: ssl.SSLContext
) -> trio.SSLStream[trio.SocketStream]:
    """Do the server's part of a handshake.

    Args:
        plain: just accepted; the caller closes it.
        context: of the bus.

    Raises:
        CertificateProblem: the peer was refused, and told so by an alert; or it refused us.
        trio.BrokenResourceError: the connection is gone.
    """
    kept = _KeptOutput(context)
    stream = trio.SSLStream(
        plain, cast("ssl.SSLContext", kept), server_side=True, https_compatible=True
    )
    try:
        await stream.do_handshake()
    except CertificateProblem as refused:
        problem = refused
    else:
        return stream
    with trio.move_on_after(_LINGER_SECONDS):
        await _send_last_words(plain, kept.outgoing.read())
    raise problem


class _KeptOutput:
    """A context that keeps hold of what TLS wants to send: SSLStream drops it on failures."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.outgoing = ssl.MemoryBIO()

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **options: Any
    ) -> ssl.SSLObject:
        self.outgoing = outgoing
        return self._context.wrap_bio(incoming, outgoing, **options)


async def _send_last_words(plain: trio.SocketStream, words: bytes) -> None:
    try:
        await plain.send_all(words)
        await plain.send_eof()
        while await plain.receive_some(_RECEIVE_BYTES):
            pass
    except trio.BrokenResourceError:
        # It went away; CertificateProblem says all that matters.
        return
