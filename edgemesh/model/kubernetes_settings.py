"""Settings of what follows a Kubernetes API server, or KubeEdge's MetaServer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """The API server that objects come from.

    Args:
        server: ``in-cluster``, ``kubeconfig``, a URL such as KubeEdge's MetaServer
            ``http://127.0.0.1:10550``, or "" for none.
        kubeconfig: the file, where that is the server; "" for ``$KUBECONFIG`` or
            ``~/.kube/config``.
        context: of that file; "" for its current one.
        token_file: holds the token to show to a server that is named by URL; read again when the
            server refuses what it held. "" for none.
        ca_file: who may have signed the certificate of such a server; "" for whom this machine
            trusts.
        dial_seconds: for connecting and TLS.
        request_seconds: for a whole answer, a page of a list among them; MetaServer takes 10 to
            find out that its cloud is away.
        watch_seconds: after which the server is to end a watch, and is asked for a new one; up to
            a fifth less, by lot.
        silence_seconds: without a word on a watch after which the server is asked anew, for it may
            be gone; where anything changes it sends a bookmark about every 60.
        metaserver_seconds: the same as ``watch_seconds`` for a MetaServer: how long what its
            watches do not tell, deletions among it, may stay unnoticed, for after each it is asked
            for a list.
        missing_seconds: between questions for a resource that the server does not have.
        metaserver_missing_seconds: the same for a MetaServer, which knows no cheaper question
            than a list.
        first_retry_seconds, max_retry_seconds: pause after a failure; it doubles, with jitter.
        max_retry_after_seconds: the most of a pause that the server asks for (Retry-After).
        page_objects: of one page of a list.
        batch_objects: handed on at once, and held while others are written.
        max_list_bytes: of one page; of a whole list where the server cannot page.
        max_line_bytes: of one event of a watch, and so of one object.
        pods: which of them an agent follows that asks the server itself: ``needed`` is its own
            node's, and those of other nodes only while a DestinationRule has subsets; ``all`` is
            for weights of Pods (``edgemesh.io/weight``) on other nodes. A cloud follows all.
        write_status: whether a cloud tells the server how objects stand.
        status_seconds: between two looks for what has to be told.
        status_batch: objects that are told of at each.
        rule_status_seconds: between two looks at what became of Rules' calls.
        event_seconds: for which an Event that says the same is not sent again.
        max_events: that are remembered for that.
        agent_service_account: whose tokens let a node enrol: that of the agent's Pods.
        agent_audience: that these tokens have to be for.
        max_reviews: tokens that the server is asked about at a time.
        authority_config_map: where a cloud puts the certificate of its authority, beside the Lease,
            for nodes that enrol with such tokens; "" for nowhere.
        lease_namespace, lease_name: of the Lease that one of several clouds holds.
        lease_seconds: after which a Lease that is not renewed is another's to take.
        renew_deadline_seconds: after which its holder gives up when it cannot renew it.
        renew_seconds: between two renewals, or two looks at another's.
    """

    server: str = ""
    kubeconfig: str = ""
    context: str = ""
    token_file: str = ""
    ca_file: str = ""
    dial_seconds: Seconds = 10.0
    request_seconds: Seconds = 60.0
    watch_seconds: Seconds = 300.0
    silence_seconds: Seconds = 90.0
    metaserver_seconds: Seconds = 30.0
    missing_seconds: Seconds = 30.0
    metaserver_missing_seconds: Seconds = 300.0
    first_retry_seconds: Seconds = 0.5
    max_retry_seconds: Seconds = 30.0
    max_retry_after_seconds: Seconds = 300.0
    page_objects: Count = 500
    batch_objects: Count = 200
    max_list_bytes: Count = 64 * 1024 * 1024
    max_line_bytes: Count = 8 * 1024 * 1024
    pods: Literal["needed", "all"] = "needed"
    write_status: bool = True
    status_seconds: Seconds = 1.0
    status_batch: Count = 200
    rule_status_seconds: Seconds = 5.0
    event_seconds: Seconds = 3600.0
    max_events: Count = 1000
    agent_service_account: str = "system:serviceaccount:edgemesh:edgemesh-agent"
    agent_audience: str = "edgemesh"
    max_reviews: Count = 16
    authority_config_map: str = "edgemesh-authority"
    lease_namespace: str = "edgemesh"
    lease_name: str = "edgemesh-cloud"
    lease_seconds: Seconds = 15.0
    renew_deadline_seconds: Seconds = 10.0
    renew_seconds: Seconds = 2.0
