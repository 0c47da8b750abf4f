"""Whoever asks for a policy object sees how it stands, and who applies it what is wrong in it."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import trio
import yaml
from metamanager_fixtures import Body, Served, served, service

from edgemesh.app.follow import Follower
from edgemesh.meta.client import WatchEvent, WatchEventType, watch
from edgemesh.model.objects import ObjectKey
from edgemesh.model.settings import MetaSettings, Settings

EDGEMESH = (sys.executable, "-m", "edgemesh.cli.main")


def policy(name: str = "orders", **spec: Any) -> Body:
    return {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"targetRef": {"kind": "Service", "name": "orders"}, **spec},
    }


WRONG = policy(qps={"client": {"rate": 5, "burst": "many"}}, path="http")
BURST = 'spec.qps.client.burst: expected an integer from 1 to 2147483647, got "many"; ignored'


@asynccontextmanager
async def followed(directory: Path) -> AsyncIterator[tuple[Served, Follower]]:
    """A metamanager, and what turns its objects into snapshots."""
    async with served(directory) as world, trio.open_nursery() as nursery:
        # Who asks is told of the snapshot that is due, however long the machine stands still.
        patient = MetaSettings(conditions_wait_seconds=30)
        follower = Follower(Settings(node="edge-1", meta=patient))
        world.manager.add_conditions(follower)
        await nursery.start(follower.run, world.manager.subscribe_changes())
        yield world, follower
        nursery.cancel_scope.cancel()


async def edgemesh(
    world: Served, *arguments: str | Path, stdin: bytes = b""
) -> CompletedProcess[str]:
    command = [*EDGEMESH, *map(str, arguments), "--socket", str(world.path)]
    done = await trio.run_process(
        command, stdin=stdin, capture_stdout=True, capture_stderr=True, check=False
    )
    return CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


async def conditions(world: Served, resource: str) -> dict[str, Any]:
    body = await world.query(resource)
    return {one["type"]: one for one in body["status"]["conditions"]}


async def test_a_query_shows_how_a_policy_stands_at_once(tmp_path: Path) -> None:
    async with followed(tmp_path) as (world, _):
        await world.update(WRONG)
        found = await conditions(world, "default/trafficpolicy/orders")
        assert found["Accepted"] == {
            "type": "Accepted",
            "status": "False",
            "reason": "TargetNotFound",
            "message": f"Service default/orders not found; {BURST}",
        }
        await world.update(service("orders"))
        found = await conditions(world, "default/trafficpolicy/orders")
        assert found["Accepted"]["status"] == "True"
        assert found["Accepted"]["message"] == BURST
        assert found["Programmed"]["message"] == "in force at default/orders:80"


async def test_a_list_shows_it_too_and_other_kinds_stay_as_they_are(tmp_path: Path) -> None:
    async with followed(tmp_path) as (world, _):
        await world.update(service("orders"), policy(), policy("other"))
        reasons = [
            one["status"]["conditions"][0]["reason"]
            for one in await world.query("all/trafficpolicy")
        ]
        assert reasons == ["Accepted", "Conflicted"]
        [found] = await world.query("all/service")
        assert "status" not in found


async def test_what_is_shown_is_not_stored(tmp_path: Path) -> None:
    async with followed(tmp_path) as (world, _):
        await world.update(service("orders"), policy())
        shown = await world.query("default/trafficpolicy/orders")
        assert await world.update(shown) == ["unchanged"]
        stored = await world.store.get(ObjectKey("TrafficPolicy", "default", "orders"))
        assert stored is not None
        assert "status" not in stored.body


async def test_whoever_waits_for_a_snapshot_that_does_not_come_is_answered(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    follower = Follower(Settings(node="edge-1", meta=MetaSettings(conditions_wait_seconds=5)))
    began = trio.current_time()
    await follower.reached(1)
    assert trio.current_time() - began == 5


async def test_apply_warns_of_what_it_passes_over(tmp_path: Path) -> None:
    path = tmp_path / "orders.yaml"
    path.write_text(yaml.safe_dump_all([service("orders"), WRONG]))
    async with followed(tmp_path) as (world, _):
        done = await edgemesh(world, "apply", "-f", path)
        assert done.returncode == 0
        assert done.stderr.splitlines() == [
            f"warning: {path} document 2: TrafficPolicy default/orders: {BURST}"
        ]
        assert done.stdout.splitlines() == [
            "service/orders created",
            "trafficpolicy.policy.edgemesh.io/orders created",
        ]
        done = await edgemesh(world, "get", "trafficpolicy", "orders", "-o", "yaml")
        shown = yaml.safe_load(done.stdout)
        assert shown["status"]["conditions"][0]["message"] == BURST
        assert shown["spec"] == WRONG["spec"]
        done = await edgemesh(world, "apply", "-f", "-", "--json", stdin=done.stdout.encode())
        assert [one["result"] for one in json.loads(done.stdout)] == ["unchanged"]


async def test_a_table_tells_whether_policies_are_accepted(tmp_path: Path) -> None:
    async with followed(tmp_path) as (world, _):
        nowhere = policy("nowhere", targetRef={"kind": "Service", "name": "x", "port": 80})
        await world.update(service("orders"), WRONG, nowhere)
        done = await edgemesh(world, "get", "trafficpolicies")
        rows = [line.split()[:3] for line in done.stdout.splitlines()]
        assert rows == [
            ["NAME", "SERVICE", "ACCEPTED"],
            ["nowhere", "x:80", "False"],
            ["orders", "orders", "Partly"],
        ]


async def test_a_watch_shows_how_a_policy_stands_when_it_changes(tmp_path: Path) -> None:
    seen: list[str] = []
    arrived = trio.Event()

    async def take(event: WatchEvent) -> None:
        await trio.lowlevel.checkpoint()
        if event.type in {WatchEventType.INSERT, WatchEventType.UPDATE}:
            seen.append(event.body["status"]["conditions"][0]["reason"])
        elif event.type is WatchEventType.SYNCED:
            arrived.set()
        elif event.type is WatchEventType.DELETE:
            seen.append("gone" if "status" not in event.body else "still there")
            nursery.cancel_scope.cancel()

    async with followed(tmp_path) as (world, _):
        await world.update(service("orders"), policy())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, world.path, world.settings, "all/trafficpolicy", take)
            await arrived.wait()
            await world.update(WRONG)
            await world.delete("default/trafficpolicy/orders")
    assert seen[0] == "Accepted"
    assert seen[-1] == "gone"
    # The change and the deletion may come as one.
    assert seen[1:-1] in (["PartiallyInvalid"], [])
