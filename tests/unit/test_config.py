"""The configuration: where it comes from, and what a mistake in it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemesh.app.config import load_settings
from edgemesh.model.errors import OperatorError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "edgemesh.toml"
    path.write_text(text)
    return path


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'node = "file"\n[proxy]\ntcp_port = 1\nudp_port = 2\nsource = "node"')
    settings = load_settings(
        path,
        {"proxy": {"tcp_port": 5, "udp_port": None}, "node": None},
        {"EDGEMESH_PROXY_UDP_PORT": "4", "EDGEMESH_PROXY_TCP_PORT": "3", "EDGEMESH_NODE": "env"},
    )
    assert (settings.node, settings.proxy.tcp_port, settings.proxy.udp_port) == ("env", 5, 4)


def test_a_list_in_the_environment_is_separated_by_commas(tmp_path: Path) -> None:
    variables = {"EDGEMESH_DNS_UPSTREAMS": "192.0.2.1, 192.0.2.2"}
    settings = load_settings(written(tmp_path, ""), environment=variables)
    assert settings.dns.upstreams == ("192.0.2.1", "192.0.2.2")


def test_variables_that_kubernetes_adds_for_a_service_are_passed_over(tmp_path: Path) -> None:
    variables = {"EDGEMESH_SERVICE_HOST": "10.96.0.9", "EDGEMESH_PORT_15020_TCP": "tcp://10.96.0.9"}
    assert load_settings(written(tmp_path, ""), environment=variables).node


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'node = "named"')
    assert load_settings(environment={"EDGEMESH_CONFIG": str(path)}).node == "named"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[proxy]\ntcp_port = 70000", "proxy.tcp_port = 70000"),
        ('[proxy]\ntcp_port = "x"', "proxy.tcp_port = 'x'"),
        ("[proxy]\ndrain_grace_seconds = -1", "proxy.drain_grace_seconds = -1"),
        ('[netfilter]\nmode = "bridge"', "netfilter.mode = 'bridge'"),
        ("[proxi]\ntcp_port = 1", "unknown key proxi"),
        ("[proxy]\ntcp_prot = 1", "unknown key proxy.tcp_prot"),
        ("proxy = 3", "proxy must be a table"),
        ("node = ", "Invalid value"),
    ],
)
def test_a_mistake_names_the_file_the_key_and_the_value(
    tmp_path: Path, text: str, named: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(OperatorError) as raised:
        load_settings(path, environment={})
    assert named in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="No such file"):
        load_settings(tmp_path / "absent.toml", environment={})


@pytest.mark.parametrize(
    ("key", "value"),
    [("service_cidr4", "10.96.0.1/12"), ("service_cidr4", "fd00::/112"), ("service_cidr6", "x")],
)
def test_a_service_network_must_be_one(tmp_path: Path, key: str, value: str) -> None:
    path = written(tmp_path, f'[meta]\n{key} = "{value}"')
    with pytest.raises(OperatorError, match=key):
        load_settings(path, environment={})


def test_a_preserved_source_needs_the_mode_that_brings_answers_back(tmp_path: Path) -> None:
    path = written(tmp_path, '[proxy]\nsource = "preserve"\n[netfilter]\nmode = "redirect"')
    with pytest.raises(OperatorError, match=r"proxy\.source .* netfilter\.mode"):
        load_settings(path, environment={})
