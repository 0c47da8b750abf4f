"""EdgeMesh's configuration becomes ours, and every key of it is told of."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from edgemesh_agent_config import COMPLETE

from edgemesh.cli.imports import import_file
from edgemesh.deploy.chart import default_values
from edgemesh.deploy.edgemesh_agent import Imported, import_agent
from edgemesh.deploy.edgemesh_keys import KEYS, Fate
from edgemesh.deploy.values import combine
from edgemesh.deploy.yaml_text import read_mapping
from edgemesh.model.configuration import read_settings
from edgemesh.model.errors import OperatorError


def imported(text: str) -> Imported:
    return import_agent(text.encode(), "edgemesh-agent.yaml")


def only(text: str) -> tuple[Fate, dict[str, Any]]:
    """What became of the only key of a file."""
    result = imported(text)
    [judged] = result.keys
    return judged.outcome.fate, result.settings


def test_all_of_edgemeshs_keys_are_known() -> None:
    unknown = [each.key for each in imported(COMPLETE).keys if each.outcome.fate is Fate.UNKNOWN]
    assert unknown == []


def test_no_key_is_known_that_edgemesh_never_had() -> None:
    older = {"commonConfig.dummyDeviceName", "commonConfig.dummyDeviceIP"}
    beta = {key for key in KEYS if key.startswith("modules.edgeCNI.")}
    assert set(KEYS) - older - beta <= {each.key for each in imported(COMPLETE).keys}


def test_what_is_taken_means_the_same() -> None:
    assert imported(COMPLETE).settings == {
        "kubernetes": {
            "server": "https://127.0.0.1:10550",
            "token_file": "/var/run/secrets/kubernetes.io/serviceaccount/token",
            "ca_file": "/etc/edgemesh/metaserver/rootCA.crt",
        },
        "dns": {
            "enabled": True,
            "listen": ["169.254.96.16:5353"],
            "upstreams": ["10.96.0.10"],
            "cache_max_ttl_seconds": 60,
        },
        "netfilter": {"enabled": True},
        "bus": {
            "links": "auto",
            "link_listen": ["0.0.0.0:20007", "[::]:20007"],
            "max_streams": 2048,
        },
        "admin": {"listen": "0.0.0.0:9999"},
    }


def test_what_is_printed_is_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "edgemesh-agent.yaml"
    path.write_text(COMPLETE)
    import_file(path)
    printed = tomllib.loads(capsys.readouterr().out)
    assert printed == imported(COMPLETE).settings
    assert read_settings(printed, "printed").bus.max_streams == 2048


def test_every_key_is_told_of_with_what_became_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "edgemesh-agent.yaml"
    path.write_text(COMPLETE)
    import_file(path)
    told = capsys.readouterr().out
    for judged in imported(COMPLETE).keys:
        assert f"{judged.outcome.fate:<14}{judged.key} = " in told


def test_values_for_the_chart_lead_agents_to_the_same_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "edgemesh-agent.yaml"
    path.write_text(COMPLETE)
    import_file(path, values=True)
    given = read_mapping(capsys.readouterr().out.encode(), "printed")
    values = combine(default_values(), [given])
    agent = values["agent"]
    assert values["cloud"]["enabled"] is False
    assert (agent["follow"], agent["server"]) == ("kubernetes", "https://127.0.0.1:10550")
    assert (agent["adminPort"], agent["adminPublic"]) == (9999, True)
    assert "admin" not in agent["config"]
    assert agent["config"]["dns"]["listen"] == ["169.254.96.16:5353"]


def test_who_names_no_server_is_told_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "edgemesh-agent.yaml"
    path.write_text("modules: {edgeProxy: {enable: true}}")
    import_file(path)
    assert "set bus.cloud" in capsys.readouterr().out


def test_the_configmap_that_holds_the_file_does_too() -> None:
    body = {"kind": "ConfigMap", "data": {"edgemesh-agent.yaml": COMPLETE}}
    assert imported(json.dumps(body)).settings == imported(COMPLETE).settings


@pytest.mark.parametrize(
    ("text", "fate"),
    [
        ("modules: {edgeProxy: {socks5Proxy: {enable: true}}}", Fate.NOT_SUPPORTED),
        ("modules: {edgeProxy: {socks5Proxy: {enable: false}}}", Fate.NOT_NEEDED),
        ("modules: {edgeProxy: {serviceFilterMode: FilterIfLabelExists}}", Fate.NOT_NEEDED),
        (
            "modules: {edgeProxy: {serviceFilterMode: FilterIfLabelDoesNotExists}}",
            Fate.NOT_SUPPORTED,
        ),
        (
            "modules: {edgeProxy: {loadBalancer: {consistentHash: {load: 1.25}}}}",
            Fate.ELSEWHERE,
        ),
        ("modules: {edgeTunnel: {transport: quic}}", Fate.NOT_SUPPORTED),
        ("modules: {edgeTunnel: {listenInterfaces: eth0}}", Fate.NOT_SUPPORTED),
        ("modules: {edgeTunnel: {metricConfig: {enable: false}}}", Fate.NOT_NEEDED),
        ("modules: {edgeTunnel: {metricConfig: {port: 9999}}}", Fate.NOT_NEEDED),
        (
            "modules: {edgeTunnel: {tunnelLimitConfig: {tunnelPeerBaseStreamIn: 5}}}",
            Fate.NOT_NEEDED,
        ),
        ("modules: {edgeDNS: {cacheDNS: {upstreamServers: []}}}", Fate.NOT_NEEDED),
        ("modules: {edgeCNI: {enable: true}}", Fate.NOT_SUPPORTED),
        ("modules: {edgeProxy: {speed: 5}}", Fate.UNKNOWN),
        ("kubeAPIConfig: {kubeConfig: ''}", Fate.NOT_NEEDED),
        ("kubeAPIConfig: {metaServer: {security: {tlsCaFile: /a}}}", Fate.NOT_NEEDED),
        (
            "kubeAPIConfig: {metaServer: {security: {insecureSkipTLSVerify: true}}}",
            Fate.NOT_SUPPORTED,
        ),
    ],
)
def test_what_cannot_be_taken_is_told_apart(text: str, fate: Fate) -> None:
    assert only(text) == (fate, {})


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (
            "kubeAPIConfig: {master: 'https://192.0.2.1:6443'}",
            {"kubernetes": {"server": "https://192.0.2.1:6443"}},
        ),
        (
            "kubeAPIConfig: {kubeConfig: /root/.kube/config}",
            {"kubernetes": {"server": "kubeconfig", "kubeconfig": "/root/.kube/config"}},
        ),
        ("commonConfig: {dummyDeviceIP: 169.254.1.1}", {"dns": {"listen": ["169.254.1.1:53"]}}),
        ("commonConfig: {bridgeDeviceIP: 'fd00::1'}", {"dns": {"listen": ["[fd00::1]:53"]}}),
        ("modules: {edgeTunnel: {enable: false}}", {"bus": {"links": "off"}}),
        ("modules: {edgeProxy: {enable: false}}", {"netfilter": {"enabled": False}}),
    ],
)
def test_a_key_is_taken(text: str, settings: dict[str, Any]) -> None:
    assert only(text) == (Fate.TAKEN, settings)


def test_of_two_servers_the_kubeconfigs_is_asked() -> None:
    result = imported("kubeAPIConfig: {master: 'https://192.0.2.1', kubeConfig: /root/config}")
    assert result.settings["kubernetes"]["server"] == "kubeconfig"
    fates = {each.key: each.outcome.fate for each in result.keys}
    assert fates["kubeAPIConfig.master"] is Fate.NOT_SUPPORTED


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("modules: [", "edgemesh-agent.yaml: document 1"),
        ("[]", "expected one mapping"),
        ("", "no configuration of EdgeMesh's agent"),
        ("a: b", "no configuration of EdgeMesh's agent"),
        ("{kind: EdgeMeshGateway, modules: {}}", "kind is EdgeMeshGateway, expected EdgeMeshAgent"),
        ("{kind: ConfigMap, data: {psk: a}}", "the ConfigMap has no edgemesh-agent.yaml"),
        ("modules: {edgeDNS: {listenPort: 0}}", "edgeDNS.listenPort = 0: expected a port"),
        ("modules: {edgeDNS: {listenPort: true}}", "listenPort = True: expected a number"),
        ("modules: {edgeDNS: {enable: maybe}}", "enable = 'maybe': expected true or false"),
        ("commonConfig: {bridgeDeviceIP: edge}", "bridgeDeviceIP = 'edge': expected an address"),
        ("modules: {edgeDNS: {cacheDNS: {cacheTTL: -1}}}", "dns.cache_max_ttl_seconds = -1"),
        ("modules: {edgeTunnel: {transport: udp}}", "expected tcp, ws or quic"),
        ("modules: {edgeProxy: {serviceFilterMode: a}}", "expected FilterIfLabelExists or"),
        ("modules: {edgeDNS: {cacheDNS: {upstreamServers: a}}}", "expected a list of addresses"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(text: str, problem: str) -> None:
    with pytest.raises(OperatorError, match=problem):
        imported(text)
