"""The eventbus with a real broker: Debian's mosquitto, on an address of loopback."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import trio
from requirement import unmet

from edgemesh.bus.router.mqtt import BrokerAddress, BrokerGoneError, MqttClient

PROGRAM = shutil.which("mosquitto", path="/usr/sbin:/usr/bin")


PATIENCE_SECONDS = 30.0


@pytest.fixture
def address() -> BrokerAddress:
    """Where nobody but the test's own broker listens, also while that is away."""
    second, third, fourth = uuid4().bytes[:3]
    return BrokerAddress(f"127.{second}.{third}.{fourth % 254 + 1}", 18830)


@contextmanager
def broker(directory: Path, address: BrokerAddress) -> Iterator[subprocess.Popen[bytes]]:
    if PROGRAM is None:
        unmet("mosquitto is not installed")
    config = directory / "mosquitto.conf"
    listener = f"listener {address.port} {address.host}"
    config.write_text(f"{listener}\nallow_anonymous true\nuser root\n")
    with subprocess.Popen(
        [PROGRAM, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@asynccontextmanager
async def client(
    address: BrokerAddress, name: str
) -> AsyncIterator[tuple[MqttClient, trio.MemoryReceiveChannel[tuple[str, bytes]]]]:
    send, receive = trio.open_memory_channel[tuple[str, bytes]](100)
    one = MqttClient(
        address,
        name,
        lambda topic, payload: send.send_nowait((topic, payload)),
        keepalive_seconds=10,
        first_retry_seconds=0.01,
        max_retry_seconds=0.1,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        yield one, receive
        nursery.cancel_scope.cancel()


async def until_connected(one: MqttClient, *, so: bool = True) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while one.connected is not so:  # noqa: ASYNC110 - another process is waited for
            await trio.sleep(0.01)


async def test_what_one_publishes_another_receives(tmp_path: Path, address: BrokerAddress) -> None:
    with broker(tmp_path, address):
        async with client(address, "one") as (one, _), client(address, "two") as (two, received):
            two.subscribe("default/test")
            await until_connected(one)
            await until_connected(two)
            with trio.fail_after(PATIENCE_SECONDS):
                # The broker may hear of the subscription after the first messages.
                async with trio.open_nursery() as nursery:

                    async def publish() -> None:
                        while True:
                            one.publish("default/test", b"\x00hello")
                            await trio.sleep(0.05)

                    nursery.start_soon(publish)
                    assert await received.receive() == ("default/test", b"\x00hello")
                    nursery.cancel_scope.cancel()


async def test_a_big_message_passes_whole(tmp_path: Path, address: BrokerAddress) -> None:
    payload = bytes(range(256)) * 8192
    with broker(tmp_path, address):
        async with client(address, "one") as (one, received):
            one.subscribe("big")
            await until_connected(one)
            one.publish("big", payload)
            with trio.fail_after(PATIENCE_SECONDS):
                assert await received.receive() == ("big", payload)


async def test_a_broker_that_comes_back_finds_the_subscriptions(
    tmp_path: Path, address: BrokerAddress
) -> None:
    async with client(address, "one") as (one, received):
        one.subscribe("a")
        with pytest.raises(BrokerGoneError):
            one.publish("a", b"lost")
        for number in (b"1", b"2"):
            with broker(tmp_path, address):
                await until_connected(one)
                assert not one.problem
                one.publish("a", number)
                # QoS 1: what the broker had not acknowledged before it went comes again.
                with trio.fail_after(PATIENCE_SECONDS):
                    while await received.receive() != ("a", number):
                        pass
            await until_connected(one, so=False)
            assert one.problem


async def test_a_broker_that_hangs_is_given_up(tmp_path: Path, address: BrokerAddress) -> None:
    send, _ = trio.open_memory_channel[tuple[str, bytes]](1)
    one = MqttClient(
        address,
        "one",
        lambda topic, payload: send.send_nowait((topic, payload)),
        keepalive_seconds=1,
        first_retry_seconds=0.01,
        max_retry_seconds=0.1,
    )
    with broker(tmp_path, address) as process:
        async with trio.open_nursery() as nursery:
            await nursery.start(one.run)
            await until_connected(one)
            process.send_signal(signal.SIGSTOP)
            try:
                await until_connected(one, so=False)
            finally:
                process.send_signal(signal.SIGCONT)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("mqtt://broker", BrokerAddress("broker", 1883)),
        ("mqtt://u:p@[::1]:1884/", BrokerAddress("::1", 1884, "u", "p")),
    ],
)
def test_an_address_is_read(url: str, read: BrokerAddress) -> None:
    assert BrokerAddress.parse(url) == read


@pytest.mark.parametrize("url", ["", "broker", "http://a", "mqtt://", "mqtt://a/b", "mqtt://a:x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the standard library's own text is among them
        BrokerAddress.parse(url)
