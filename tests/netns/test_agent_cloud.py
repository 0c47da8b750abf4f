"""A real agent and a real cloud: what is applied there is served here, also without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloud_process import ADDRESS, CloudProcess, bus, cloud_of, cloud_status, cut, wait_until_synced
from interception_lab import output
from lab_homes import wait_for
from mesh import Mesh, endpoints, service, web, web_and_bystander, who_answers

from edgemesh.meta.errors import RefusedError
from edgemesh.model.objects import ObjectKey

pytestmark = pytest.mark.root

# Long before TCP itself would notice that nothing comes.
SILENCE_SECONDS = 3
WEB = ObjectKey("Service", "default", "web")


@pytest.fixture
def cloud(mesh: Mesh) -> Iterator[CloudProcess]:
    with web_and_bystander(mesh), cloud_of(mesh) as made:
        yield made


def answers(mesh: Mesh) -> str:
    with suppress(OSError):
        return who_answers(mesh.network.pod)
    return "nobody"


def joined(mesh: Mesh, cloud: CloudProcess, **settings: Any) -> None:
    """Start both; returns when the node serves what the cloud has."""
    cloud.start()
    cloud.write_token("node")
    cloud.apply(*web())
    mesh.start(bus=bus(cloud, **settings))
    wait_for(lambda: answers(mesh) == "endpoint", f"the Service answers: {mesh.log}")


def test_a_node_enrols_and_serves_what_is_applied_and_deleted_in_the_cloud(
    mesh: Mesh, cloud: CloudProcess
) -> None:
    joined(mesh, cloud)
    wait_until_synced(mesh)
    status = cloud_status(mesh)
    assert (status["address"], status["peer"]) == (f"{ADDRESS}:10000", "edgemesh")
    assert status["certificate_end"]
    cloud.delete(WEB)
    wait_for(lambda: answers(mesh) == "bystander", "the Service is gone")


def test_what_comes_from_the_cloud_cannot_be_changed_on_the_node(
    mesh: Mesh, cloud: CloudProcess
) -> None:
    joined(mesh, cloud)
    with pytest.raises(RefusedError, match="web comes from the cloud"):
        mesh.apply(*web())
    with pytest.raises(RefusedError, match="web comes from the cloud"):
        mesh.delete(WEB)
    assert answers(mesh) == "endpoint"


def test_with_the_cloud_away_the_node_serves_on_also_after_a_restart(
    mesh: Mesh, cloud: CloudProcess
) -> None:
    joined(mesh, cloud)
    wait_until_synced(mesh)
    revision = cloud_status(mesh)["revision"]
    cloud.kill()
    wait_for(lambda: not cloud_status(mesh)["connected"], "the node notices")
    assert answers(mesh) == "endpoint"
    mesh.stop()
    cloud.token_file.unlink()
    mesh.start(bus=bus(cloud))
    assert answers(mesh) == "endpoint"
    problem = f"{ADDRESS}:10000 cannot be reached: Connection refused"
    wait_for(lambda: problem in cloud_status(mesh)["problem"], "the node says what hinders it")
    cloud.start()
    wait_until_synced(mesh)
    assert cloud_status(mesh)["revision"] >= revision


def test_a_half_open_connection_is_noticed_and_a_deletion_meanwhile_is_not_lost(
    mesh: Mesh, cloud: CloudProcess
) -> None:
    joined(mesh, cloud, silence_seconds=SILENCE_SECONDS)
    wait_until_synced(mesh)
    with cut(mesh):
        cloud.delete(WEB)
        wait_for(lambda: not cloud_status(mesh)["connected"], "silence is noticed")
        assert answers(mesh) == "endpoint"
    wait_for(lambda: answers(mesh) == "bystander", "the deletion arrives")
    assert cloud_status(mesh)["connections"] >= 2


@pytest.mark.long
def test_after_too_large_a_gap_everything_is_sent_and_what_is_gone_goes(
    mesh: Mesh, cloud: CloudProcess
) -> None:
    cloud.start(meta={"history": 5})
    cloud.write_token("node")
    cloud.apply(*web(), service("kept", ["10.96.0.99"], [("TCP", 80)]))
    mesh.start(bus=bus(cloud, silence_seconds=SILENCE_SECONDS))
    wait_for(lambda: answers(mesh) == "endpoint", f"the Service answers: {mesh.log}")
    with cut(mesh):
        cloud.delete(WEB)
        for number in range(20):
            cloud.apply(service(f"s{number}", [f"10.96.1.{number}"], [("TCP", 80)]))
        wait_for(lambda: not cloud_status(mesh)["connected"], "silence is noticed")
    wait_for(lambda: answers(mesh) == "bystander", "the deletion arrives")
    wait_until_synced(mesh)
    names = {body["metadata"]["name"] for body in mesh.objects("default/service")}
    assert names == {"kept", *(f"s{number}" for number in range(20))}
    assert "objects that the cloud has no more are gone" in mesh.log


@pytest.mark.long
def test_an_expired_certificate_is_named_and_calls_are_served_all_the_same(
    mesh: Mesh, cloud: CloudProcess
) -> None:
    cloud.start(cloud={"name": "c1", "names": [ADDRESS], "node_certificate_seconds": 4})
    cloud.write_token("node")
    cloud.apply(*web())
    mesh.start(bus=bus(cloud, renew_share=0.999))
    wait_for(lambda: answers(mesh) == "endpoint", f"the Service answers: {mesh.log}")
    wait_for(lambda: bool(cloud_status(mesh)["certificate_end"]), "it has a certificate")
    end = datetime.fromisoformat(cloud_status(mesh)["certificate_end"])
    mesh.stop()
    cloud.token_file.unlink()
    # It would be renewed as long as it is good.
    wait_for(lambda: datetime.now(UTC) > end + timedelta(seconds=1), "the certificate is over")
    mesh.start(bus=bus(cloud, renew_share=0.999))
    wait_for(lambda: "is valid from" in cloud_status(mesh)["problem"], "the problem is named")
    status = mesh.status()
    assert "CN=system:node:node" in status["cloud"]["problem"]
    assert str(cloud.token_file) in status["cloud"]["problem"]
    assert any("is valid from" in problem for problem in status["problems"])
    assert answers(mesh) == "endpoint"


@pytest.mark.long
def test_a_node_that_was_shut_out_says_so_and_is_let_in_again_by_a_new_token(
    mesh: Mesh, cloud: CloudProcess
) -> None:
    joined(mesh, cloud)
    wait_until_synced(mesh)
    cloud.revoke("node")
    wait_for(lambda: not cloud_status(mesh)["connected"], "the node is cut off")
    wait_for(lambda: "revoked" in cloud_status(mesh)["problem"], "it says why")
    assert answers(mesh) == "endpoint"
    cloud.write_token("node")
    wait_until_synced(mesh)
    cloud.delete(WEB)
    wait_for(lambda: answers(mesh) == "bystander", "the node follows again")


def test_the_node_tells_where_its_links_are_taken(mesh: Mesh, cloud: CloudProcess) -> None:
    joined(mesh, cloud)

    def told() -> set[str]:
        nodes = [one for one in cloud.get("null/node") if one["metadata"]["name"] == "node"]
        notes = [one["metadata"].get("annotations", {}) for one in nodes]
        return {each for note in notes for each in note.get("edgemesh.io/link", "").split(",")}

    wait_for(lambda: told() == {"10.2.0.1:10006", "[fd02::1]:10006"}, f"its addresses: {told()}")
    output(mesh.network.node, ["ip", "address", "add", "10.2.0.77/24", "dev", "veth2"])
    wait_for(lambda: "10.2.0.77:10006" in told(), "a new address is told")


def test_the_cloud_tells_prometheus_of_its_nodes_its_links_and_its_calls(
    mesh: Mesh, cloud: CloudProcess
) -> None:
    joined(mesh, cloud)
    wait_until_synced(mesh)
    told = cloud.metrics()
    assert 'edgemesh_cloud_nodes{kind="edgemesh"} 1' in told
    for name in ("edgemesh_flows_total", "edgemesh_services", "edgemesh_requests_total"):
        assert f"# TYPE {name} " in told


@pytest.mark.long
def test_a_certificate_is_renewed_while_the_connection_stands(
    mesh: Mesh, cloud: CloudProcess
) -> None:
    # Certificates are backdated by five minutes, so this is due within the first seconds.
    seconds = 3000
    share = (300 + 3) / (300 + seconds)
    cloud.start(cloud={"name": "c1", "names": [ADDRESS], "node_certificate_seconds": seconds})
    cloud.write_token("node")
    cloud.apply(*web())
    mesh.start(bus=bus(cloud, renew_share=share))
    wait_until_synced(mesh)
    before = cloud_status(mesh)["certificate_end"]
    wait_for(lambda: cloud_status(mesh)["certificate_end"] != before, "it is renewed")
    status = cloud_status(mesh)
    assert (status["connected"], status["connections"]) == (True, 1)
    cloud.apply(service("late", ["10.96.0.77"], [("TCP", 80)]), *endpoints("late", [], []))
    wait_for(lambda: len(mesh.objects("default/service")) == 2, "the session goes on")
