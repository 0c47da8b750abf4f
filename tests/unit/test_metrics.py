"""What is counted of endpoints that come and go, and how Prometheus gets to know it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgemesh.model.meters import LATENCY_BOUNDS, Meter
from edgemesh.model.observe_settings import MetricsSettings
from edgemesh.model.services import Endpoint, Service, ServicePort, Snapshot, Transport
from edgemesh.observe.metrics.failures import count_failure
from edgemesh.observe.metrics.metrics import Metrics
from edgemesh.policy.traffic.calls import Outcome

Samples = dict[str, dict[frozenset[tuple[str, str]], float]]

ENDPOINTS = (Endpoint("10.1.0.1", 8080), Endpoint("fd00::2", 8080))
PORT = ServicePort("default", "web", "http", Transport.TCP, 80, endpoints=ENDPOINTS)
LABELS = {
    "namespace": "default",
    "service": "web",
    "port": "80",
    "transport": "TCP",
    "endpoint": "10.1.0.1:8080",
    "path": "http",
}


class State:
    """An endpoint's state as far as metrics know it."""

    def __init__(self) -> None:
        self.endpoint = ENDPOINTS[0]
        self.meter: Meter | None = None
        self.active = 0


def snapshot_of(*ports: ServicePort) -> Snapshot:
    return Snapshot(
        ports={port.key: port for port in ports},
        services={
            (port.namespace, port.service): Service(port.namespace, port.service, ports=(port,))
            for port in ports
        },
    )


def new_metrics(**options: float) -> Metrics:
    return Metrics(MetricsSettings(**options))  # type: ignore[arg-type]


def scrape(metrics: Metrics, snapshot: Snapshot, now: float = 0.0) -> Samples:
    """Everything that Prometheus gets, by name and labels."""
    samples: Samples = {}
    text = "".join(metrics.text(snapshot, now, []))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = frozenset(sample.labels.items())
            assert key not in samples.setdefault(sample.name, {}), "a sample is there twice"
            samples[sample.name][key] = sample.value
    return samples


def labelled(**more: str) -> frozenset[tuple[str, str]]:
    return frozenset({**LABELS, **more}.items())


def endpoints_in(samples: Samples, name: str) -> set[str]:
    return {dict(key)["endpoint"] for key in samples.get(name, {})}


def sweep(metrics: Metrics, snapshot: Snapshot, now: float) -> None:
    for _ in metrics.meters.sweep(snapshot, now):
        pass


def test_requests_are_told_by_endpoint_and_class() -> None:
    metrics = new_metrics()
    meter = metrics.meters.meter(PORT, ENDPOINTS[0], "http")
    for status in (200, 204, 404, 503, 0, 700, 999):
        meter.observe(status, 0.003)
    found = scrape(metrics, snapshot_of(PORT))["edgemesh_requests_total"]
    assert found == {
        labelled(code="2xx"): 2,
        labelled(code="4xx"): 1,
        labelled(code="5xx"): 1,
        labelled(code="none"): 1,
        labelled(code="other"): 2,
    }


def test_durations_are_told_as_a_histogram() -> None:
    metrics = new_metrics()
    meter = metrics.meters.meter(PORT, ENDPOINTS[0], "http")
    for seconds in (0.0002, 0.003, 100.0):
        meter.observe(200, seconds)
    found = scrape(metrics, snapshot_of(PORT))
    buckets = found["edgemesh_request_duration_seconds_bucket"]
    assert [buckets[labelled(le=f"{bound:g}")] for bound in LATENCY_BOUNDS] == (
        [0, 1, 1, 1, 1, 2] + [2] * (len(LATENCY_BOUNDS) - 6)
    )
    assert buckets[labelled(le="+Inf")] == 3
    assert found["edgemesh_request_duration_seconds_count"] == {labelled(): 3}
    assert found["edgemesh_request_duration_seconds_sum"] == {labelled(): pytest.approx(100.0032)}


def test_grpc_responses_are_told_by_code() -> None:
    metrics = new_metrics()
    meter = metrics.meters.meter(PORT, ENDPOINTS[0], "http")
    for code in (0, 0, 14, 99):
        meter.observe_grpc(code)
    assert scrape(metrics, snapshot_of(PORT))["edgemesh_grpc_responses_total"] == {
        labelled(grpc_status="0"): 2,
        labelled(grpc_status="14"): 1,
        labelled(grpc_status="other"): 1,
    }


@pytest.mark.parametrize(
    ("slot", "name"),
    [
        ("connections", "edgemesh_connections_total"),
        ("connect_failures", "edgemesh_connect_failures_total"),
        ("resets", "edgemesh_resets_total"),
        ("timeouts", "edgemesh_timeouts_total"),
        ("retries", "edgemesh_retries_total"),
        ("ejections", "edgemesh_ejections_total"),
        ("bytes_sent", "edgemesh_sent_bytes_total"),
        ("bytes_received", "edgemesh_received_bytes_total"),
        ("round_trips", "edgemesh_round_trips_total"),
        ("round_trip_seconds", "edgemesh_round_trip_seconds_total"),
    ],
)
def test_each_count_has_its_name(slot: str, name: str) -> None:
    metrics = new_metrics()
    meter = metrics.meters.meter(PORT, ENDPOINTS[0], "relay")
    setattr(meter, slot, 7)
    assert scrape(metrics, snapshot_of(PORT))[name] == {labelled(path="relay"): 7}


def test_an_endpoint_that_was_never_called_is_not_told() -> None:
    metrics = new_metrics()
    metrics.meters.meter(PORT, ENDPOINTS[0], "http")
    samples = scrape(metrics, snapshot_of(PORT))
    assert not [name for name, found in samples.items() if "service" in str(found)]


def test_an_endpoint_has_one_meter_for_each_path() -> None:
    meters = new_metrics().meters
    first = meters.meter(PORT, ENDPOINTS[0], "http")
    assert meters.meter(replace(PORT, endpoints=()), ENDPOINTS[0], "http") is first
    assert meters.meter(PORT, ENDPOINTS[0], "relay") is not first
    assert meters.meter(PORT, ENDPOINTS[1], "http") is not first


def test_the_holder_is_given_the_meter() -> None:
    state = State()
    meter = new_metrics().meters.meter(PORT, ENDPOINTS[0], "http", state)
    assert state.meter is meter


def test_a_holder_keeps_what_it_was_given() -> None:
    meters, state = new_metrics().meters, State()
    meter = meters.held(PORT, state, "http")
    assert meters.held(PORT, state, "http") is meter is state.meter
    assert meters.meter(PORT, state.endpoint, "http") is meter


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (Outcome.CONNECT_FAILED, (1, 0, 0)),
        (Outcome.RESET, (0, 1, 0)),
        (Outcome.TIMEOUT, (0, 0, 1)),
        (Outcome.GATEWAY_ERROR, (0, 0, 0)),
        (Outcome.CANCELLED, (0, 0, 0)),
    ],
)
def test_what_got_no_answer_counts_as_what_it_was(
    outcome: Outcome, counts: tuple[int, int, int]
) -> None:
    meter = Meter()
    count_failure(meter, outcome)
    assert (meter.connect_failures, meter.resets, meter.timeouts) == counts


def test_beyond_the_limit_endpoints_are_counted_together() -> None:
    metrics = new_metrics(max_meters=1)
    state = State()
    metrics.meters.meter(PORT, ENDPOINTS[0], "http").observe(200, 0.1)
    for seconds in (0.1, 0.2):
        metrics.meters.meter(PORT, ENDPOINTS[1], "http", state).observe(200, seconds)
    samples = scrape(metrics, snapshot_of(PORT))
    found = {
        (dict(key)["service"], dict(key)["endpoint"]): value
        for key, value in samples["edgemesh_requests_total"].items()
    }
    assert found == {("web", "10.1.0.1:8080"): 1, ("other", "other"): 2}
    assert samples["edgemesh_meters_overflowed_total"] == {frozenset(): 2}
    assert samples["edgemesh_meters"] == {frozenset(): 1}
    assert state.meter is None, "it would never be counted by itself"


def test_what_is_gone_is_told_once_more() -> None:
    metrics = new_metrics()
    metrics.meters.meter(PORT, ENDPOINTS[0], "http").observe(200, 0.1)
    metrics.meters.meter(PORT, ENDPOINTS[1], "http").observe(200, 0.1)
    less = snapshot_of(replace(PORT, endpoints=ENDPOINTS[1:]))
    name = "edgemesh_requests_total"
    assert endpoints_in(scrape(metrics, less), name) == {"10.1.0.1:8080", "[fd00::2]:8080"}
    assert endpoints_in(scrape(metrics, less), name) == {"[fd00::2]:8080"}


def test_a_scrape_that_is_broken_off_drops_nothing() -> None:
    metrics = new_metrics()
    metrics.meters.meter(PORT, ENDPOINTS[0], "http").observe(200, 0.1)
    pieces = metrics.text(Snapshot(), 0.0, [])
    next(pieces)
    assert len(metrics.meters) == 1


@pytest.mark.parametrize("ports", [(), (replace(PORT, endpoints=()),)], ids=["service", "endpoint"])
def test_what_is_gone_is_dropped_in_time_though_nobody_asks(
    ports: Iterable[ServicePort],
) -> None:
    metrics = new_metrics(keep_seconds=300)
    metrics.meters.meter(PORT, ENDPOINTS[0], "http")
    gone = snapshot_of(*ports)
    sweep(metrics, snapshot_of(PORT), 0)
    sweep(metrics, gone, 100)
    sweep(metrics, gone, 399)
    assert len(metrics.meters) == 1
    sweep(metrics, gone, 400)
    assert len(metrics.meters) == 0


def test_what_comes_back_is_counted_on() -> None:
    metrics = new_metrics(keep_seconds=300)
    meter = metrics.meters.meter(PORT, ENDPOINTS[0], "http")
    sweep(metrics, Snapshot(), 0)
    sweep(metrics, snapshot_of(PORT), 299)
    sweep(metrics, Snapshot(), 300)
    sweep(metrics, Snapshot(), 599)
    assert metrics.meters.meter(PORT, ENDPOINTS[0], "http") is meter


def test_the_holder_of_what_is_dropped_asks_again() -> None:
    metrics = new_metrics()
    state = State()
    metrics.meters.meter(PORT, ENDPOINTS[0], "http", state)
    scrape(metrics, Snapshot())
    assert state.meter is None


def test_calls_that_are_open_keep_their_meter() -> None:
    metrics = new_metrics()
    state = State()
    meter = metrics.meters.meter(PORT, ENDPOINTS[0], "http", state)
    state.active = 1
    scrape(metrics, Snapshot())
    meter.observe(200, 0.1)
    state.active = 0
    assert "edgemesh_requests_total" in scrape(metrics, Snapshot())
    assert state.meter is None


def test_a_later_holder_keeps_its_meter_when_a_path_of_the_endpoint_is_dropped() -> None:
    metrics = new_metrics()
    state = State()
    metrics.meters.meter(PORT, ENDPOINTS[0], "relay", state)
    metrics.meters.meter(PORT, ENDPOINTS[0], "http", state)
    held = state.meter
    metrics.meters.drop([one for one in metrics.meters.all() if one.key.path == "relay"])
    assert state.meter is held


def test_refusals_are_told_by_service_and_reason() -> None:
    metrics = new_metrics()
    metrics.refusals.count(PORT, "quota")
    metrics.refusals.count(PORT, "quota", 3)
    metrics.refusals.count(None, "no-service")
    found = scrape(metrics, snapshot_of(PORT))["edgemesh_refusals_total"]
    web = {"namespace": "default", "service": "web", "port": "80", "reason": "quota"}
    none = {"namespace": "", "service": "", "port": "0", "reason": "no-service"}
    assert found == {frozenset(web.items()): 4, frozenset(none.items()): 1}
    assert metrics.refusals.by_reason == {"quota": 4, "no-service": 1}


def test_refusals_beyond_the_limit_are_those_of_others() -> None:
    metrics = new_metrics(max_meters=1)
    for service in ("web", "shop", "shop"):
        metrics.refusals.count(replace(PORT, service=service), "quota")
    both = snapshot_of(PORT, replace(PORT, service="shop"))
    found = scrape(metrics, both)["edgemesh_refusals_total"]
    assert {dict(key)["service"]: value for key, value in found.items()} == {"web": 1, "other": 2}


def test_refusals_of_services_that_are_gone_are_told_once_more() -> None:
    metrics = new_metrics()
    metrics.refusals.count(PORT, "quota")
    assert "edgemesh_refusals_total" in scrape(metrics, Snapshot())
    assert "edgemesh_refusals_total" not in scrape(metrics, Snapshot())
    assert metrics.refusals.by_reason == {"quota": 1}


def test_the_loop_s_lag_is_a_histogram() -> None:
    metrics = new_metrics()
    metrics.loop_lag.observe(0.0004)
    found = scrape(metrics, Snapshot())["edgemesh_loop_lag_seconds_bucket"]
    assert found[frozenset({("le", "0.00025")})] == 0
    assert found[frozenset({("le", "0.0005")})] == 1
