"""EndpointSlices that follow from Services and Pods, where nobody else provides them.

Kubernetes' endpoint-slice controller does this in a cluster; here it happens in the transaction
of the change that makes it necessary, and only for the Services that the change touches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from edgemesh.meta.errors import Code, RefusedError
from edgemesh.model.objects import KubeObject, ObjectKey, Origin
from edgemesh.policy.endpoints import SERVICE_NAME_LABEL, derive_slices
from edgemesh.store.transaction import Transaction
from edgemesh.wire.kubernetes import FieldError


class _ServiceName(NamedTuple):
    namespace: str
    name: str


class Derivation:
    """Collects what a transaction touches, then brings the derived slices up to date.

    Args:
        transaction: of the write.
        for_synced: whether slices are derived for Services that came from the cloud, too.
    """

    def __init__(self, transaction: Transaction, *, for_synced: bool = True) -> None:
        self._transaction = transaction
        self._for_synced = for_synced
        # A dict for its order: the same input gives the same revisions.
        self._touched: dict[_ServiceName, None] = {}

    def note(self, before: KubeObject | None, after: KubeObject | None) -> None:
        """Take note of one object's change; None where it was not there, or is no more."""
        for one in (before, after):
            if one is not None:
                self._touched |= dict.fromkeys(self._services_of(one))

    def finish(self) -> None:
        """Write and delete derived slices as the touched Services now need them.

        Raises:
            RefusedError: naming a Service that cannot have any.
        """
        for refused in self.finish_where_possible():
            raise refused

    def finish_where_possible(self) -> Iterator[RefusedError]:
        """The same, but leave out Services that cannot have any, and tell of each."""
        for touched in self._touched:
            try:
                self._derive(touched)
            except RefusedError as refused:
                yield refused

    def _services_of(self, one: KubeObject) -> list[_ServiceName]:
        namespace = one.key.namespace
        match one.key.kind:
            case "Service" | "Endpoints":
                names = [one.key.name]
            case "EndpointSlice":
                names = [one.labels[SERVICE_NAME_LABEL]] if SERVICE_NAME_LABEL in one.labels else []
            case "Pod":
                names = self._transaction.services_selecting(namespace, one.labels)
            case _:
                names = []
        return [_ServiceName(namespace, name) for name in names]

    def _derive(self, touched: _ServiceName) -> None:
        slices = self._transaction.with_labels(
            "EndpointSlice", touched.namespace, {SERVICE_NAME_LABEL: touched.name}
        )
        surplus = {one.key: one for one in slices if one.origin is Origin.DERIVED}
        foreign = len(surplus) < len(slices)
        for body in () if foreign else self._wanted(touched):
            key = ObjectKey("EndpointSlice", touched.namespace, body["metadata"]["name"])
            existing = surplus.pop(key, None)
            # A slice of the same name that says nothing of the Service is somebody else's.
            if existing is not None or self._transaction.get(key) is None:
                self._transaction.put(key, body, Origin.DERIVED, existing)
        for one in surplus.values():
            self._transaction.delete(one)

    def _wanted(self, touched: _ServiceName) -> list[dict[str, Any]]:
        """The slices that a Service needs from us; none when others provide for it."""
        service = self._transaction.get(ObjectKey("Service", *touched))
        if service is None or (service.origin is Origin.SYNCED and not self._for_synced):
            return []
        selector = (service.body.get("spec") or {}).get("selector")
        if not selector or self._transaction.get(ObjectKey("Endpoints", *touched)):
            return []
        pods = self._transaction.with_labels("Pod", touched.namespace, selector)
        try:
            return derive_slices(service.body, [pod.body for pod in pods])
        except FieldError as error:
            # Checked when it was written, perhaps by a version that let more pass.
            raise RefusedError(
                Code.INVALID, f"endpoints of {service.key}: {error}", "apply what is wrong again"
            ) from error
