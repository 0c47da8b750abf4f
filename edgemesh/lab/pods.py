"""One pod: its namespace, its app, and the way out again. The kubelet of the lab."""

from __future__ import annotations

import os
import secrets
import sys

import trio

from edgemesh.lab import bpf, plan, processes, topology
from edgemesh.lab.containers import program_of
from edgemesh.lab.network import command_with_resolver
from edgemesh.lab.patience import ready_seconds
from edgemesh.lab.plan import Node
from edgemesh.lab.state import Home, Pod
from edgemesh.lab.workloads import Workload, pod_body, pod_name
from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import ObjectKey
from edgemesh.wire.kubernetes import decode_as
from edgemesh.wire.kubernetes import pods as views

_GRACE_SECONDS = 1.0


async def start_pod(home: Home, workload: Workload, node: Node, slot: int) -> Pod:
    """Make a pod of a workload and wait until its app has bound all of its ports.

    Raises:
        OperatorError: the container cannot be run, or ended, or was not ready in time.
    """
    key = ObjectKey("Pod", workload.owner.namespace, pod_name(workload, secrets.choice))
    body = pod_body(workload, key.name, node, node.pod_addresses(slot))
    program = program_of(decode_as(views.Pod, body), body, os.environ["PATH"])
    namespace = plan.pod_namespace(node, slot, key.name)
    log = home.pod_log(key)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    await trio.to_thread.run_sync(topology.add_pod, node, slot, namespace, key.namespace)
    reader, writer = os.pipe()
    try:
        inside = command_with_resolver(namespace, [sys.executable, *program.arguments])
        argv = bpf.command_on(node, inside)
        try:
            process = processes.start(argv, log, program.environment, ready=writer)
        finally:
            os.close(writer)
        pod = Pod(
            workload.owner,
            workload.revision,
            key,
            node.name,
            slot,
            namespace,
            program.app,
            dict(program.environment),
            process,
            body,
        )
        if not await _told_ready(reader):
            await stop_pod(pod, node)
            raise OperatorError(f"{key} did not get ready: {processes.last_line(log)}")
    finally:
        os.close(reader)
    return pod


async def stop_pod(pod: Pod, node: Node) -> None:
    """End everything in a pod and remove its namespace; the slot is free at once."""
    await processes.end_all_in([pod.network_namespace], _GRACE_SECONDS)
    await trio.to_thread.run_sync(topology.remove_pod, node, pod.slot, pod.network_namespace)


async def _told_ready(reader: int) -> bool:
    """Wait for the word on the pipe; its end means that the app did."""
    with trio.move_on_after(ready_seconds()):
        await trio.lowlevel.wait_readable(reader)
        return os.read(reader, 64) != b""
    return False
