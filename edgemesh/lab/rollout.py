"""Manifests become pods: apply and delete. Scheduler, controllers and API server of the lab."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from edgemesh.lab import objects as store
from edgemesh.lab import plan, processes, topology
from edgemesh.lab.parallel import in_parallel
from edgemesh.lab.plan import Node
from edgemesh.lab.pods import start_pod, stop_pod
from edgemesh.lab.schedule import Candidate, Placed, choose_node
from edgemesh.lab.state import Home, Pod, State, load, locked, save, with_pod, without_pod
from edgemesh.lab.workloads import Difference, Workload, difference, workload_of
from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import ObjectKey
from edgemesh.wire.manifest import ManifestObject

_GRACE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod that does not run yet is to be."""

    workload: Workload
    node: Node
    slot: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What an apply is going to do, decided before anything is changed."""

    leaving: tuple[Pod, ...]
    coming: tuple[Place, ...]


async def apply(home: Home, objects: Sequence[ManifestObject]) -> list[str]:
    """Make a lab run what manifests ask for, changing only what differs.

    Returns:
        What was done, one line for each object and pod.

    Raises:
        OperatorError: nothing was changed when an object cannot be run or scheduled; what was
            done stays done when an app or an agent fails.
    """
    with locked(home):
        state = await _without_dead(home, load(home))
        latest = {one.key: one for one in objects}
        wanted = [workload_of(one.key, one.body) for one in latest.values()]
        plan_ = plan_rollout(state, [workload for workload in wanted if workload is not None])
        others = [one for one in latest.values() if one.key.kind != "Pod"]
        await store.write(home, state, [one.body for one in others])
        state = await _stop(home, state, plan_.leaving)
        before = len(state.pods)
        state = await _start(home, state, plan_.coming)
        await store.wait_until_current(home, state)
        return [
            *(f"{one.key} applied" for one in others),
            *(f"{pod.key} stopped" for pod in plan_.leaving),
            *(f"{pod.key} started on {pod.node}" for pod in state.pods[before:]),
        ]


async def delete(home: Home, keys: Iterable[ObjectKey]) -> list[str]:
    """Remove objects and the pods that belong to them; what is not there counts as removed.

    Returns:
        What was done, one line for each object and pod.

    Raises:
        OperatorError: there is no such lab, or an agent is not there.
    """
    with locked(home):
        state = load(home)
        removed = list(keys)
        others = [key for key in removed if key.kind != "Pod"]
        leaving = [pod for pod in state.pods if pod.owner in removed]
        await store.delete(home, state, others)
        state = await _stop(home, state, leaving)
        await store.wait_until_current(home, state)
        return [
            *(f"{key} deleted" for key in others),
            *(f"{pod.key} stopped" for pod in leaving),
        ]


def plan_rollout(state: State, workloads: Sequence[Workload]) -> Plan:
    """Compare workloads with a lab's pods, and choose node and slot for every new one.

    Raises:
        OperatorError: there is no node that a pod may run on, or no room on it.
    """
    running = [pod.running for pod in state.pods]
    differences: list[tuple[Workload, Difference]] = [
        (workload, difference(workload, running)) for workload in workloads
    ]
    stopped = {pod for _, each in differences for pod in each.stop}
    nodes = [Candidate(node.name, node.labels) for node in state.nodes]
    placed = [Placed(pod.node, str(pod.owner)) for pod in state.pods if pod.running not in stopped]
    # Pods that leave give their slot up only after this.
    taken = {(pod.node, pod.slot) for pod in state.pods}
    coming: list[Place] = []
    for workload, each in differences:
        for _ in range(each.start):
            owner = str(workload.owner)
            name = choose_node(workload.spec, owner, nodes, placed)
            if name is None:
                raise OperatorError(f"{owner}: it may run on no node of lab {state.name}")
            node = state.node(name)
            slot = plan.free_slot(node, frozenset(s for n, s in taken if n == name))
            taken.add((name, slot))
            placed.append(Placed(name, owner))
            coming.append(Place(workload, node, slot))
    return Plan(tuple(pod for pod in state.pods if pod.running in stopped), tuple(coming))


async def _without_dead(home: Home, state: State) -> State:
    """Clear away pods whose app has ended, and what a killed command left half-made."""
    known = {pod.network_namespace for pod in state.pods}
    by_number = {node.number: node for node in state.nodes}
    for namespace in topology.present(state.name):
        place = plan.pod_place(state.name, namespace)
        if place is not None and namespace not in known:
            number, slot = place
            await processes.end_all_in([namespace], _GRACE_SECONDS)
            await trio.to_thread.run_sync(topology.remove_pod, by_number[number], slot, namespace)
    return await _stop(home, state, [pod for pod in state.pods if not pod.process.alive])


async def _stop(home: Home, state: State, leaving: Sequence[Pod]) -> State:
    """Stop pods: first nobody sends to them any more, then they go."""
    await store.delete(home, state, [pod.key for pod in leaving])

    async def stop(pod: Pod) -> None:
        nonlocal state
        await stop_pod(pod, state.node(pod.node))
        state = without_pod(state, pod)
        save(home, state)

    await in_parallel(partial(stop, pod) for pod in leaving)
    return state


async def _start(home: Home, state: State, places: Iterable[Place]) -> State:
    """Start pods; each is told of as soon as it is ready."""

    async def start(place: Place) -> None:
        nonlocal state
        pod = await start_pod(home, place.workload, place.node, place.slot)
        state = with_pod(state, pod)
        save(home, state)
        await store.write(home, state, [pod.body])

    await in_parallel(partial(start, place) for place in places)
    return state
