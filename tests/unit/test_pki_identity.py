"""The files of an identity."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from pki_fixtures import HOUR, a_node, an_authority, trusting

from edgemesh.bus.pki.authority import AuthorityState
from edgemesh.bus.pki.identity import (
    Identity,
    has_identity,
    own_certificate,
    renewal_time,
    trusted_authorities,
    write_secret,
)
from edgemesh.bus.pki.problems import CertificateProblem


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    identity = a_node(an_authority(), tmp_path)
    assert stat.S_IMODE(identity.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(identity.key.parent.stat().st_mode) == 0o700


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Who has the old one open reads it to its end; a half-written one left behind is no harm."""
    path = tmp_path / "key"
    path.with_name("key.new").write_bytes(b"left by a crash")
    write_secret(path, b"old")
    with path.open("rb") as reader:
        write_secret(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_an_identity_is_there_when_all_its_files_are(tmp_path: Path) -> None:
    assert not has_identity(Identity.within(tmp_path, "node-a"))
    identity = a_node(an_authority(), tmp_path)
    assert has_identity(identity)
    identity.bundle.unlink()
    assert not has_identity(identity)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    authority = an_authority()
    identity = a_node(authority, tmp_path)
    other = a_node(authority, tmp_path, "node-b")
    mixed = Identity("node-a", identity.certificate, other.key, identity.bundle)
    with pytest.raises(CertificateProblem, match=r"node-b/identity.pem is not the key of .*node-a"):
        own_certificate(mixed)
    identity.certificate.write_text("rubbish")
    with pytest.raises(CertificateProblem, match=r"identity\.pem cannot be used"):
        own_certificate(identity)
    identity.bundle.write_text("rubbish")
    with pytest.raises(CertificateProblem, match=r"bundle\.pem cannot be used"):
        trusted_authorities(identity)


def test_several_cas_can_be_trusted_while_one_replaces_the_other(tmp_path: Path) -> None:
    old, new = an_authority(), an_authority()
    identity = trusting(a_node(old, tmp_path), old, new)
    assert trusted_authorities(identity) == [old.certificate, new.certificate]


def test_certificates_are_renewed_after_a_share_of_their_life(tmp_path: Path) -> None:
    certificate = own_certificate(a_node(an_authority(), tmp_path, seconds=HOUR))
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert timedelta(hours=1) <= life <= timedelta(hours=1, minutes=5)
    assert renewal_time(certificate, 0.6) == certificate.not_valid_before_utc + 0.6 * life


def test_two_cas_are_never_the_same() -> None:
    assert AuthorityState.create() != AuthorityState.create()
