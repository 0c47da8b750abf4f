"""Breakers read as a table."""

from __future__ import annotations

from edgemesh.cli.breakers import breakers_table
from edgemesh.model.status import BreakerPhase, BreakerStatus, ServicesQuestion

OPEN = BreakerStatus(
    "default",
    "web",
    80,
    "TCP",
    "10.1.0.1:8080",
    "default/web-1",
    BreakerPhase.OPEN,
    reason="consecutive-errors",
    failures_in_row=5,
    ejections=2,
    open_seconds=12.34,
    active=1,
    calls=200,
    failures=15,
)
UNCALLED = BreakerStatus("shop", "dns", 53, "UDP", "[fd00::1]:53", "", BreakerPhase.CLOSED)


def test_what_takes_no_calls_stands_first() -> None:
    lines = breakers_table([UNCALLED, OPEN], namespaced=False, wide=False).splitlines()
    heading, first, second = (" ".join(line.split()) for line in lines)
    assert heading == "SERVICE ENDPOINT STATE FOR FAILURES EJECTIONS ACTIVE CALLS SUCCESS"
    assert first == "web:80 10.1.0.1:8080 open 12.3s 5 2 1 200 92.5%"
    assert second == "dns:53/UDP [fd00::1]:53 closed - 0 0 0 0 -"


def test_columns_are_aligned() -> None:
    heading, first, second = breakers_table(
        [UNCALLED, OPEN], namespaced=False, wide=False
    ).splitlines()
    assert heading.index("STATE") == first.index("open") == second.index("closed")


def test_namespaces_reasons_and_pods_are_shown_on_demand() -> None:
    heading, row, other = breakers_table([OPEN, UNCALLED], namespaced=True, wide=True).splitlines()
    assert heading.startswith("NAMESPACE   SERVICE")
    assert heading.endswith("REASON               POD")
    assert row.startswith("default     web:80")
    assert row.endswith("consecutive-errors   default/web-1")
    assert other.endswith("-                    -")


def test_a_question_is_about_some_services_or_all() -> None:
    assert ServicesQuestion().is_about("default", "web")
    assert ServicesQuestion("default", ("web", "shop")).is_about("default", "web")
    assert not ServicesQuestion("default").is_about("shop", "web")
    assert not ServicesQuestion("default", ("shop",)).is_about("default", "web")
