"""The rest of a Kubernetes cluster around an API server: kubelets, scheduler and controllers.

Nodes and pods are those of a lab; objects are written to the API server in the order in which
Kubernetes' own parts write them: a pod that is to go leaves its EndpointSlice before it ends.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import trio
from apiserver_process import RemoteServer, apiserver_process
from interception_lab import output
from lab_homes import curl, unique_home

from edgemesh.lab import agents, cluster, hub, plan
from edgemesh.lab.configuration import Tables
from edgemesh.lab.network import command_in
from edgemesh.lab.pods import start_pod, stop_pod
from edgemesh.lab.rollout import plan_rollout
from edgemesh.lab.state import Home, Pod, State, load, save, with_pod, without_pod
from edgemesh.lab.workloads import node_body, workload_of
from edgemesh.model.objects import ObjectKey

PODS = "/api/v1/pods"
NODES = "/api/v1/nodes"
SERVICES = "/api/v1/services"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
VIRTUAL_SERVICES = "/apis/networking.istio.io/v1/virtualservices"
PORT = 8001
Body = dict[str, Any]
_EDGE = {"node-role.kubernetes.io/edge": ""}
_PATIENCE_SECONDS = 60.0
_PACE_SECONDS = 0.3
# A call that hangs so long is answered by nobody.
_HANGING_SECONDS = 2.0
_GRACE_SECONDS = 3.0
# As many as begin while the first of them hangs until it is given up, and some more.
_CALLS_AT_A_TIME = 100


@dataclass(eq=False)
class KubeCluster:
    """A lab whose agents follow an API server.

    Attributes:
        home: of the lab.
        server: the API server.
        state: of the lab.
    """

    home: Home
    server: RemoteServer
    state: State

    def scale(self, name: str, replicas: int, node: str = "") -> float:
        """Run so many pods of a Deployment; its pods answer with their names over HTTP.

        They run on a node, or are spread over the edge nodes.

        Returns:
            When the API server was told, by the monotonic clock.
        """
        workload = workload_of(ObjectKey("Deployment", "default", name), _deployment(name, node))
        assert workload is not None
        plan_ = plan_rollout(self.state, [replace(workload, replicas=replicas)])
        for place in plan_.coming:
            pod = trio.run(start_pod, self.home, place.workload, place.node, place.slot)
            self._become(with_pod(self.state, pod))
            self.server.put(PODS, pod.body)
        told_at = time.monotonic()
        for pod in plan_.leaving:
            self.server.delete(PODS, pod.key.namespace, pod.key.name)
        self.write_slices()
        for pod in plan_.leaving:
            trio.run(stop_pod, pod, self.state.node(pod.node))
            self._become(without_pod(self.state, pod))
        return told_at

    def serve(self, name: str, selector: str) -> float:
        """Let a Service lead to the pods of a Deployment; see `scale` for what is returned."""
        spec = {
            "selector": {"app": selector},
            "ports": [{"name": "http", "port": 80, "targetPort": 9376, "protocol": "TCP"}],
        }
        told_at = time.monotonic()
        self.server.put(SERVICES, {"metadata": {"name": name}, "spec": spec})
        self.write_slices()
        return told_at

    def set_ready(self, pod: Pod, *, ready: bool) -> float:
        """Let a pod's probe succeed or fail; see `scale` for what is returned."""
        conditions = [{"type": "Ready", "status": str(ready)}]
        status = {**pod.body["status"], "conditions": conditions}
        told_at = time.monotonic()
        self.server.put(PODS, {**pod.body, "status": status})
        self.write_slices()
        return told_at

    def lose_node(self, name: str) -> float:
        """Cut a node's cable, then ``kubectl delete node``; see `scale` for what is returned."""
        gone = [pod for pod in self.state.pods if pod.node == name]
        _set_cable(self.state.node(name), "down")
        told_at = time.monotonic()
        self.server.delete(NODES, "", name)
        for pod in gone:
            self.server.delete(PODS, pod.key.namespace, pod.key.name)
        self.write_slices()
        return told_at

    def route(self, name: str, to: str) -> float:
        """Lead what is called by one Service's name to another Service; see `scale`."""
        destination = {"destination": {"host": to, "port": {"number": 80}}}
        told_at = time.monotonic()
        spec = {"hosts": [name], "http": [{"route": [destination]}]}
        self.server.put(VIRTUAL_SERVICES, {"metadata": {"name": name}, "spec": spec})
        return told_at

    def unroute(self, name: str) -> float:
        """Take back what `route` did."""
        told_at = time.monotonic()
        self.server.delete(VIRTUAL_SERVICES, "default", name)
        return told_at

    def restart_agents(self, *nodes: str) -> None:
        """Returns when their agents intercept again."""
        self.state = trio.run(agents.stop_agents, self.home, self.state, nodes, _GRACE_SECONDS)
        again = [self.state.node(name) for name in nodes]
        self.state = trio.run(agents.start_agents, self.home, self.state, again)

    @contextmanager
    def without_server(self) -> Iterator[None]:
        """Let nobody reach the API server, silently, as by a cable that is cut."""
        cloud = plan.cloud_of(self.home.lab)
        _set_cable(cloud, "down")
        yield
        _set_cable(cloud, "up")

    def write_slices(self) -> None:
        """Be the endpoint-slice controller: one slice of IPv4 for each Service."""
        pods = list(self.server.objects(PODS).values())
        for body in self.server.objects(SERVICES).values():
            labels = body["spec"]["selector"].items()
            chosen = [pod for pod in pods if labels <= pod["metadata"]["labels"].items()]
            self.server.put(SLICES, _slice(body, chosen))

    def _become(self, state: State) -> None:
        save(self.home, state)
        self.state = state

    def pods(self, deployment: str) -> list[Pod]:
        return [pod for pod in self.state.pods if pod.owner.name == deployment]


def names(pods: list[Pod]) -> set[str]:
    return {pod.key.name for pod in pods}


@contextmanager
def kube_cluster(
    *server_arguments: str,
    with_cloud: bool = False,
    crds: tuple[str, ...] = ("virtualservices",),
    following: Mapping[str, float] = MappingProxyType({}),
) -> Iterator[KubeCluster]:
    """A lab of two edge nodes, whose agents or whose cloud follow an API server.

    Args:
        server_arguments: of ``apiserver/serve.py``.
        with_cloud: whether agents connect to a cloud, which alone follows the API server.
        crds: plurals of the kinds that are installed.
        following: further settings of who follows.
    """
    with unique_home() as home:
        cloud = plan.cloud_of(home.lab)
        url = f"http://{cloud.addresses[0]}:{PORT}"
        follow: Tables = {"kubernetes": {"server": url, **following}}
        settings = {} if with_cloud else follow
        trio.run(lambda: cluster.up(home, 2, with_agents=False, settings=settings))
        with apiserver_process(
            cloud.addresses[0],
            PORT,
            *server_arguments,
            within=lambda argv: command_in(cloud.namespace, list(argv)),
        ) as server:
            for plural in crds:
                server.install_crd(plural)
            for node in load(home).nodes:
                server.put(NODES, node_body(node))
            if with_cloud:
                _start_cloud(home, follow)
            edges = [node for node in load(home).nodes if not node.is_cloud]
            state = trio.run(agents.start_agents, home, load(home), edges)
            yield KubeCluster(home, server, state)


def _set_cable(node: plan.Node, state: str) -> None:
    """Pull a node's cable out of the switch, or put it in again: ``down`` or ``up``."""
    port = plan.node_link(node)[1]
    output(port.namespace, ["ip", "link", "set", port.device, state])


def _start_cloud(home: Home, follow: Tables) -> None:
    hub.write_config(home, follow)
    state = load(home)
    for node in state.nodes:
        agents.write_config(home, node, hub.agent_tables(home, node))
    state = trio.run(hub.start, home, state)
    trio.run(hub.write_tokens, home, state.nodes)


def seconds_until(
    ask: Callable[[], str],
    right: Callable[[str], bool],
    since: float,
    what: str,
    in_a_row: int,
    *,
    pace_seconds: float = _PACE_SECONDS,
) -> float:
    """How long after ``since`` calls are answered right that are begun from then on.

    A call begins when the one before it is answered, and while it hangs at this pace.

    Args:
        ask: makes one call; who answered it.
        right: whether that is who should; asked in the order in which the calls began.
        since: by the monotonic clock.
        what: is waited for.
        in_a_row: so many right answers are believed.
        pace_seconds: how exact the answer is while calls hang. Each call is some processes: too
            many at once would keep a busy machine from answering any.
    """
    calls: deque[tuple[float, Future[str]]] = deque()
    first, seen = 0.0, 0
    with ThreadPoolExecutor(_CALLS_AT_A_TIME) as pool:
        while seen < in_a_row:
            assert time.monotonic() - since < _PATIENCE_SECONDS, what
            if len(calls) < _CALLS_AT_A_TIME:
                calls.append((time.monotonic(), pool.submit(ask)))
            wait([calls[0][1]], pace_seconds)
            while calls and calls[0][1].done():
                at, call = calls.popleft()
                if right(call.result()):
                    first = first if seen else at
                    seen += 1
                else:
                    seen = 0
    return first - since


def answers(caller: Pod, service: str) -> str:
    """Who answers one call by a Service's name, "" for nobody."""
    return curl(caller.network_namespace, f"http://{service}.default", _HANGING_SECONDS)


def _deployment(name: str, node: str) -> Body:
    container = {"name": name, "image": "serve_hostname", "args": ["--http=true"]}
    where: Body = {"nodeName": node} if node else {"nodeSelector": _EDGE}
    spec: Body = {"containers": [container], **where}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    selector = {"matchLabels": {"app": name}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": 0, "selector": selector, "template": template},
    }


def _slice(service: Body, pods: list[Body]) -> Body:
    name = service["metadata"]["name"]
    ports = [
        {"name": port["name"], "port": port["targetPort"], "protocol": port["protocol"]}
        for port in service["spec"]["ports"]
    ]
    labels = {
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    return {
        "metadata": {"name": f"{name}-v4", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [_endpoint(pod) for pod in pods],
        "ports": ports,
    }


def _endpoint(pod: Body) -> Body:
    conditions = {each["type"]: each["status"] for each in pod["status"]["conditions"]}
    ready = conditions["Ready"] == "True"
    metadata = pod["metadata"]
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready, "serving": ready, "terminating": False},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
