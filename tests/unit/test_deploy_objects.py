"""What `edgemesh deploy render` prints is valid, and asks for no more than is needed."""

from __future__ import annotations

import copy
import functools
import json
import tomllib
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deploy_values import ADDRESS, VALUE_SETS
from jsonschema import Draft7Validator, ValidationError
from kubernetes_validate import utils

import edgemesh
from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.cloud.authority import CERTIFICATE
from edgemesh.cloud.followed import FOLLOWED_KINDS
from edgemesh.deploy.chart import chart_directory, default_values, render
from edgemesh.deploy.values import combine, values_schema
from edgemesh.model.errors import OperatorError
from edgemesh.model.kinds import KINDS
from edgemesh.model.kubernetes_settings import KubernetesSettings

MINORS = ("1.25", "1.31", "1.37")
# Those that a cluster has from elsewhere, whose schemas nobody carries.
FOREIGN = {"PodMonitor"}


def bodies(name: str) -> list[dict[str, Any]]:
    return copy.deepcopy(_rendered(name))


@functools.cache
def _rendered(name: str) -> list[dict[str, Any]]:
    return [document.body for document in render("mesh", [VALUE_SETS[name]])]


def only(name: str, kind: str, component: str) -> dict[str, Any]:
    """The one object of a kind that is called after a component."""
    [found] = [
        body
        for body in bodies(name)
        if body["kind"] == kind and body["metadata"]["name"] == f"edgemesh-{component}"
    ]
    return found


def container(name: str, kind: str, component: str) -> dict[str, Any]:
    [found] = only(name, kind, component)["spec"]["template"]["spec"]["containers"]
    return found


def variables(found: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in found["env"]}


@pytest.fixture
def _schemas_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))


@pytest.mark.usefixtures("_schemas_are_read_once")
@pytest.mark.parametrize("name", VALUE_SETS)
@pytest.mark.parametrize("minor", MINORS)
def test_every_object_is_valid_in_strict_mode(minor: str, name: str) -> None:
    for body in bodies(name):
        if body["kind"] not in FOREIGN:
            kubernetes_validate.validate(body, minor, strict=True)


@pytest.mark.usefixtures("_schemas_are_read_once")
def test_strict_mode_refuses_a_field_that_does_not_exist() -> None:
    body = only("defaults", "DaemonSet", "agent")
    body["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenessProb"):
        kubernetes_validate.validate(body, MINORS[-1], strict=True)


@pytest.mark.parametrize("name", VALUE_SETS)
def test_no_object_is_there_twice(name: str) -> None:
    names = [(body["kind"], body["metadata"]["name"]) for body in bodies(name)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", VALUE_SETS)
def test_what_is_named_is_there(name: str) -> None:
    found = bodies(name)
    have = {(body["kind"], body["metadata"]["name"]) for body in found}
    assert set(_references(found)) - have <= {("PersistentVolumeClaim", "kept")}


def _references(found: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for body in found:
        if "roleRef" in body:
            yield body["roleRef"]["kind"], body["roleRef"]["name"]
            yield from ((each["kind"], each["name"]) for each in body["subjects"])
        if body["kind"] in {"DaemonSet", "Deployment"}:
            pod = body["spec"]["template"]["spec"]
            yield "ServiceAccount", pod["serviceAccountName"]
            for volume in pod["volumes"]:
                if "configMap" in volume:
                    yield "ConfigMap", volume["configMap"]["name"]
                if "persistentVolumeClaim" in volume:
                    yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]


@pytest.mark.parametrize("name", VALUE_SETS)
def test_every_mount_has_its_volume_and_every_volume_a_mount(name: str) -> None:
    for body in bodies(name):
        if body["kind"] in {"DaemonSet", "Deployment"}:
            pod = body["spec"]["template"]["spec"]
            [each] = pod["containers"]
            mounted = {mount["name"] for mount in each["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("name", VALUE_SETS)
def test_the_configuration_is_one_that_edgemesh_reads(name: str) -> None:
    given = VALUE_SETS[name]
    for body in bodies(name):
        if body["kind"] == "ConfigMap":
            component = body["metadata"]["name"].removeprefix("edgemesh-")
            wanted = given.get(component, {}).get("config", {})
            assert tomllib.loads(body["data"]["edgemesh.toml"]) == wanted


def test_agents_of_a_cloud_may_ask_the_api_server_nothing() -> None:
    kinds = {body["kind"] for body in bodies("defaults") if "agent" in body["metadata"]["name"]}
    assert kinds == {"ServiceAccount", "ConfigMap", "DaemonSet"}
    pod = only("defaults", "DaemonSet", "agent")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False


def test_an_agent_of_a_cloud_shows_a_token_that_is_good_for_enrolment_only() -> None:
    pod = only("defaults", "DaemonSet", "agent")["spec"]["template"]["spec"]
    [token] = [volume for volume in pod["volumes"] if volume["name"] == "token"]
    source, authority = token["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "edgemesh"
    settings = KubernetesSettings()
    assert authority["configMap"] == {"name": settings.authority_config_map, "optional": True}
    given = variables(container("defaults", "DaemonSet", "agent"))
    file = given["EDGEMESH_BUS_TOKEN_FILE"]
    assert given["EDGEMESH_BUS_AUTHORITY_FILE"] == file.replace("/token", f"/{CERTIFICATE}")
    mounts = container("defaults", "DaemonSet", "agent")["volumeMounts"]
    assert {"name": "token", "mountPath": file.removesuffix("/token"), "readOnly": True} in mounts


def test_agents_of_an_api_server_may_read_and_nothing_else() -> None:
    rules = only("api-server", "ClusterRole", "agent")["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}


def test_an_agent_follows_either_a_cloud_or_an_api_server() -> None:
    by_cloud = variables(container("everything", "DaemonSet", "agent"))
    directly = variables(container("metaserver", "DaemonSet", "agent"))
    assert by_cloud["EDGEMESH_BUS_CLOUD"] == "[2001:db8::1]:10000"
    assert "EDGEMESH_KUBERNETES_SERVER" not in by_cloud
    assert directly["EDGEMESH_KUBERNETES_SERVER"] == "http://127.0.0.1:10550"
    assert "EDGEMESH_BUS_CLOUD" not in directly


def test_whoever_is_judged_can_be_told() -> None:
    rules = only("defaults", "ClusterRole", "cloud")["rules"]
    patched = {each for rule in rules if "patch" in rule["verbs"] for each in rule["resources"]}
    judged = {f"{kind.plural}/status" for kind in KINDS if kind.judged}
    assert patched == judged | {"rules", "rules/status"}


@pytest.mark.parametrize(("name", "component"), [("defaults", "cloud"), ("api-server", "agent")])
def test_whoever_follows_may_read_what_is_followed_and_nothing_else(
    name: str, component: str
) -> None:
    rules = only(name, "ClusterRole", component)["rules"]
    allowed = {
        (group, plural)
        for rule in rules
        if "watch" in rule["verbs"]
        for group in rule["apiGroups"]
        for plural in rule["resources"]
    }
    followed = {
        (version.rpartition("/")[0], kind.plural)
        for kind in FOLLOWED_KINDS
        for version in kind.api_versions
    }
    assert allowed == followed


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_replicas_find_each_other_by_addresses_of_both_families(address: str) -> None:
    given = variables(container("replicas", "Deployment", "cloud"))
    found = given["EDGEMESH_CLOUD_REPLICA_ADDRESS"].replace("$(POD_IP)", address)
    assert CloudAddress.parse(found) == (address, 10000)


def test_the_cloud_is_no_root_and_changes_nothing_of_its_image() -> None:
    pod = only("defaults", "Deployment", "cloud")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    security = pod["containers"][0]["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("seconds", [30, 120])
def test_an_agent_has_the_time_to_drain(seconds: int) -> None:
    documents = render("mesh", [ADDRESS, {"agent": {"drainSeconds": seconds}}])
    [pod] = [
        each.body["spec"]["template"]["spec"]
        for each in documents
        if each.body["kind"] == "DaemonSet"
    ]
    assert variables(pod["containers"][0])["EDGEMESH_PROXY_DRAIN_GRACE_SECONDS"] == str(seconds)
    assert pod["terminationGracePeriodSeconds"] > seconds


def test_another_configuration_makes_other_pods() -> None:
    def template(config: dict[str, Any]) -> Any:
        documents = render("mesh", [ADDRESS, {"agent": {"config": config}}])
        [body] = [each.body for each in documents if each.body["kind"] == "DaemonSet"]
        return body["spec"]["template"]

    assert template({"proxy": {"tcp_port": 1}}) != template({"proxy": {"tcp_port": 2}})


@pytest.mark.parametrize("name", VALUE_SETS)
def test_kubernetes_asks_where_the_agent_answers(name: str) -> None:
    agent = container(name, "DaemonSet", "agent")
    address, _, port = variables(agent)["EDGEMESH_ADMIN_LISTEN"].rpartition(":")
    assert address in {"127.0.0.1", "0.0.0.0"}
    [served] = agent["ports"]
    assert served == {
        "name": "admin",
        "containerPort": int(port),
        "hostPort": int(port),
        "protocol": "TCP",
    }
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = agent[probe]["httpGet"]
        assert (asked["host"], asked["port"]) == ("127.0.0.1", "admin")


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ({}, "127.0.0.1:15020"),
        ({"agent": {"adminPublic": True, "adminPort": 9999}}, "0.0.0.0:9999"),
        ({"podMonitor": {"enabled": True}}, "0.0.0.0:15020"),
    ],
)
def test_nobody_else_reads_metrics_unless_told_so(values: dict[str, Any], address: str) -> None:
    [body] = [
        each.body for each in render("mesh", [ADDRESS, values]) if each.body["kind"] == "DaemonSet"
    ]
    [agent] = body["spec"]["template"]["spec"]["containers"]
    assert variables(agent)["EDGEMESH_ADMIN_LISTEN"] == address


def test_namespace_and_definitions_come_before_what_needs_them() -> None:
    kinds = [body["kind"] for body in bodies("everything")]
    assert kinds[0] == "Namespace"
    assert kinds.index("CustomResourceDefinition") == 1
    assert kinds.index("ServiceAccount") < kinds.index("DaemonSet")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "cloud.address is needed"),
        ({"cloud": {"address": "a", "replicas": 2}}, "several replicas need cloud.postgresql"),
        ({"cloud": {"address": "a b"}}, "cloud.address: expected `str` matching"),
        ({"cloud": {"adress": "a"}}, "cloud: object contains unknown field `adress`"),
        ({"cloud": None}, "cloud: expected `object`, got `null`"),
        ({"agent": {"follow": "nobody"}}, "agent.follow: invalid enum value 'nobody'"),
        ({"agent": {"config": {"dns": {"tll": 5}}}}, "unknown key dns.tll"),
    ],
)
def test_values_that_do_not_do_are_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(OperatorError, match=problem):
        render("mesh", [values])


def test_the_chart_has_this_version() -> None:
    facts = yaml.safe_load((chart_directory() / "Chart.yaml").read_text())
    assert facts["version"] == facts["appVersion"] == edgemesh.__version__


def test_helm_is_given_the_same_types_as_render() -> None:
    shipped = json.loads((chart_directory() / "values.schema.json").read_text())
    assert shipped == values_schema(), "write values_schema() to chart/values.schema.json"


@pytest.mark.parametrize("name", VALUE_SETS)
def test_helm_accepts_what_render_accepts(name: str) -> None:
    Draft7Validator(values_schema()).validate(combine(default_values(), [VALUE_SETS[name]]))


def test_helm_refuses_a_value_that_does_not_exist() -> None:
    values = {**default_values(), "cluod": {}}
    with pytest.raises(ValidationError, match="'cluod' was unexpected"):
        Draft7Validator(values_schema()).validate(values)


def test_every_default_is_said_in_values_yaml() -> None:
    """A value without one would be unknown to who reads the file."""
    schema = values_schema()

    def check(found: Any, kind: dict[str, Any], path: str) -> None:
        kind = schema["$defs"][kind["$ref"].rpartition("/")[2]] if "$ref" in kind else kind
        assert set(kind.get("properties", {})) - {"global"} <= set(found), path
        for key, value in found.items():
            if isinstance(value, dict) and "properties" in kind:
                check(value, kind["properties"][key], f"{path}.{key}")

    check(default_values(), schema, "values")
