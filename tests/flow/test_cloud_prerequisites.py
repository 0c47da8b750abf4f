"""What doctor says of a node that is to join a cloud."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pki_fixtures import a_node, an_authority

from edgemesh.app.cloud_prerequisites import check_identity
from edgemesh.app.prerequisites import State
from edgemesh.bus.pki.authority import Authority
from edgemesh.model.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    plain = Settings(node="node-a", state_dir=tmp_path)
    return replace(plain, bus=replace(plain.bus, cloud="cloud", token_file=tmp_path / "token"))


def give_certificate(
    settings: Settings, authority: Authority, *, node: str = "node-a", seconds: float = 3600
) -> None:
    a_node(authority, settings.state_dir, node, seconds=seconds)
    (settings.state_dir / node).rename(settings.state_dir / "pki")


def test_a_node_with_a_certificate_has_what_it_needs(settings: Settings) -> None:
    give_certificate(settings, an_authority())
    check = check_identity(settings)
    assert check.state is State.MET
    assert "CN=system:node:node-a" in check.what


def test_a_node_with_a_token_can_get_one(settings: Settings) -> None:
    settings.bus.token_file.write_text(an_authority().make_token(60))
    check = check_identity(settings)
    assert check.state is State.MET
    assert check.what == "node node-a has no certificate yet; there is a token to enrol with"


def test_a_node_with_neither_lacks_both_and_is_told_how_to_get_them(settings: Settings) -> None:
    check = check_identity(settings)
    assert check.state is State.LACKING
    assert "node node-a has no certificate yet" in check.what
    assert str(settings.bus.token_file) in check.what
    assert "edgemesh cloud token --node node-a" in check.remedy


def test_a_certificate_that_expired_or_is_anothers_is_named(settings: Settings) -> None:
    give_certificate(settings, an_authority(ago=timedelta(days=2)))
    check = check_identity(settings)
    assert check.state is State.LACKING
    assert "is valid from" in check.what
    renamed = replace(settings, node="node-b")
    assert "not the one of node node-b" in check_identity(renamed).what
