"""Calls that were refused, by Service and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from edgemesh.model.observe_settings import MetricsSettings
from edgemesh.model.services import ServicePort, Snapshot
from edgemesh.observe.metrics.exposition import Family, counter, labels
from edgemesh.observe.metrics.meters import OTHER

_LOOKED_AFTER_AT_ONCE = 100


class RefusalKey(NamedTuple):
    """The Service port that was called, "" and 0 for none, and why it did not answer."""

    namespace: str
    service: str
    port: int
    reason: str


class Refusals:
    """Counts refusals, whatever was refused: connections, datagrams or requests.

    Attributes:
        by_reason: all of them, also those of Services that are gone.
    """

    def __init__(self, settings: MetricsSettings) -> None:
        """Count nothing yet."""
        self._most = settings.max_meters
        self._counts: Counter[RefusalKey] = Counter()
        self.by_reason: Counter[str] = Counter()

    def count(self, port: ServicePort | None, reason: str, times: int = 1) -> None:
        """Count one, or several at once.

        Args:
            port: that was called, None when there is none.
            reason: a Refusal, or any other word of a small set.
            times: how many.
        """
        self.by_reason[reason] += times
        if port is None:
            key = RefusalKey("", "", 0, reason)
        else:
            key = RefusalKey(port.namespace, port.service, port.port, reason)
        if key not in self._counts and len(self._counts) >= self._most:
            key = RefusalKey("", OTHER, 0, reason)
        self._counts[key] += times

    def family(self) -> Family:
        """As Prometheus gets them."""
        return counter(
            "edgemesh_refusals_total",
            "Connections, datagrams and requests that were refused, by Service port and reason.",
            self._values(),
        )

    def sweep(self, snapshot: Snapshot) -> Iterator[None]:
        """Drop the counts of Services that are not in the snapshot any more, a step at a time."""
        services = snapshot.services
        for number, key in enumerate(list(self._counts), 1):
            if key.namespace and (key.namespace, key.service) not in services:
                del self._counts[key]
            if number % _LOOKED_AFTER_AT_ONCE == 0:
                yield

    def _values(self) -> Iterator[tuple[str, int]]:
        for key, count in list(self._counts.items()):
            yield labels(**key._asdict()), count
