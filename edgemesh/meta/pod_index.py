"""Which Pod an address belongs to."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple

from edgemesh.meta.claims import Claims
from edgemesh.model.objects import ObjectKey
from edgemesh.model.services import PodIdentity
from edgemesh.wire.addresses import canonical_address
from edgemesh.wire.kubernetes.pods import Pod


class _Record(NamedTuple):
    addresses: tuple[str, ...]
    rank: tuple[bool, str, PodIdentity]


class PodIndex:
    """Pods by address.

    An address is given to a new Pod while the old one is still being deleted: the Pod that is
    not ending goes first, then the younger one. Pods with the node's own addresses are not
    here: nobody could tell them apart.
    """

    def __init__(self) -> None:
        self._records: dict[PodIdentity, _Record] = {}
        self._claims: Claims[str, PodIdentity] = Claims(
            owner=lambda identity: identity,
            rank=lambda identity: self._records[identity].rank,
        )

    def put(self, key: ObjectKey, view: Pod | None) -> None:
        """Take a Pod, or its absence."""
        identity = PodIdentity(sys.intern(key.namespace), key.name)
        before = self._records.get(identity)
        if before is not None:
            for address in before.addresses:
                self._claims.release(address, identity)
            del self._records[identity]
        addresses = _addresses(view) if view is not None else ()
        if view is not None and addresses:
            metadata = view.metadata
            rank = (not metadata.deletion_timestamp, metadata.creation_timestamp or "", identity)
            self._records[identity] = _Record(addresses, rank)
            for address in addresses:
                self._claims.claim(address, identity)

    def frozen(self) -> Mapping[str, PodIdentity]:
        """Identities by address."""
        return self._claims.frozen()


def _addresses(pod: Pod) -> tuple[str, ...]:
    if pod.spec.host_network or pod.status.finished:
        return ()
    texts = pod.status.addresses
    return tuple(dict.fromkeys(sys.intern(canonical_address(text)) for text in texts))
