"""Which meters there are: one for each endpoint and forwarding path, up to a number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import add
from typing import Final, NamedTuple, Protocol

from edgemesh.model.meters import Meter
from edgemesh.model.observe_settings import MetricsSettings
from edgemesh.model.services import Endpoint, PortKey, ServicePort, Snapshot
from edgemesh.observe.metrics.exposition import labels
from edgemesh.wire.host_port import joined

# What is beyond the limit is counted as this Service.
OTHER: Final = "other"

# So many endpoints are looked after in about a tenth of a slice (edgemesh.observe.slices).
_LOOKED_AFTER_AT_ONCE = 100


class Holder(Protocol):
    """Who keeps a meter at hand, so that a call needs no look-up: an endpoint's state.

    Attributes:
        endpoint: that is counted.
        meter: None when it has to be asked for.
        active: calls that are open, and will be counted when they are over.
    """

    endpoint: Endpoint
    meter: Meter | None
    active: int


class MeterKey(NamedTuple):
    """What tells meters apart."""

    port: PortKey
    address: str
    endpoint_port: int
    path: str


class Counted:
    """A meter and whose it is.

    Attributes:
        key: see there.
        labels_text: the same as Prometheus gets it.
        meter: the counts.
        holder: who has the meter at hand, None when nobody has.
        gone_since: monotonic seconds; None while the snapshot has the endpoint.
    """

    __slots__ = ("_seen", "gone_since", "holder", "key", "labels_text", "meter")

    def __init__(self, key: MeterKey, labels_text: str) -> None:
        """Begin to count."""
        self.key = key
        self.labels_text = labels_text
        self.meter = Meter()
        self.holder: Holder | None = None
        self.gone_since: float | None = None
        self._seen: ServicePort | None = None

    def look_after(self, snapshot: Snapshot, now: float) -> None:
        """See whether the endpoint is there still."""
        port = snapshot.ports.get(self.key.port)
        if port is not None and port is self._seen:
            return
        wanted = (self.key.address, self.key.endpoint_port)
        if port is not None and any((one.address, one.port) == wanted for one in port.endpoints):
            self._seen = port
            self.gone_since = None
            return
        self._seen = None
        if self.gone_since is None:
            self.gone_since = now

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be counted."""
        return self.gone_since is not None and (self.holder is None or not self.holder.active)

    def take_away(self) -> None:
        """Let the holder ask for a new meter, should it need one."""
        if self.holder is not None and self.holder.meter is self.meter:
            self.holder.meter = None


class Meters:
    """All meters of the data plane. For use on its thread only.

    Attributes:
        overflowed: how often a meter was asked for when there were too many.
    """

    def __init__(self, settings: MetricsSettings) -> None:
        """Count nothing yet."""
        self._settings = settings
        self._dropped = Meter()
        self._counted: dict[MeterKey, Counted] = {}
        self._gone: set[Counted] = set()
        self._shared: dict[str, Counted] = {}
        self.overflowed = 0

    def __len__(self) -> int:
        """How many there are, without those that are shared."""
        return len(self._counted)

    def meter(
        self, port: ServicePort, endpoint: Endpoint, path: str, holder: Holder | None = None
    ) -> Meter:
        """The meter of an endpoint.

        Args:
            port: the Service port that was called.
            endpoint: of it.
            path: the forwarding path.
            holder: is given the meter, to hold until it is taken away again; but none that is
                shared, so that it asks again when there may be room.
        """
        key = MeterKey(port.key, endpoint.address, endpoint.port, path)
        counted = self._counted.get(key)
        if counted is None:
            if len(self._counted) >= self._settings.max_meters:
                self.overflowed += 1
                return self._shared_meter(path)
            counted = self._counted[key] = Counted(key, endpoint_labels(port, endpoint, path=path))
        if holder is not None:
            holder.meter = counted.meter
            counted.holder = holder
        return counted.meter

    def held(self, port: ServicePort, holder: Holder, path: str) -> Meter:
        """The meter that a holder has, or is given now."""
        return holder.meter or self.meter(port, holder.endpoint, path, holder)

    def all(self) -> list[Counted]:
        """What is counted at the moment."""
        return [*self._counted.values(), *self._shared.values()]

    def add_responses(self, total: list[int]) -> Iterator[None]:
        """Add `Meter.responses` of all meters that ever were to ``total``, a step at a time."""
        _add(total, self._dropped.responses)
        for counted in self.all():
            _add(total, counted.meter.responses)
            yield

    def sweep(self, snapshot: Snapshot, now: float) -> Iterator[None]:
        """See what is gone, and drop what has been for long; a step at a time.

        Args:
            snapshot: what there is.
            now: monotonic seconds.
        """
        for number, counted in enumerate(list(self._counted.values()), 1):
            counted.look_after(snapshot, now)
            since = counted.gone_since
            if since is None:
                self._gone.discard(counted)
            elif now - since >= self._settings.keep_seconds:
                self._drop(counted)
            else:
                self._gone.add(counted)
            if number % _LOOKED_AFTER_AT_ONCE == 0:
                yield

    def over(self) -> list[Counted]:
        """Those that nothing more will be counted for, as the last sweep saw it."""
        return [counted for counted in self._gone if counted.is_over]

    def drop(self, over: Iterable[Counted]) -> None:
        """Drop what Prometheus was told about when it was over, unless it has come back."""
        for counted in over:
            if counted.is_over:
                self._drop(counted)

    def _drop(self, counted: Counted) -> None:
        if self._counted.get(counted.key) is counted:
            del self._counted[counted.key]
            self._gone.discard(counted)
            counted.take_away()
            _add(self._dropped.responses, counted.meter.responses)

    def _shared_meter(self, path: str) -> Meter:
        shared = self._shared.get(path)
        if shared is None:
            key = MeterKey(("", OTHER, "", 0), "", 0, path)
            text = labels(
                namespace="", service=OTHER, port="", transport="", endpoint=OTHER, path=path
            )
            shared = self._shared[path] = Counted(key, text)
        return shared.meter


def _add(total: list[int], more: list[int]) -> None:
    total[:] = map(add, total, more)


def endpoint_labels(port: ServicePort, endpoint: Endpoint, **more: str) -> str:
    """Which endpoint of which Service port a value is about.

    ``side="server"`` tells calls that came to the endpoint's own address from those that were
    balanced here.
    """
    if port.inbound:
        more["side"] = "server"
    return labels(
        namespace=port.namespace,
        service=port.service,
        port=port.port,
        transport=port.transport,
        endpoint=joined(endpoint.address, endpoint.port),
        **more,
    )
