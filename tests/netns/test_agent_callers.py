"""Namespaces, Pods and Services that do not want the agent are left to others."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bpf_mesh import new_bpf_mesh
from interception_lab import POD, PORT, SERVICE
from lab_homes import wait_for
from mesh import Mesh, web, web_and_bystander, who_answers

from edgemesh.lab.network import command_in
from edgemesh.policy.callers import INTERCEPT

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]


@pytest.fixture
def served(mesh: Mesh) -> Iterator[Mesh]:
    """Somebody else than the agent answers, too, once there is an agent."""
    with web_and_bystander(mesh):
        yield mesh


def namespace(**labels: str) -> dict[str, Any]:
    metadata = {"name": "default", "labels": labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def client(**labels: str) -> dict[str, Any]:
    """The Pod that calls."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": "default", "labels": labels},
        "spec": {"nodeName": "node", "containers": [{"name": "main"}]},
        "status": {
            "phase": "Running",
            "podIP": POD[4],
            "podIPs": [{"ip": address} for address in POD.values()],
        },
    }


def answers(mesh: Mesh, who: str, version: int = 4) -> None:
    """Wait until the pod's calls are answered by these."""
    wait_for(lambda: who_answers(mesh.network.pod, version) == who, f"the {who} answers")


def edgemesh(mesh: Mesh, *words: str) -> str:
    argv = [sys.executable, "-m", "edgemesh.cli.main", *words, "--config", str(mesh.config)]
    argv = command_in(mesh.network.node, argv)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def test_a_namespace_opts_out_and_in_again(served: Mesh) -> None:
    served.start()
    served.apply(*web(), client())
    answers(served, "endpoint")
    served.apply(namespace(**{INTERCEPT: "disabled"}))
    for version in POD:
        answers(served, "bystander", version)
        assert who_answers(served.network.node, version) == "endpoint"
    served.apply(namespace())
    answers(served, "endpoint")


def test_what_operators_are_told_of_a_pod_that_opted_out(served: Mesh) -> None:
    served.start()
    served.apply(*web("tcp"), client(**{INTERCEPT: "disabled"}))
    answers(served, "bystander")
    shown = edgemesh(served, "get", "pods", "-o", "wide")
    assert "INTERCEPTED" in shown
    assert "No: label edgemesh.io/intercept of the Pod is disabled" in shown
    traced = edgemesh(served, "trace", f"web:{PORT}", "--from", "client")
    reason = "Pod default/client is not intercepted: label edgemesh.io/intercept of the Pod is"
    assert f"rule       skipped    {reason} disabled" in traced, traced
    assert "past the agent, which leaves it alone" in traced
    served.apply(client())
    answers(served, "endpoint")
    assert "Yes" in edgemesh(served, "get", "pods", "-o", "wide")


def test_only_pods_that_opt_in_are_intercepted_where_that_is_the_default(served: Mesh) -> None:
    served.start(proxy={"intercept_default": "disabled"})
    served.apply(*web("tcp"), client())
    assert who_answers(served.network.pod) == "bystander"
    assert who_answers(served.network.node) == "bystander"
    assert "proxy.intercept_default is disabled" in edgemesh(served, "get", "pods", "-o", "wide")
    served.apply(client(**{INTERCEPT: "enabled"}))
    answers(served, "endpoint")
    assert who_answers(served.network.node) == "bystander"
    served.apply(client(**{INTERCEPT: "disabled"}), namespace(**{INTERCEPT: "enabled"}))
    answers(served, "bystander")


def test_a_service_of_another_proxy_is_resolved_and_left_to_it(served: Mesh) -> None:
    served.start()
    service, *slices = web("tcp")
    label = "service.edgemesh.kubeedge.io/service-proxy-name"
    service["metadata"]["labels"] = {label: "kube-proxy"}
    served.apply(service, *slices, client())
    for caller in (served.network.pod, served.network.node):
        assert who_answers(caller) == "bystander"
    traced = edgemesh(served, "trace", f"web:{PORT}")
    assert f"label {label} says that another proxy serves it" in traced, traced
    assert SERVICE[4] in next(line for line in traced.splitlines() if line.startswith("name"))
    assert "another proxy serves it" in edgemesh(served, "get", "services", "-o", "wide")
    del service["metadata"]["labels"]
    served.apply(service)
    answers(served, "endpoint")


@pytest.mark.long
def test_a_pod_that_opted_out_is_not_balanced_when_it_connects_either() -> None:
    with new_bpf_mesh() as made, web_and_bystander(made.mesh):
        mesh = made.mesh

        def who(namespace: str) -> str:
            return made.call(namespace, SERVICE[4], PORT)[1]

        made.start()
        mesh.apply(*web("tcp"), client())
        assert made.wait_for_paths()["connect"] == "available", mesh.log
        wait_for(lambda: who(mesh.network.pod) == "endpoint", "the endpoint answers")
        before = len(mesh.flows())
        mesh.apply(namespace(**{INTERCEPT: "disabled"}))
        began = time.monotonic()
        wait_for(lambda: who(mesh.network.pod) == "bystander", "the bystander answers")
        print(f"opted out after {time.monotonic() - began:.3f} s, the call's program included")
        assert who(mesh.network.node) == "endpoint"
        mesh.apply(client(**{INTERCEPT: "enabled"}))
        wait_for(lambda: who(mesh.network.pod) == "endpoint", "the endpoint answers")
        # None of them has passed the agent.
        assert len(mesh.flows()) == before
