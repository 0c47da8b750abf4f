"""What is known about Pods: by address for those who call, by name for those who are called."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from edgemesh.meta.claims import Claims
from edgemesh.model.objects import ObjectKey
from edgemesh.model.services import NO_LABELS, Callers, PodIdentity
from edgemesh.policy.callers import Choice, why_left_alone
from edgemesh.policy.pods import workload_of
from edgemesh.wire.addresses import canonical_address
from edgemesh.wire.kubernetes.pods import Pod

_SPARE_LABEL_SETS = 100


class _Record(NamedTuple):
    identity: PodIdentity
    addresses: tuple[str, ...]
    rank: tuple[bool, str, str]
    choice: Choice | None
    uid: str


class PodIndex:
    """Pods by address, and by ``namespace/name``.

    An address is given to a new Pod while the old one is still being deleted: the Pod that is
    not ending goes first, then the younger one. Pods with the node's own addresses are not
    found by them: nobody could tell them apart.

    Args:
        intercepts: whether calls of Pods are intercepted where nobody says anything.
    """

    def __init__(self, *, intercepts: bool = True) -> None:
        self._intercepts = intercepts
        self._records: dict[str, _Record] = {}
        self._claims: Claims[str, PodIdentity] = Claims(
            owner=pod_name, rank=lambda identity: self._records[pod_name(identity)].rank
        )
        # Pods of one workload mostly have the same labels: each set is kept once.
        self._label_sets: dict[frozenset[tuple[str, str]], Mapping[str, str]] = {}
        # What Namespaces say.
        self._choices: dict[str, Choice] = {}
        # Addresses whose Pods' calls are treated otherwise than those of others.
        self._listed: set[str] = set()
        self._callers: Callers | None = None

    def put(self, key: ObjectKey, view: Pod | None, choice: Choice | None = None) -> bool:
        """Take a Pod, or its absence.

        Args:
            key: of the Pod.
            view: None when it is gone.
            choice: what it says about its calls.

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
            self._add(name, view, choice)
        new = self._records.get(name)
        if old is not None and new is not None and old.uid != new.uid:
            # It may have the address of the one before, but not its network namespace.
            self._callers = None
        for address in (*_addresses_of(old), *_addresses_of(new)):
            self._list(address)
        return self.labels_of(name) != before

    def put_namespace(self, namespace: str, choice: Choice | None) -> None:
        """Take what a Namespace says about the calls of its Pods."""
        if self._choices.get(namespace) == choice:
            return
        if choice is None:
            del self._choices[namespace]
        else:
            self._choices[namespace] = choice
        for name, record in self._records.items():
            if record.identity.namespace == namespace:
                self._judge_anew(name, record)

    def labels_of(self, name: str) -> Mapping[str, str]:
        """The labels of a Pod, by ``namespace/name``; none when it is not known."""
        record = self._records.get(name)
        return NO_LABELS if record is None else record.identity.labels

    def frozen(self) -> Mapping[str, PodIdentity]:
        """Identities by address."""
        return self._claims.frozen()

    def callers(self) -> Callers:
        """Whose calls are intercepted; the same value as long as the Pods are the same."""
        if self._callers is None:
            self._callers = Callers(frozenset(self._listed), only_listed=not self._intercepts)
        return self._callers

    def _add(self, name: str, view: Pod, choice: Choice | None) -> None:
        metadata = view.metadata
        identity = PodIdentity(
            sys.intern(metadata.namespace),
            metadata.name,
            sys.intern(workload_of(view)),
            self._shared(metadata.labels),
            sys.intern(view.spec.node_name),
            self._why_left_alone(metadata.namespace, choice),
        )
        rank = (not metadata.deletion_timestamp, metadata.creation_timestamp or "", name)
        record = self._records[name] = _Record(
            identity, _addresses(view), rank, choice, metadata.uid
        )
        for address in record.addresses:
            self._claims.claim(address, identity)

    def _judge_anew(self, name: str, record: _Record) -> None:
        identity = record.identity
        why = self._why_left_alone(identity.namespace, record.choice)
        if why == identity.left_alone:
            return
        identity = replace(identity, left_alone=why)
        # The names stay as they are, so the records may be walked meanwhile.
        self._records[name] = record._replace(identity=identity)
        for address in record.addresses:
            self._claims.claim(address, identity)
            self._list(address)

    def _why_left_alone(self, namespace: str, choice: Choice | None) -> str:
        of_namespace = self._choices.get(namespace)
        why = why_left_alone(choice, namespace, of_namespace, by_default=self._intercepts)
        return sys.intern(why)

    def _list(self, address: str) -> None:
        """See to it that an address is listed, or is not, as its Pod wants it."""
        holder = self._claims.holder(address)
        is_listed = holder is not None and (not holder.left_alone) is not self._intercepts
        if is_listed is (address in self._listed):
            return
        self._callers = None
        (self._listed.add if is_listed else self._listed.discard)(address)

    def _shared(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """The same labels, the same mapping; those of Pods that are gone are forgotten in time."""
        if len(self._label_sets) > 2 * len(self._records) + _SPARE_LABEL_SETS:
            self._label_sets.clear()
        return self._label_sets.setdefault(frozenset(labels.items()), labels)


def pod_name(identity: PodIdentity) -> str:
    """``default/web-1``, as endpoints name their Pod."""
    return f"{identity.namespace}/{identity.name}"


def _addresses_of(record: _Record | None) -> tuple[str, ...]:
    return () if record is None else record.addresses


def _addresses(pod: Pod) -> tuple[str, ...]:
    if pod.spec.host_network or pod.status.finished:
        return ()
    texts = pod.status.addresses
    return tuple(dict.fromkeys(sys.intern(canonical_address(text)) for text in texts))
