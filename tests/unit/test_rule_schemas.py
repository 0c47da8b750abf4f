"""Our definitions of Rule and RuleEndpoint are KubeEdge's: clusters may have either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from crd_schema import problems

from edgemesh.deploy.chart import chart_directory
from edgemesh.wire.kubernetes.decoding import examine

KUBEEDGE = Path(__file__).parents[3] / "shared/manifests/kubeedge-router"
DEFINITIONS = {"rules": "router_v1_rule.yaml", "ruleendpoints": "router_v1_ruleEndpoint.yaml"}
OBJECTS = sorted(path.name for path in KUBEEDGE.glob("rule*-*.yaml"))


def ours(plural: str) -> dict[str, Any]:
    body: dict[str, Any] = yaml.safe_load((chart_directory() / f"files/{plural}.yaml").read_text())
    return body


def plain(value: Any) -> Any:
    """Without what is there for readers, or said of every object anyway."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    left_out = {"description", "apiVersion", "kind", "metadata", "listKind"}
    # A field may be called description, but then it is a schema.
    return {
        key: plain(each)
        for key, each in value.items()
        if key not in left_out or (key == "kind" and value.get("plural"))
    }


@pytest.mark.parametrize(("plural", "file"), DEFINITIONS.items())
def test_the_definition_says_what_kubeedges_says(plural: str, file: str) -> None:
    theirs = yaml.safe_load((KUBEEDGE / file).read_text())
    assert plain(ours(plural)["spec"]) == plain(theirs["spec"])
    assert ours(plural)["metadata"]["name"] == theirs["metadata"]["name"]


@pytest.mark.parametrize("name", OBJECTS)
def test_kubeedges_examples_are_accepted_by_schema_and_decoder(name: str) -> None:
    body = yaml.safe_load((KUBEEDGE / name).read_text())
    plural = "rules" if body["kind"] == "Rule" else "ruleendpoints"
    assert problems(ours(plural), body) == []
    assert examine(body).problems == ()


def test_a_type_that_no_endpoint_has_is_refused() -> None:
    body = {"kind": "RuleEndpoint", "spec": {"ruleEndpointType": "api"}}
    [problem] = problems(ours("ruleendpoints"), body)
    assert "'api' is not one of ['rest', 'eventbus', 'servicebus']" in problem


def test_the_examples_are_there() -> None:
    assert len(OBJECTS) == 6
