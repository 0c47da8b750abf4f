"""Applications are answered out of our store as the Kubernetes API would answer them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edgemesh.policy.bus.metaserver import Body, answer_application, refuse_application
from edgemesh.wire.kubeedge.application import Application, new_application
from edgemesh.wire.message import MessageError

SERVICES = "/core/v1/services/null/null"


def body(name: str, namespace: str = "default", **labels: str) -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"kind": "?", "apiVersion": "?", "metadata": {"name": name, **place, "labels": labels}}


class Stored:
    """Three Services, a Node and a DestinationRule."""

    revision = 42

    def __init__(self) -> None:
        self.objects = {
            ("Service", "default", "web"): body("web", app="web"),
            ("Service", "default", "db"): body("db", app="db"),
            ("Service", "other", "web"): body("web", "other"),
            ("Node", "", "a"): body("a", ""),
            ("DestinationRule", "default", "web"): body("web"),
        }

    def get(self, kind: str, namespace: str, name: str) -> Body | None:
        return self.objects.get((kind, namespace, name))

    def list(self, kind: str, namespace: str) -> list[Body]:
        return [
            each
            for (of, within, _), each in self.objects.items()
            if of == kind and namespace in {"", within}
        ]


def ask(verb: str, key: str, **options: Any) -> Application:
    option = msgspec.json.encode(options)
    return answer_application(new_application("a", key, verb, option=option), Stored())


def listed(answered: Application) -> list[tuple[str, str]]:
    assert answered.status == "Approved", answered
    found = [each["metadata"] for each in answered.response()["items"]]
    return [(each.get("namespace", ""), each["name"]) for each in found]


def test_one_object_is_got_in_the_version_that_was_asked_for() -> None:
    for version in ("v1", "v1beta1", "v1alpha3"):
        key = f"/networking.istio.io/{version}/destinationrules/default/web"
        found = ask("get", key).response()
        assert found["apiVersion"] == f"networking.istio.io/{version}"
        assert found["kind"] == "DestinationRule"


def test_what_is_in_no_namespace_is_got_in_any() -> None:
    assert ask("get", "/core/v1/nodes/default/a").response()["metadata"]["name"] == "a"
    assert listed(ask("list", "/core/v1/nodes/default/null")) == [("", "a")]


def test_what_is_missing_is_rejected_with_kubernetes_status() -> None:
    answered = ask("get", "/core/v1/services/default/no")
    assert answered.status == "Rejected"
    assert answered.error_status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'services "no" not found',
        "reason": "NotFound",
        "details": {"name": "no", "kind": "services"},
        "code": 404,
    }


def test_a_list_says_its_kind_and_its_revision() -> None:
    answered = ask("list", SERVICES)
    assert listed(answered) == [("default", "web"), ("default", "db"), ("other", "web")]
    whole = answered.response()
    assert (whole["kind"], whole["apiVersion"]) == ("ServiceList", "v1")
    assert whole["metadata"] == {"resourceVersion": "42"}
    assert {(each["kind"], each["apiVersion"]) for each in whole["items"]} == {("Service", "v1")}


@pytest.mark.parametrize(
    ("key", "options", "expected"),
    [
        ("/core/v1/services/default/null", {}, [("default", "web"), ("default", "db")]),
        ("/core/v1/services/null/web", {}, [("default", "web"), ("other", "web")]),
        (SERVICES, {"labelSelector": "app=web"}, [("default", "web")]),
        (SERVICES, {"labelSelector": "!app"}, [("other", "web")]),
        (SERVICES, {"fieldSelector": "metadata.name=db"}, [("default", "db")]),
        (SERVICES, {"fieldSelector": "metadata.namespace==other"}, [("other", "web")]),
        ("/core/v1/pods/null/null", {}, []),
    ],
)
def test_a_list_is_of_what_was_selected(
    key: str, options: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    assert listed(ask("list", key, **options)) == expected


@pytest.mark.parametrize(
    "key",
    [
        "/core/v1/things/null/null",
        "/core/v2/services/null/null",
        "/apps/v1/services/null/null",
        "/core/v1/svc/null/null",
        "/apis",
    ],
)
def test_a_resource_that_is_not_kept_is_rejected_in_cloudcores_words(key: str) -> None:
    answered = ask("get" if key == "/apis" else "list", key)
    assert answered.status == "Rejected"
    assert answered.reason.endswith("the server could not find the requested resource")


def test_watches_are_refused() -> None:
    answered = ask("watch", SERVICES)
    assert answered.error_status is not None
    assert answered.error_status["code"] == 403
    assert "'watch' is not served" in answered.error_status["message"]


def test_version_and_health_are_told() -> None:
    assert ask("get", "/version").response() == {"gitVersion": "edgemesh"}
    assert ask("get", "/healthz").response_body == "b2s="


def test_a_selector_that_is_none_is_rejected() -> None:
    answered = ask("list", SERVICES, labelSelector="a=b=c")
    assert answered.error_status is not None
    assert answered.error_status["code"] == 400
    for selector in ("spec.x=1", "metadata.name!=x", "metadata.name"):
        with pytest.raises(MessageError, match="field selector"):
            ask("list", SERVICES, fieldSelector=selector)


def test_a_refusal_says_why() -> None:
    asked = new_application("a", SERVICES, "delete")
    refused = refuse_application(asked, "words")
    assert refused.error_status is not None
    assert (refused.status, refused.error_status["message"]) == ("Rejected", "words")
