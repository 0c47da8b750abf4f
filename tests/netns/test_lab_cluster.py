"""Labs come up, do not meet, and go without leaving anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from lab_homes import curl, manifest_of, pids_in, pods_of, unique_home, wait_for

from edgemesh.kernel.processes import start_time
from edgemesh.lab import cluster, rollout, topology
from edgemesh.lab.network import ETC_NETNS, RUN_NETNS
from edgemesh.lab.state import Home, load, locked
from edgemesh.model.errors import OperatorError

pytestmark = pytest.mark.root

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: serve_hostname, args: [ARGUMENT]}
"""
URL = "http://10.244.1.2:9376"
# For a lab to come up on a busy machine.
START_SECONDS = 60.0


@pytest.fixture
def lab() -> Iterator[Home]:
    with unique_home() as place:
        yield place


@pytest.fixture
def other_lab() -> Iterator[Home]:
    with unique_home() as place:
        yield place


def web(replicas: int, argument: str = "--http=true") -> str:
    return WEB.replace("REPLICAS", str(replicas)).replace("ARGUMENT", argument)


def traces_of(lab: str) -> list[str]:
    """Everything on this machine that bears a lab's name."""
    folders = (RUN_NETNS, ETC_NETNS, Path("/run/edgemesh-lab"))
    return [str(path) for folder in folders for path in folder.glob(f"*{lab}*")]


async def test_pods_reach_each_other_across_nodes_in_both_families(lab: Home) -> None:
    await cluster.up(lab, 2, with_agents=False)
    await rollout.apply(lab, manifest_of(web(3)))
    pods = load(lab).pods
    assert {pod.node for pod in pods} == {"edge-1", "edge-2", "cloud"}
    for caller in pods:
        for pod in pods:
            four, six = pod.addresses
            assert curl(caller.network_namespace, f"http://{four}:9376") == pod.key.name
            assert curl(caller.network_namespace, f"http://[{six}]:9376") == pod.key.name


async def test_nodes_reach_pods_and_pods_reach_nodes(lab: Home) -> None:
    state = await cluster.up(lab, 2, with_agents=False)
    await rollout.apply(lab, manifest_of(web(2)))
    first, second = load(lab).pods
    for node in state.nodes:
        for pod in (first, second):
            four, six = pod.addresses
            assert curl(node.namespace, f"http://{four}:9376") == pod.key.name
            assert curl(node.namespace, f"http://[{six}]:9376") == pod.key.name


async def test_two_labs_with_the_same_addresses_do_not_meet(lab: Home, other_lab: Home) -> None:
    for place in (lab, other_lab):
        await cluster.up(place, 1, with_agents=False)
        await rollout.apply(place, manifest_of(web(1)))
    (one,), (two,) = load(lab).pods, load(other_lab).pods
    assert one.addresses == two.addresses
    assert curl(one.network_namespace, URL) == one.key.name
    assert curl(two.network_namespace, URL) == two.key.name

    await cluster.down(lab)
    assert curl(two.network_namespace, URL) == two.key.name
    assert traces_of(lab.lab) == []


async def test_down_leaves_no_namespace_no_process_and_no_file(lab: Home) -> None:
    await cluster.up(lab, 1)
    await rollout.apply(lab, manifest_of(web(2)))
    state = load(lab)
    processes = [pod.process for pod in state.pods] + list(state.agents.values())
    assert all(process.alive for process in processes)

    assert await cluster.down(lab)
    assert not any(process.alive for process in processes)
    assert traces_of(lab.lab) == []
    assert not await cluster.down(lab)


async def test_down_ends_what_was_executed_in_the_lab_besides(lab: Home) -> None:
    state = await cluster.up(lab, 1, with_agents=False)
    argv = ["nsenter", f"--net={RUN_NETNS / state.nodes[0].namespace}", "sleep", "1000"]
    stranger = await trio.lowlevel.open_process(argv)
    wait_for(lambda: stranger.pid in pids_in(state.nodes[0].namespace), "the process is there")
    await cluster.down(lab)
    assert await stranger.wait() == -signal.SIGTERM


@pytest.mark.timeout(300)
def test_down_removes_a_lab_whose_up_was_killed_at_any_moment(lab: Home) -> None:
    def agent_runs() -> bool:
        return any(pids_in(name) for name in topology.present(lab.lab))

    moments: dict[str, Callable[[], bool]] = {
        "the first namespace": lambda: bool(topology.present(lab.lab)),
        "some namespaces": lambda: len(topology.present(lab.lab)) > 2,
        "an agent": agent_runs,
        "an agent's socket": lambda: bool(list(lab.directory.glob("*/run/meta.sock"))),
    }
    for name, reached in moments.items():
        command = [sys.executable, "-m", "edgemesh.cli.main", "lab", "up", "--name", lab.lab]
        with subprocess.Popen(command, start_new_session=True) as process:
            wait_for(reached, name, START_SECONDS)
            os.killpg(process.pid, signal.SIGKILL)
        # Whom it had called holds the lab's lock for as long as it takes to die.
        wait_for(partial(group_is_over, process.pid), f"all are dead at {name}")
        left = [pid for namespace in topology.present(lab.lab) for pid in pids_in(namespace)]
        trio.run(cluster.down, lab)
        assert traces_of(lab.lab) == [], name
        wait_for(partial(are_over, left), f"all ended after {name}")


def group_is_over(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def are_over(pids: list[int]) -> bool:
    return not any(map(start_time, pids))


async def test_scaling_changes_only_the_number_of_pods(lab: Home) -> None:
    await cluster.up(lab, 2, with_agents=False)
    await rollout.apply(lab, manifest_of(web(2)))
    before = set(names(lab))
    await rollout.apply(lab, manifest_of(web(4)))
    assert before < set(names(lab))
    assert len(names(lab)) == 4
    await rollout.apply(lab, manifest_of(web(1)))
    assert len(names(lab)) == 1
    assert len([name for name in topology.present(lab.lab) if ".web-" in name]) == 1
    await rollout.apply(lab, manifest_of(web(0)))
    assert names(lab) == []


async def test_a_changed_template_replaces_pods_and_an_unchanged_one_does_not(lab: Home) -> None:
    await cluster.up(lab, 2, with_agents=False)
    await rollout.apply(lab, manifest_of(web(2)))
    first = names(lab)
    await rollout.apply(lab, manifest_of(web(2)))
    assert names(lab) == first
    await rollout.apply(lab, manifest_of(web(2, "--udp=true")))
    assert len(names(lab)) == 2
    assert not set(first) & set(names(lab))


async def test_a_pod_whose_app_was_killed_is_replaced_by_the_next_apply(lab: Home) -> None:
    await cluster.up(lab, 1, with_agents=False)
    await rollout.apply(lab, manifest_of(web(1)))
    (victim,) = load(lab).pods
    os.kill(victim.process.pid, signal.SIGKILL)
    wait_for(lambda: not victim.process.alive, "it has ended")
    await rollout.apply(lab, manifest_of(web(1)))
    (pod,) = load(lab).pods
    assert pod.key != victim.key
    assert curl(pod.network_namespace, f"http://{pod.addresses[0]}:9376") == pod.key.name


async def test_what_a_killed_apply_left_is_cleared_by_the_next(lab: Home) -> None:
    state = await cluster.up(lab, 1, with_agents=False)
    namespace = f"edgemesh.{lab.lab}.web-lost.1-2"
    await trio.to_thread.run_sync(topology.add_pod, state.nodes[0], 2, namespace, "default")
    await rollout.apply(lab, manifest_of(web(1)))
    assert namespace not in topology.present(lab.lab)
    (pod,) = load(lab).pods
    assert curl(pod.network_namespace, URL) == pod.key.name


async def test_an_app_that_ends_is_told_with_its_last_words(lab: Home) -> None:
    await cluster.up(lab, 1, with_agents=False)
    with pytest.raises(OperatorError, match=r"did not get ready: .*unrecognized arguments: --no"):
        await rollout.apply(lab, manifest_of(web(1, "--no")))
    assert not [name for name in topology.present(lab.lab) if ".web-" in name]


async def test_a_pod_that_no_node_may_run_is_refused_and_nothing_is_changed(lab: Home) -> None:
    await cluster.up(lab, 1, with_agents=False)
    wanted = (
        web(1) + "---" + web(1).replace("spec:\n      c", "spec:\n      nodeName: moon\n      c")
    )
    wanted = wanted.replace("name: web}", "name: lost}", 2).replace("name: lost}", "name: web}", 1)
    with pytest.raises(OperatorError, match=r"Deployment default/lost: it may run on no node"):
        await rollout.apply(lab, manifest_of(wanted))
    assert names(lab) == []


async def test_a_lab_that_is_up_is_not_brought_up_again(lab: Home) -> None:
    await cluster.up(lab, 1, with_agents=False)
    with pytest.raises(OperatorError, match="is up already"):
        await cluster.up(lab, 1, with_agents=False)
    assert load(lab).nodes


async def test_two_commands_do_not_work_on_one_lab_at_a_time(lab: Home) -> None:
    await cluster.up(lab, 1, with_agents=False)
    with locked(lab):
        for command in (partial(rollout.apply, lab, []), partial(cluster.down, lab)):
            with pytest.raises(OperatorError, match="another command works on lab"):
                await command()


async def test_delete_removes_the_pods_of_what_it_names(lab: Home) -> None:
    await cluster.up(lab, 1, with_agents=False)
    await rollout.apply(lab, manifest_of(web(1)))
    pods = pods_of(load(lab), "web")
    await rollout.delete(lab, [pods[0].owner])
    assert names(lab) == []
    assert not pods[0].process.alive


def names(lab: Home) -> list[str]:
    return [pod.key.name for pod in load(lab).pods]


async def test_an_up_that_fails_or_is_cancelled_leaves_nothing(lab: Home) -> None:
    with pytest.raises(OperatorError, match=r"the agent of .* ended: .*unknown key moon"):
        await cluster.up(lab, 1, settings={"moon": {"phase": "full"}})
    assert traces_of(lab.lab) == []
    with trio.CancelScope() as scope:
        scope.cancel()
        await cluster.up(lab, 1)
    assert traces_of(lab.lab) == []
