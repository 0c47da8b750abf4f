"""The API server that is followed, as operators see it."""

from __future__ import annotations

from dataclasses import replace

from edgemesh.app.kubernetes_metrics import kubernetes_families
from edgemesh.app.prerequisites import State
from edgemesh.cli.doctor import check_kubernetes
from edgemesh.cli.status_page import kubernetes_rows
from edgemesh.model.kubernetes_status import FollowedKind, KubernetesStatus

SERVICES = FollowedKind("Service", "/api/v1/services", "following", True, 60, "7", 12, 30, 1)
PODS = FollowedKind("Pod", "/api/v1/pods", "listing", False, 3)
WELL = KubernetesStatus("in-cluster", reached=True, kinds=(SERVICES,))


def page(status: KubernetesStatus) -> list[str]:
    return [f"{label}: {text}" for label, text in kubernetes_rows(status)]


def test_all_is_well_in_one_row() -> None:
    assert page(WELL) == ["kubernetes: in-cluster, reached, 1 of 1 kinds synced, 12 objects"]
    assert not list(WELL.problems())


def test_the_holder_of_the_lease_and_what_is_not_served_have_rows() -> None:
    status = replace(WELL, holder="c1", holds=True, statuses=3, events=1, unserved=("Rule",))
    assert page(status)[1:] == [
        "  not served: Rule",
        "  lease: c1 (this one), 3 statuses and 1 events written",
    ]
    assert page(replace(status, holds=False))[2] == "  lease: c1"


def test_a_replica_that_does_not_follow_has_no_problem_with_that() -> None:
    status = replace(WELL, reached=False, follows=False, kinds=(), holder="c2")
    assert page(status) == ["kubernetes: in-cluster, followed by another replica", "  lease: c2"]
    assert not list(status.problems())


def test_a_server_that_does_not_answer_is_a_problem_and_its_kinds_are_not_told_besides() -> None:
    status = replace(WELL, reached=False, problem="no route", kinds=(PODS,))
    assert page(status) == ["kubernetes: in-cluster, NOT REACHED, 0 of 1 kinds synced, 0 objects"]
    assert list(status.problems()) == ["API server in-cluster: no route"]
    unknown = replace(status, problem="")
    assert list(unknown.problems()) == ["API server in-cluster: not reached yet"]


def test_whatever_is_not_as_it_should_be_is_a_problem() -> None:
    status = replace(
        WELL,
        kinds=(SERVICES, PODS, replace(PODS, kind="Node", problem="403 Forbidden")),
        lease_problem="409",
        write_problem="500",
        refused={"Service a/b": "bad"},
    )
    assert list(status.problems()) == [
        "Pods of the API server are not synced: listing for 3 s",
        "Nodes of the API server are not synced: 403 Forbidden",
        "the Lease cannot be had: 409",
        "the API server is not told: 500",
        "Service a/b of the API server is not stored: bad",
    ]
    checks = check_kubernetes(status)
    assert [check.state for check in checks] == [State.MET] + [State.LACKING] * 5
    assert checks[0].what == "in-cluster answers, 1 of 3 kinds synced"


def test_doctor_says_nothing_where_there_is_none_and_what_is_wrong_where_it_is_away() -> None:
    assert not check_kubernetes(None)
    [check] = check_kubernetes(replace(WELL, reached=False, problem="no route"))
    assert (check.state, check.what) == (State.LACKING, "API server in-cluster: no route")


def test_metrics_tell_each_kind() -> None:
    text = "".join(part for each in kubernetes_families(WELL) for part in each.text())
    for line in (
        "edgemesh_kubernetes_reached 1",
        'edgemesh_kubernetes_synced{kind="Service"} 1',
        'edgemesh_kubernetes_objects{kind="Service"} 12',
        'edgemesh_kubernetes_changes_total{kind="Service"} 30',
        "edgemesh_kubernetes_lease_held 0",
    ):
        assert line in text.splitlines()
