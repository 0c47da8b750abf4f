"""What the agent tells about Pods that call: ``edgemesh get pods -o wide``."""

from __future__ import annotations

from collections.abc import Iterator

from edgemesh.model.services import Snapshot
from edgemesh.model.status import CallersQuestion, CallerStatus


def callers(snapshot: Snapshot, question: CallersQuestion) -> Iterator[list[CallerStatus]]:
    """Whether calls of Pods are intercepted, Pod by Pod.

    Args:
        snapshot: the one in force.
        question: which Pods are asked for.
    """
    told = set()
    for pod in snapshot.pods.values():
        # A Pod may have addresses of both families.
        if question.namespace in {"", pod.namespace} and pod not in told:
            told.add(pod)
            yield [CallerStatus(pod.namespace, pod.name, pod.left_alone)]
        else:
            yield []
