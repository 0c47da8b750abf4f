"""Objects as rows of text, with the columns that ``kubectl`` users look for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

Body = Mapping[str, Any]

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400
_SHOWN_ENDPOINTS = 3
_GAP = 3


class Column(NamedTuple):
    """One column: its heading, its text for an object, whether only ``-o wide`` shows it."""

    heading: str
    text: Callable[[Body], str]
    wide: bool = False


def columns_for(
    kind: str, *, wide: bool, namespaced: bool, prefix: str = "", more: Sequence[Column] = ()
) -> list[Column]:
    """The columns of a table of one kind.

    Args:
        kind: its name, "Service".
        wide: with those that few ask for.
        namespaced: with the namespace, for a table across all of them.
        prefix: put before each name, "service/" where several kinds are shown.
        more: columns at the end.
    """
    columns = [
        *([Column("NAMESPACE", lambda body: body["metadata"].get("namespace", ""))] * namespaced),
        Column("NAME", lambda body: prefix + str(body["metadata"]["name"])),
        *_COLUMNS.get(kind, ()),
        Column("AGE", _age),
        *([_SELECTOR] if kind == "Service" else []),
        Column("LABELS", _labels, wide=True),
        *more,
    ]
    return [column for column in columns if wide or not column.wide]


class Table:
    """Rows under headings; later rows keep to the widths of the first ones."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._widths = [len(column.heading) for column in columns]

    def format(self, bodies: Sequence[Body], *, headings: bool) -> str:
        """Rows as text, with or without the headings above them."""
        rows = [[column.text(body) for column in self._columns] for body in bodies]
        for row in rows:
            self._widths = [max(pair) for pair in zip(self._widths, map(len, row), strict=True)]
        if headings:
            rows.insert(0, [column.heading for column in self._columns])
        return "\n".join(self._line(row) for row in rows)

    def _line(self, row: Sequence[str]) -> str:
        cells = zip(row, self._widths, strict=True)
        return "".join(cell.ljust(width + _GAP) for cell, width in cells).rstrip()


def format_age(seconds: float) -> str:
    """A duration as ``kubectl`` writes it (apimachinery, ``duration.HumanDuration``)."""
    whole = max(0, int(seconds))
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    for limit, unit, sign, below, below_sign, precise in (
        (3 * _HOUR, _MINUTE, "m", 1, "s", 10 * _MINUTE),
        (2 * _DAY, _HOUR, "h", _MINUTE, "m", 8 * _HOUR),
        (2 * _YEAR, _DAY, "d", _HOUR, "h", 8 * _DAY),
    ):
        if whole < limit:
            rest = whole % unit // below
            return f"{whole // unit}{sign}" + (
                f"{rest}{below_sign}" if whole < precise and rest else ""
            )
    days = whole % _YEAR // _DAY
    return f"{whole // _YEAR}y" + (f"{days}d" if whole < 8 * _YEAR and days else "")


def _age(body: Body) -> str:
    created = body["metadata"].get("creationTimestamp")
    if not created:
        return "<unknown>"
    return format_age((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds())


def _labels(body: Body) -> str:
    return _pairs(body["metadata"].get("labels"))


def _pairs(mapping: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in (mapping or {}).items()) or "<none>"


def _joined(texts: Sequence[str], shown: int | None = None) -> str:
    """Texts with commas between them, the first few of many."""
    if shown is None or len(texts) <= shown:
        return ",".join(texts) or "<none>"
    return f"{','.join(texts[:shown])} + {len(texts) - shown} more..."


def _spec(body: Body) -> Body:
    return body.get("spec") or {}


def _status(body: Body) -> Body:
    return body.get("status") or {}


def _service_external(body: Body) -> str:
    spec = _spec(body)
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName"))
    ingress = (_status(body).get("loadBalancer") or {}).get("ingress") or ()
    balanced = [one.get("ip") or one.get("hostname") or "" for one in ingress]
    return _joined([*(spec.get("externalIPs") or ()), *filter(None, balanced)])


def _service_ports(body: Body) -> str:
    return _joined([_service_port(port) for port in _spec(body).get("ports") or ()])


def _service_port(port: Body) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node_port}/{port.get('protocol') or 'TCP'}"


def _pod_ready(body: Body) -> str:
    containers = len(_spec(body).get("containers") or ())
    statuses = _status(body).get("containerStatuses")
    if statuses is not None:
        return f"{sum(bool(one.get('ready')) for one in statuses)}/{containers}"
    return f"{containers if _has_condition(body, 'Ready') else 0}/{containers}"


def _pod_status(body: Body) -> str:
    if body["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = _status(body)
    return str(status.get("reason") or status.get("phase") or "Unknown")


def _node_status(body: Body) -> str:
    return "Ready" if _has_condition(body, "Ready") else "NotReady"


def _has_condition(body: Body, name: str) -> bool:
    conditions = _status(body).get("conditions") or ()
    return any(one.get("type") == name and one.get("status") == "True" for one in conditions)


def _slice_ports(body: Body) -> str:
    return _joined([str(port["port"]) for port in body.get("ports") or () if port.get("port")])


def _slice_endpoints(body: Body) -> str:
    addresses = [
        address for one in body.get("endpoints") or () for address in one.get("addresses") or ()
    ]
    return _joined(addresses, _SHOWN_ENDPOINTS)


def _endpoints(body: Body) -> str:
    texts = [
        _with_port(address["ip"], port["port"])
        for subset in body.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset.get("ports") or ()
    ]
    return _joined(texts, _SHOWN_ENDPOINTS)


def _with_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _accepted(body: Body) -> str:
    """Whether a policy object counts; ``Partly`` when some of its fields are passed over."""
    for one in _status(body).get("conditions") or ():
        if one.get("type") == "Accepted":
            return "Partly" if one.get("reason") == "PartiallyInvalid" else str(one.get("status"))
    return "Unknown"


def _policy_target(body: Body) -> str:
    target = _spec(body).get("targetRef") or {}
    port = target.get("port") or target.get("sectionName")
    return f"{target.get('name')}:{port}" if port else str(target.get("name"))


def _parents(body: Body) -> str:
    return _joined([str(one.get("name")) for one in _spec(body).get("parentRefs") or ()])


_ACCEPTED = Column("ACCEPTED", _accepted)
_PARENTS = Column("PARENTS", _parents)
_HOSTNAMES = Column("HOSTNAMES", lambda body: _joined(_spec(body).get("hostnames") or ()))
_SELECTOR = Column("SELECTOR", lambda body: _pairs(_spec(body).get("selector")), wide=True)
_COLUMNS: dict[str, tuple[Column, ...]] = {
    "Service": (
        Column("TYPE", lambda body: _spec(body).get("type") or "ClusterIP"),
        Column("CLUSTER-IP", lambda body: _spec(body).get("clusterIP") or "<none>"),
        Column("EXTERNAL-IP", _service_external),
        Column("PORT(S)", _service_ports),
    ),
    "Pod": (
        Column("READY", _pod_ready),
        Column("STATUS", _pod_status),
        Column("IP", lambda body: _status(body).get("podIP") or "<none>"),
        Column("NODE", lambda body: _spec(body).get("nodeName") or "<none>"),
    ),
    "Node": (Column("STATUS", _node_status),),
    "EndpointSlice": (
        Column("ADDRESSTYPE", lambda body: str(body.get("addressType"))),
        Column("PORTS", _slice_ports),
        Column("ENDPOINTS", _slice_endpoints),
    ),
    "Endpoints": (Column("ENDPOINTS", _endpoints),),
    "TrafficPolicy": (Column("SERVICE", _policy_target), _ACCEPTED),
    "DestinationRule": (Column("HOST", lambda body: str(_spec(body).get("host"))), _ACCEPTED),
    "VirtualService": (
        Column("HOSTS", lambda body: _joined(_spec(body).get("hosts") or ())),
        _ACCEPTED,
    ),
    "HTTPRoute": (_PARENTS, _HOSTNAMES, _ACCEPTED),
    "GRPCRoute": (_PARENTS, _HOSTNAMES, _ACCEPTED),
    "TLSRoute": (_PARENTS, _HOSTNAMES, _ACCEPTED),
    "TCPRoute": (_PARENTS, _ACCEPTED),
}
