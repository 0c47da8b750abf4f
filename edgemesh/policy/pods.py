"""What a Pod object says about a caller, and about the endpoint that it is."""

from __future__ import annotations

import re

from edgemesh.wire.kubernetes.pods import Pod
from edgemesh.wire.quoting import quote

WEIGHT_ANNOTATION = "edgemesh.io/weight"
_WEIGHT = re.compile(r"\A[0-9]{1,5}\Z")
_HASH_LABEL = "pod-template-hash"
_MAX_WEIGHT = 1000


def workload_of(pod: Pod) -> str:
    """The name of what made a Pod; that of the Deployment behind a ReplicaSet, its own if alone.

    A Deployment names its ReplicaSets after itself and the hash of the template, which it also
    writes on the Pods as a label (Kubernetes, deployment controller).
    """
    owners = [owner for owner in pod.metadata.owner_references if owner.controller]
    if not owners:
        return pod.metadata.name
    owner = owners[0]
    template = pod.metadata.labels.get(_HASH_LABEL)
    if owner.kind == "ReplicaSet" and template:
        return owner.name.removesuffix(f"-{template}")
    return owner.name


def weight_of(pod: Pod) -> tuple[int, str]:
    """An endpoint's share of calls, and the problem with its annotation if there is one.

    1 when nothing is said; 0 keeps calls away.
    """
    text = pod.metadata.annotations.get(WEIGHT_ANNOTATION)
    if text is None:
        return 1, ""
    if _WEIGHT.match(text) and int(text) <= _MAX_WEIGHT:
        return int(text), ""
    where = f"metadata.annotations[{quote(WEIGHT_ANNOTATION)}]"
    return 1, f"{where}: expected an integer from 0 to {_MAX_WEIGHT}, got {quote(text)}"
