"""Which endpoints are probed, when, and what becomes of the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import pytest
import structlog
import trio
import trio.testing

from edgemesh.model.policies import HealthCheck, Policy, Subset
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Transport
from edgemesh.model.settings import ProxySettings
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.proxy.health.checks import HealthChecks

CHECK = HealthCheck(interval_seconds=10.0, healthy_threshold=2, unhealthy_threshold=3)
ONE, TWO = Endpoint("10.0.0.1", 8080), Endpoint("10.0.0.2", 8080)


def port(
    check: HealthCheck | None = CHECK,
    *endpoints: Endpoint,
    name: str = "web",
    transport: Transport = Transport.TCP,
) -> ServicePort:
    policy = Policy(health_check=check)
    return ServicePort("default", name, "", transport, 80, policy=policy, endpoints=endpoints)


class World:
    """Health checks whose probes are answered here, under a clock that jumps."""

    def __init__(self, settings: ProxySettings, random: float) -> None:
        self.traffic = Traffic(lambda: 0.5)
        self.beyond: set[str] = set()
        self.checks = HealthChecks(
            self.traffic,
            self._answer,
            settings,
            lambda: random,
            lambda endpoint: endpoint.address in self.beyond,
        )
        self.problems: dict[str, str | None] = {}
        self.seconds = 0.0
        self.began = trio.current_time()
        self.asked: list[tuple[float, str]] = []
        self.under_way: Counter[str] = Counter()
        self.most_under_way = 0

    async def _answer(self, _check: HealthCheck, endpoint: Endpoint) -> str | None:
        address = endpoint.address
        self.asked.append((trio.current_time() - self.began, address))
        self.under_way[address] += 1
        self.most_under_way = max(self.most_under_way, self.under_way.total())
        assert self.under_way[address] == 1
        try:
            await trio.sleep(self.seconds)
        finally:
            self.under_way[address] -= 1
        return self.problems.get(address, "")

    def swap(self, *ports: ServicePort) -> None:
        snapshot = Snapshot(ports={one.key: one for one in ports})
        self.traffic.swap(snapshot, trio.current_time())
        self.checks.swap(snapshot)

    def state(self, service: ServicePort, endpoint: Endpoint = ONE) -> EndpointState:
        upstream = self.traffic.upstream(service)
        assert upstream is not None
        return next(state for state in upstream.states() if state.endpoint == endpoint)

    def times(self, endpoint: Endpoint = ONE) -> list[float]:
        return [round(when, 6) for when, address in self.asked if address == endpoint.address]

    def metrics(self) -> str:
        return "".join(self.checks.family().text())


@asynccontextmanager
async def running(
    *ports: ServicePort, random: float = 0.5, **settings: object
) -> AsyncIterator[World]:
    world = World(replace(ProxySettings(), **settings), random)
    world.swap(*ports)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.checks.run)
        yield world
        nursery.cancel_scope.cancel()


async def until(seconds: float, world: World) -> None:
    """Let the clock come to so many seconds after the start, and everything due happen."""
    await trio.sleep_until(world.began + seconds)
    await trio.testing.wait_all_tasks_blocked()


@contextmanager
def logged() -> Iterator[list[dict[str, object]]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_first_probes_go_out_at_once_and_settle_it_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    web = port(CHECK, ONE, TWO)
    async with running(web) as world:
        world.problems[ONE.address] = "refused"
        await until(0, world)
        assert world.times() == world.times(TWO) == [0.0]
        assert not world.state(web).probed_healthy
        assert world.state(web, TWO).probed_healthy


async def test_endpoints_that_are_reached_by_the_bus_are_not_probed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    web = port(CHECK, ONE, TWO)
    async with running(web) as world:
        world.problems[ONE.address] = "refused"
        await until(0, world)
        world.beyond = {ONE.address}
        world.checks.look_again()
        await until(60, world)
        assert world.times() == [0.0]
        assert len(world.times(TWO)) > 1
        assert world.state(web).probed_healthy


async def test_later_changes_need_their_threshold(autojump_clock: trio.testing.MockClock) -> None:
    web = port(CHECK, ONE)
    async with running(web) as world:
        await until(1, world)
        world.problems[ONE.address] = "refused"
        await until(29, world)
        assert world.state(web).probed_healthy
        await until(31, world)
        assert not world.state(web).probed_healthy
        world.problems.clear()
        await until(41, world)
        assert not world.state(web).probed_healthy
        await until(51, world)
        assert world.state(web).probed_healthy


@pytest.mark.parametrize(("random", "interval"), [(0.0, 9.0), (0.5, 10.0), (0.999, 10.998)])
async def test_probes_come_at_the_interval_more_or_less(
    autojump_clock: trio.testing.MockClock, random: float, interval: float
) -> None:
    async with running(port(CHECK, ONE), random=random) as world:
        world.seconds = 1.5
        await until(25, world)
        assert world.times() == pytest.approx([0.0, interval, 2 * interval])


async def test_a_probe_that_outlasts_its_interval_is_followed_by_the_next_never_joined(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(port(CHECK, ONE)) as world:
        world.seconds = 12.0
        await until(30, world)
        assert world.times() == [0.0, 12.0, 24.0]


async def test_an_interval_of_nothing_is_bounded_by_the_settings(
    autojump_clock: trio.testing.MockClock,
) -> None:
    check = replace(CHECK, interval_seconds=0.0)
    async with running(port(check, ONE), min_probe_interval_seconds=0.5) as world:
        await until(1.1, world)
        assert world.times() == [0.0, 0.5, 1.0]


async def test_no_more_probes_are_under_way_than_the_settings_let(
    autojump_clock: trio.testing.MockClock,
) -> None:
    endpoints = [Endpoint(f"10.0.1.{number}", 80) for number in range(20)]
    async with running(port(CHECK, *endpoints), max_probes=4) as world:
        world.seconds = 1.0
        await until(5, world)
        assert len(world.asked) == 20
        assert world.most_under_way == 4


async def test_an_endpoint_that_comes_is_probed_at_once_and_one_that_goes_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(port(CHECK, ONE)) as world:
        await until(5, world)
        world.swap(port(CHECK, TWO))
        await until(16, world)
        assert world.times() == [0.0]
        assert world.times(TWO) == [5.0, 15.0]


async def test_an_unrelated_change_does_not_disturb_the_probes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(port(CHECK, ONE)) as world:
        await until(1, world)
        world.problems[ONE.address] = "refused"
        await until(25, world)
        web = replace(port(CHECK, ONE, TWO), application_protocol="http")
        world.swap(web, port(None, ONE, name="other"))
        await until(29, world)
        assert world.times() == [0.0, 10.0, 20.0]
        await until(31, world)
        assert not world.state(web).probed_healthy


async def test_a_changed_check_takes_effect_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(port(CHECK, ONE)) as world:
        await until(5, world)
        world.problems[ONE.address] = "HTTP status 500"
        web = port(replace(CHECK, interval_seconds=1.0), ONE)
        world.swap(web)
        await until(5, world)
        assert not world.state(web).probed_healthy
        await until(6.5, world)
        assert world.times() == [0.0, 5.0, 6.0]


async def test_without_its_check_an_endpoint_counts_as_healthy_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(port(CHECK, ONE)) as world:
        world.problems[ONE.address] = "refused"
        await until(1, world)
        web = port(None, ONE)
        world.swap(web)
        await until(1, world)
        assert world.state(web).probed_healthy
        await until(60, world)
        assert world.times() == [0.0]


async def test_a_probe_under_way_of_a_check_that_is_gone_tells_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(port(CHECK, ONE)) as world:
        world.seconds = 2.0
        world.problems[ONE.address] = "refused"
        await until(1, world)
        web = port(None, ONE)
        world.swap(web)
        await until(10, world)
        assert world.state(web).probed_healthy
        assert not world.under_way.total()


async def test_a_probe_that_could_not_be_made_tells_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    web = port(CHECK, ONE)
    async with running(web) as world:
        world.problems[ONE.address] = None
        await until(45, world)
        assert len(world.times()) == 5
        assert world.state(web).probed_healthy
        assert world.checks.probes == 0


async def test_subsets_share_what_is_found(autojump_clock: trio.testing.MockClock) -> None:
    web = port(CHECK, ONE, TWO)
    subset = Subset("v1", frozenset({(ONE.address, ONE.port)}), web.policy)
    web = replace(web, subsets={"v1": subset})
    async with running(web) as world:
        world.problems[ONE.address] = "refused"
        await until(0, world)
        upstream = world.traffic.upstream(web, "v1")
        assert upstream is not None
        assert [state.probed_healthy for state in upstream.states()] == [False]
        assert world.times() == [0.0]


async def test_a_udp_port_is_checked_only_where_the_check_names_a_port(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(
        port(CHECK, ONE, transport=Transport.UDP),
        port(replace(CHECK, port=9000), TWO, name="other", transport=Transport.UDP),
    ) as world:
        await until(1, world)
        assert world.times() == []
        assert world.times(TWO) == [0.0]


async def test_changes_are_logged_once_and_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with logged() as lines:
        async with running(port(CHECK, ONE, TWO)) as world:
            world.problems[ONE.address] = "Connection refused"
            await until(25, world)
            world.problems.clear()
            await until(55, world)
            text = world.metrics()
    told = [(line["event"], line["endpoint"], line["reason"]) for line in lines]
    assert told == [
        ("endpoint unhealthy", "10.0.0.1:8080", "Connection refused"),
        ("endpoint healthy", "10.0.0.1:8080", ""),
    ]
    assert lines[0]["service"] == "default/web:80"
    assert 'edgemesh_health_probes_total{result="healthy"} 9\n' in text
    assert 'edgemesh_health_probes_total{result="unhealthy"} 3\n' in text
