"""A node may ask and write for itself only; every refusal has a name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from captured import FRAMES
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.policy.bus.authorization import Forbidden, Refused, refuse
from edgemesh.wire.kubeedge import application, session
from edgemesh.wire.kubeedge.application import new_application
from edgemesh.wire.message import Message, Stamp, new_message

NODE = "node-a"
STAMP = Stamp("1", 0)


class Pods:
    """Holdings: one Pod that uses one ConfigMap and one Secret."""

    def has_pod(self, namespace: str, name: str) -> bool:
        return (namespace, name) == ("default", "web")

    def uses(self, kind: str, namespace: str, name: str) -> bool:
        return (kind, namespace, name) in {
            ("configmap", "default", "config"),
            ("secret", "default", "key"),
        }


def said(
    operation: str,
    resource: str,
    content: Any = None,
    *,
    source: str = "edged",
    group: str = "meta",
    parent: str = "",
) -> Message:
    return new_message(
        STAMP,
        source=source,
        group=group,
        operation=operation,
        resource=resource,
        content=content,
        parent=parent,
    )


def judged(message: Message) -> Refused | None:
    return refuse(message, NODE, Pods())


def named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


def wants(verb: str, key: str, node: str = NODE) -> Message:
    return application.ask(new_application(node, key, verb), STAMP)


@pytest.mark.parametrize(
    "message",
    [
        session.keepalive(STAMP),
        said("response", "null/node/other", "OK", source="edgecontroller", parent="2"),
        said("query", f"default/node/{NODE}"),
        said("insert", f"null/node/{NODE}", named(NODE)),
        said("update", f"null/node/{NODE}", named(NODE)),
        said("patch", f"default/nodepatch/{NODE}", "{}"),
        said("query", f"kube-node-lease/lease/{NODE}"),
        said("insert", f"kube-node-lease/lease/{NODE}", named(NODE)),
        said("update", f"null/nodelink/{NODE}", {"addresses": []}),
        said("query", "all/sync", {"store": "", "revision": 0}, source="edgehub"),
        said("query", "default/pod/web"),
        said("patch", "default/podpatch/web", "{}"),
        said("delete", "default/pod/web", {"uid": "1"}),
        said("query", "default/configmap/config"),
        said("query", "default/secret/key"),
        said("upload", "default/topic", source="bus", group="user"),
        said("upload", "", source="servicebus", group="user", parent="2"),
        said("", "", source="servicebus", group="user", parent="2"),
        wants("list", "/core/v1/services/null/null"),
        wants("watch", "/discovery.k8s.io/v1/endpointslices/null/null"),
        wants("get", "/core/v1/secrets/default/key"),
        wants("get", "/core/v1/configmaps/default/config"),
        wants("list", "/secrets.io/v1/secrets/null/null"),
        wants("get", "/version"),
    ],
    ids=lambda message: f"{message.route.operation} {message.route.resource}",
)
def test_what_is_its_own_a_node_may(message: Message) -> None:
    assert judged(message) is None


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        (said("query", "default/node/b"), Forbidden.OTHER_NODE, "'default/node/b' does not belong"),
        (said("patch", "default/nodepatch/b", "{}"), Forbidden.OTHER_NODE, "nodepatch/b"),
        (said("update", "null/nodelink/b", {}), Forbidden.OTHER_NODE, "nodelink/b"),
        (said("query", "kube-node-lease/lease/b"), Forbidden.OTHER_NODE, "lease/b"),
        (said("update", f"default/lease/{NODE}", named(NODE)), Forbidden.OTHER_NODE, "default/"),
        (said("insert", f"null/node/{NODE}", named("b")), Forbidden.OTHER_NODE, "name 'b'"),
        (said("insert", f"null/node/{NODE}", "x"), Forbidden.OTHER_NODE, "metadata.name None"),
        (said("insert", f"null/node/{NODE}", {}), Forbidden.OTHER_NODE, "metadata.name None"),
        (said("query", "default/pod/other"), Forbidden.OTHER_NODE, "default/pod/other"),
        (said("patch", "default/podpatch/other"), Forbidden.OTHER_NODE, "podpatch/other"),
        (said("query", "default/secret/other"), Forbidden.NOT_USED_HERE, "secret/other"),
        (said("query", "default/configmap"), Forbidden.NOT_USED_HERE, "default/configmap"),
        (said("delete", f"null/node/{NODE}"), Forbidden.UNKNOWN_OPERATION, "'delete' of"),
        (said("insert", "all/sync"), Forbidden.UNKNOWN_OPERATION, "'insert' of 'all/sync'"),
        (said("publish", "t", group="user"), Forbidden.UNKNOWN_OPERATION, "'publish' of 't'"),
        (said("query", "default/service/web"), Forbidden.UNKNOWN_RESOURCE, "default/service/web"),
        (said("query", "node/b/default/pod/web"), Forbidden.MALFORMED, "is not namespace/type"),
        (said("query", ""), Forbidden.MALFORMED, "'' is not namespace/type"),
        (
            said("insert", f"null/node/{NODE}", named(NODE), source="edgecontroller"),
            Forbidden.FORGED_SOURCE,
            "source 'edgecontroller'",
        ),
        (
            said("upload", "x", source="router_servicebus", group="user"),
            Forbidden.FORGED_SOURCE,
            "router_servicebus",
        ),
        (wants("list", "/core/v1/pods/null/null", "b"), Forbidden.OTHER_NODE, "of node 'b'"),
        (wants("delete", "/core/v1/services/default/web"), Forbidden.READ_ONLY, "'delete' of"),
        (wants("list", "/core/v1/secrets/null/null"), Forbidden.NOT_USED_HERE, "secrets/null"),
        (wants("get", "/core/v1/secrets/default/x"), Forbidden.NOT_USED_HERE, "default/x"),
        (wants("get", "/a"), Forbidden.MALFORMED, "key '/a' is not"),
        (
            said("null", "null", 5, source="metaserver", group="dynamiccontroller"),
            Forbidden.MALFORMED,
            "not an Application",
        ),
    ],
    ids=lambda value: value.route.resource if isinstance(value, Message) else str(value),
)
def test_what_is_not_its_own_is_refused_by_name(
    message: Message, reason: Forbidden, words: str
) -> None:
    refused = judged(message)
    assert refused is not None
    assert refused.reason is reason
    assert words in refused.problem


def test_one_foreign_watch_among_those_of_a_node_is_refused() -> None:
    own = new_application(NODE, "/core/v1/services/null/null", "watch")
    foreign = new_application("b", "/core/v1/services/null/null", "watch")

    def synchronise(*watches: application.Application) -> Refused | None:
        return judged(
            said(
                "null",
                "watchapp/sync",
                {each.id: each for each in watches},
                source="metaserver",
                group="dynamiccontroller",
            )
        )

    assert synchronise(own) is None
    refused = synchronise(own, foreign)
    assert refused is not None
    assert refused.reason is Forbidden.OTHER_NODE


def test_everything_that_edgecore_was_recorded_to_say_of_itself_is_granted() -> None:
    """But for writing Services through MetaServer, which our cloud leaves to its operators."""

    class All:
        def has_pod(self, namespace: str, name: str) -> bool:
            return bool(namespace and name)

        def uses(self, kind: str, namespace: str, name: str) -> bool:
            return bool(kind and namespace and name)

    reasons = set()
    for each in FRAMES:
        if each.down or not each.real:
            continue
        node = "cap-edged" if each.session == "registration" else "cedge2"
        refused = refuse(each.message, node, All())
        if refused is not None:
            reasons.add(refused.reason)
    assert reasons == {Forbidden.READ_ONLY}


texts = st.sampled_from(["", "null", "default", "node", "b", NODE, "all", "sync", "lease", "/"])


@given(
    st.text(max_size=8) | st.sampled_from(["query", "insert", "update", "patch", "delete"]),
    st.lists(texts, max_size=6).map("/".join),
    st.sampled_from(["meta", "resource", "user", "dynamiccontroller", ""]),
    st.sampled_from(["edged", "metaserver", "edgecontroller", ""]),
    st.recursive(st.none() | st.text(max_size=3), lambda each: st.lists(each, max_size=2)),
)
def test_any_message_is_granted_or_refused_and_none_about_another_node_is_granted(
    operation: str, resource: str, group: str, source: str, content: Any
) -> None:
    message = said(operation, resource, content, source=source, group=group)
    refused = judged(message)
    if refused is None and operation in {"query", "insert", "update", "patch", "delete"}:
        assert group == "user" or resource == "all/sync" or resource.endswith(f"/{NODE}")


def test_long_names_do_not_fill_the_log() -> None:
    refused = judged(said("query", "default/node/" + "b" * 100_000))
    assert refused is not None
    assert len(refused.problem) < 1000
    assert msgspec.json.encode(refused.problem)
