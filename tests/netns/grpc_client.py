"""A gRPC client of grpcio that plays one scenario; run as ``grpc_client.py TARGET SCENARIO``.

What it found is written to standard output as JSON.
"""

from __future__ import annotations

import hashlib
import json
import queue
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc

PATIENCE_SECONDS = 30


class Echo:
    def __init__(self, channel: grpc.Channel) -> None:
        self.unary = channel.unary_unary("/test.Echo/Unary")
        self.count = channel.unary_stream("/test.Echo/Count")
        self.join = channel.stream_unary("/test.Echo/Join")
        self.bidi = channel.stream_stream("/test.Echo/Bidi")
        self.wait = channel.unary_unary("/test.Echo/Wait")
        self.waits = channel.unary_unary("/test.Echo/Waits")
        self.fail = channel.unary_unary("/test.Echo/Fail")
        self.missing = channel.unary_unary("/test.Echo/Missing")


def unary(echo: Echo) -> Any:
    return echo.unary(b"hello", timeout=PATIENCE_SECONDS).decode()


def server_streaming(echo: Echo) -> Any:
    return [int(part) for part in echo.count(b"1000", timeout=PATIENCE_SECONDS)]


def client_streaming(echo: Echo) -> Any:
    parts = (str(number).encode() for number in range(1000))
    return echo.join(parts, timeout=PATIENCE_SECONDS).decode()


def bidirectional(echo: Echo) -> Any:
    """Each message is said only when the one before it was heard."""
    to_say: queue.Queue[bytes | None] = queue.Queue()
    heard = []
    call = echo.bidi(iter(to_say.get, None), timeout=PATIENCE_SECONDS)
    for number in range(200):
        to_say.put(str(number).encode())
        heard.append(int(next(call)))
    to_say.put(None)
    return [heard, list(call)]


def large(echo: Echo) -> Any:
    """8 MiB there and back, alone and four at a time."""
    message = bytes(range(256)) * (8 * 4096)
    answers = [echo.unary(message, timeout=PATIENCE_SECONDS)]
    calls = [echo.unary.future(message, timeout=PATIENCE_SECONDS) for _ in range(4)]
    answers += [call.result() for call in calls]
    wanted = hashlib.sha256(message).hexdigest()
    return [hashlib.sha256(answer).hexdigest() == wanted for answer in answers]


def large_stream(echo: Echo) -> Any:
    message = bytes(1 << 20)
    call = echo.bidi(iter([message] * 16), timeout=PATIENCE_SECONDS)
    return [len(part) for part in call]


def many_streams(echo: Echo) -> Any:
    """200 streams that are all open at the same time, on one connection."""
    queues: list[queue.Queue[bytes | None]] = [queue.Queue() for _ in range(200)]
    calls = [echo.bidi(iter(one.get, None), timeout=PATIENCE_SECONDS) for one in queues]
    heard = []
    for round_number in range(3):
        for number, one in enumerate(queues):
            one.put(f"{round_number}.{number}".encode())
        heard.append([next(call).decode() for call in calls])
    for one in queues:
        one.put(None)
    return [heard, [call.code().name for call in calls if list(call) == []]]


def many_calls(echo: Echo) -> Any:
    """200 calls at a time, more than may be open: the rest waits its turn."""
    calls = [echo.unary.future(str(n).encode(), timeout=PATIENCE_SECONDS) for n in range(200)]
    return [int(call.result()) for call in calls]


def spread(echo: Echo) -> Any:
    served = Counter()
    for _ in range(100):
        _, call = echo.unary.with_call(b"x", timeout=PATIENCE_SECONDS)
        served[dict(call.trailing_metadata())["served-by"]] += 1
    return dict(served)


def failing(call: Callable[[], object]) -> list[str]:
    try:
        call()
    except grpc.RpcError as error:
        return [error.code().name, error.details() or ""]
    return ["OK", ""]


def statuses(echo: Echo) -> Any:
    return {
        "fail": failing(lambda: echo.fail("so nicht: é%".encode(), timeout=PATIENCE_SECONDS)),
        "missing": failing(lambda: echo.missing(b"", timeout=PATIENCE_SECONDS)),
    }


def refusal(echo: Echo) -> Any:
    """What a call is told whose service has no endpoint."""
    begin = time.monotonic()
    told = failing(lambda: echo.unary(b"x", timeout=PATIENCE_SECONDS))
    return [*told, time.monotonic() - begin]


def quota(echo: Echo) -> Any:
    return [failing(lambda: echo.unary(b"x", timeout=PATIENCE_SECONDS))[0] for _ in range(4)]


def begun(echo: Echo) -> int:
    """How many calls have come to the servers that they do not answer."""
    return int(echo.waits(b"", timeout=PATIENCE_SECONDS).split()[0])


def given_up(echo: Echo) -> int:
    """How many of them the servers know to be over."""
    return int(echo.waits(b"", timeout=PATIENCE_SECONDS).split()[1])


def reaches(count: Callable[[Echo], int], echo: Echo, wanted: int) -> bool:
    """Wait for a count of the servers."""
    end = time.monotonic() + PATIENCE_SECONDS
    while count(echo) < wanted:
        if time.monotonic() > end:
            return False
    return True


def deadline(echo: Echo) -> Any:
    """One that is over before its call has come to a server is told to nobody there."""
    came, over = begun(echo), given_up(echo)
    for seconds in (0.3, 3, 30):
        told = failing(partial(echo.wait, b"", timeout=seconds))[0]
        if begun(echo) > came:
            break
    return [told, reaches(given_up, echo, over + 1)]


def cancellation(echo: Echo) -> Any:
    came, over = begun(echo), given_up(echo)
    calls = [echo.wait.future(b"", timeout=PATIENCE_SECONDS) for _ in range(3)]
    have_come = reaches(begun, echo, came + 3)
    for call in calls:
        call.cancel()
    codes = [call.code().name for call in calls]
    return [codes, have_come, reaches(given_up, echo, over + 3)]


SCENARIOS: dict[str, Callable[[Echo], Any]] = {
    one.__name__: one
    for one in (
        unary,
        server_streaming,
        client_streaming,
        bidirectional,
        large,
        large_stream,
        many_streams,
        many_calls,
        spread,
        statuses,
        refusal,
        quota,
        deadline,
        cancellation,
    )
}


def played(target: str, scenarios: list[str]) -> Iterator[Any]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(target, options=options) as channel:
        echo = Echo(channel)
        for scenario in scenarios:
            yield SCENARIOS[scenario](echo)


if __name__ == "__main__":
    print(json.dumps(list(played(sys.argv[1], sys.argv[2:]))))
