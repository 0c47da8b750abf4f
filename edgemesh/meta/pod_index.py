"""What is known about Pods: by address for those who call, by name for those who are called."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple

from edgemesh.meta.claims import Claims
from edgemesh.model.objects import ObjectKey
from edgemesh.model.services import NO_LABELS, PodIdentity
from edgemesh.policy.pods import workload_of
from edgemesh.wire.addresses import canonical_address
from edgemesh.wire.kubernetes.pods import Pod

_SPARE_LABEL_SETS = 100


class _Record(NamedTuple):
    identity: PodIdentity
    addresses: tuple[str, ...]
    rank: tuple[bool, str, str]


class PodIndex:
    """Pods by address, and by ``namespace/name``.

    An address is given to a new Pod while the old one is still being deleted: the Pod that is
    not ending goes first, then the younger one. Pods with the node's own addresses are not
    found by them: nobody could tell them apart.
    """

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._claims: Claims[str, PodIdentity] = Claims(
            owner=pod_name, rank=lambda identity: self._records[pod_name(identity)].rank
        )
        # Pods of one workload mostly have the same labels: each set is kept once.
        self._label_sets: dict[frozenset[tuple[str, str]], Mapping[str, str]] = {}

    def put(self, key: ObjectKey, view: Pod | None) -> bool:
        """Take a Pod, or its absence.

        Returns:
            Whether its labels are others than before.
        """
        name = sys.intern(f"{key.namespace}/{key.name}")
        before = self.labels_of(name)
        old = self._records.get(name)
        if old is not None:
            for address in old.addresses:
                self._claims.release(address, name)
            del self._records[name]
        if view is not None:
            self._add(name, view)
        return self.labels_of(name) != before

    def labels_of(self, name: str) -> Mapping[str, str]:
        """The labels of a Pod, by ``namespace/name``; none when it is not known."""
        record = self._records.get(name)
        return NO_LABELS if record is None else record.identity.labels

    def frozen(self) -> Mapping[str, PodIdentity]:
        """Identities by address."""
        return self._claims.frozen()

    def _add(self, name: str, view: Pod) -> None:
        metadata = view.metadata
        identity = PodIdentity(
            sys.intern(metadata.namespace),
            metadata.name,
            sys.intern(workload_of(view)),
            self._shared(metadata.labels),
        )
        rank = (not metadata.deletion_timestamp, metadata.creation_timestamp or "", name)
        record = self._records[name] = _Record(identity, _addresses(view), rank)
        for address in record.addresses:
            self._claims.claim(address, identity)

    def _shared(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """The same labels, the same mapping; those of Pods that are gone are forgotten in time."""
        if len(self._label_sets) > 2 * len(self._records) + _SPARE_LABEL_SETS:
            self._label_sets.clear()
        return self._label_sets.setdefault(frozenset(labels.items()), labels)


def pod_name(identity: PodIdentity) -> str:
    """``default/web-1``, as endpoints name their Pod."""
    return f"{identity.namespace}/{identity.name}"


def _addresses(pod: Pod) -> tuple[str, ...]:
    if pod.spec.host_network or pod.status.finished:
        return ()
    texts = pod.status.addresses
    return tuple(dict.fromkeys(sys.intern(canonical_address(text)) for text in texts))
