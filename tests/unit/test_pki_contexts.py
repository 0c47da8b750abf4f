"""TLS of the bus: what is shown, what is refused, and with which words."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from pki_fixtures import (
    DAY,
    Ends,
    a_cloud,
    a_node,
    an_authority,
    der_of,
    issue_with,
    same_authority,
    trusting,
)

from edgemesh.bus.pki.authority import Authority, AuthorityState
from edgemesh.bus.pki.checks import (
    CLIENT,
    SERVER,
    Revoked,
    check_certificate,
    check_names,
    check_not_revoked,
    node_of,
)
from edgemesh.bus.pki.contexts import (
    Expected,
    MeshContext,
    client_context,
    enrolment_context,
    server_context,
)
from edgemesh.bus.pki.identity import Identity, own_certificate
from edgemesh.bus.pki.problems import CertificateProblem

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@pytest.fixture
def authority() -> Authority:
    return an_authority()


@pytest.fixture
def node(authority: Authority, tmp_path: Path) -> Identity:
    return a_node(authority, tmp_path)


@pytest.fixture
def cloud(authority: Authority, tmp_path: Path) -> Identity:
    return a_cloud(authority, tmp_path)


def pinned(context: MeshContext, version: ssl.TLSVersion) -> MeshContext:
    context.minimum_version = context.maximum_version = version
    return context


@VERSIONS
def test_a_client_sends_its_own_certificate_and_no_other(
    node: Identity, cloud: Identity, version: ssl.TLSVersion
) -> None:
    ends = Ends(pinned(client_context(node), version), server_context(cloud))
    ends.shake_hands()
    own = der_of(node)
    assert ends.shown_to_server() == [own]
    assert node_of(own) == "node-a"
    assert ends.client.version() == version.name.replace("v1_", "v1.")


def test_openssl_by_itself_would_send_the_ca_too(
    node: Identity, cloud: Identity, authority: Authority
) -> None:
    """So that the test above can fail."""
    usual = ssl.create_default_context(cafile=str(node.bundle))
    usual.load_cert_chain(node.certificate)
    ends = Ends(usual, server_context(cloud))
    ends.shake_hands()
    assert ends.shown_to_server()[1:] == [authority.der]


@VERSIONS
def test_another_ca_of_the_same_name_is_refused(
    node: Identity, cloud: Identity, version: ssl.TLSVersion
) -> None:
    stranger = trusting(node, an_authority())
    ends = Ends(pinned(client_context(stranger), version), server_context(cloud))
    with pytest.raises(CertificateProblem, match=r'"CN=system:cloud:cloud-1.* not by a CA that is'):
        ends.shake_hands()


def test_a_refused_server_of_tls_1_3_never_sees_who_asked(node: Identity, cloud: Identity) -> None:
    client = client_context(trusting(node, an_authority()), minimum=ssl.TLSVersion.TLSv1_3)
    ends = Ends(client, server_context(cloud))
    with pytest.raises(CertificateProblem):
        ends.shake_hands()
    with pytest.raises(ValueError, match="handshake not done"):
        ends.server.getpeercert()


def test_a_server_for_other_hosts_is_refused(node: Identity, cloud: Identity) -> None:
    ends = Ends(client_context(node), server_context(cloud), "cloud.example")
    with pytest.raises(CertificateProblem, match=r"not for cloud.example, but for localhost, 127"):
        ends.shake_hands()


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST", "localhost."])
def test_a_server_is_known_by_address_and_by_name(
    node: Identity, cloud: Identity, host: str
) -> None:
    Ends(client_context(node), server_context(cloud), host).shake_hands()


def test_an_expired_server_is_refused_with_what_the_clock_says(tmp_path: Path) -> None:
    old = an_authority(ago=3 * DAY)
    node = a_node(old, tmp_path, seconds=30 * DAY.total_seconds())
    ends = Ends(client_context(node), server_context(a_cloud(old, tmp_path)))
    with pytest.raises(CertificateProblem, match=r"is valid from .* but this node's clock says"):
        ends.shake_hands()


def test_a_server_that_is_not_valid_yet_is_refused_with_what_the_clock_says(
    node: Identity, cloud: Identity
) -> None:
    early = client_context(node, clock=lambda: datetime.now(UTC) - DAY)
    with pytest.raises(CertificateProblem, match="this node's clock says"):
        Ends(early, server_context(cloud)).shake_hands()


@VERSIONS
def test_an_expired_client_is_refused_and_both_sides_have_words_for_it(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    old = an_authority(ago=3 * DAY)
    node = a_node(old, tmp_path)
    cloud = a_cloud(old, tmp_path, seconds=30 * DAY.total_seconds())
    client = pinned(client_context(node), version)
    ends = Ends(client, server_context(cloud))
    with pytest.raises(CertificateProblem, match=r"peer showed.*expired.*clock says"):
        ends.shake_hands()
    with pytest.raises(CertificateProblem, match=r"system:node:node-a.*expired.*clock says"):
        ends.first_read(client)


def test_a_client_of_another_ca_is_refused(
    authority: Authority, cloud: Identity, tmp_path: Path
) -> None:
    stranger = trusting(a_node(an_authority(), tmp_path, "stranger"), authority)
    client = client_context(stranger)
    ends = Ends(client, server_context(cloud))
    with pytest.raises(CertificateProblem, match="the peer showed was refused"):
        ends.shake_hands()
    with pytest.raises(CertificateProblem, match=r"refused this side, which showed .*stranger"):
        ends.first_read(client)


def test_a_client_without_certificate_is_refused_where_one_is_needed(
    authority: Authority, cloud: Identity
) -> None:
    client = enrolment_context([authority.certificate])
    ends = Ends(client, server_context(cloud))
    with pytest.raises(CertificateProblem, match="peer did not return a certificate"):
        ends.shake_hands()
    with pytest.raises(CertificateProblem, match="showed no certificate: certificate required"):
        ends.first_read(client)


def test_a_client_without_certificate_may_enrol(authority: Authority, cloud: Identity) -> None:
    ends = Ends(
        enrolment_context([authority.certificate]), server_context(cloud, require_client=False)
    )
    ends.shake_hands()
    assert ends.server.getpeercert(binary_form=True) is None


def test_the_ca_may_be_fetched_from_anybody(cloud: Identity) -> None:
    context = enrolment_context([], expected=Expected.ANYONE)
    Ends(context, server_context(cloud, require_client=False)).shake_hands()


def test_a_node_that_is_a_client_only_cannot_be_a_server(
    authority: Authority, node: Identity, tmp_path: Path
) -> None:
    kubeedge = a_node(authority, tmp_path, "edge", kubeedge=True)
    context = client_context(node, expected=Expected.NODE)
    with pytest.raises(CertificateProblem, match=r"system:node:edge.* is not for a server"):
        Ends(context, server_context(kubeedge), "edge").shake_hands()


def test_a_node_is_known_by_its_name(authority: Authority, node: Identity, tmp_path: Path) -> None:
    server = server_context(a_node(authority, tmp_path, "node-b"))
    context = client_context(node, expected=Expected.NODE)
    Ends(context, server, "node-b").shake_hands()
    with pytest.raises(CertificateProblem, match="not the one of node node-c"):
        Ends(context, server, "node-c").shake_hands()


def test_a_connection_without_a_name_to_check_is_refused(node: Identity, cloud: Identity) -> None:
    with pytest.raises(CertificateProblem, match="no name to check"):
        Ends(client_context(node), server_context(cloud), None).shake_hands()


def test_protocols_are_agreed_on(node: Identity, cloud: Identity) -> None:
    ends = Ends(
        client_context(node, ["edgemesh-link/1"]),
        server_context(cloud, ["edgemesh-link/1", "http/1.1"]),
    )
    ends.shake_hands()
    assert ends.client.selected_alpn_protocol() == "edgemesh-link/1"


def test_links_refuse_tls_1_2(node: Identity, cloud: Identity) -> None:
    client = pinned(client_context(node), ssl.TLSVersion.TLSv1_2)
    server = server_context(cloud, minimum=ssl.TLSVersion.TLSv1_3)
    with pytest.raises(CertificateProblem, match="TLS failed: unsupported protocol"):
        Ends(client, server).shake_hands()


def test_blocking_sockets_cannot_get_round_the_check(node: Identity) -> None:
    with pytest.raises(TypeError, match="wrap_bio only"):
        client_context(node).wrap_socket()


def test_what_is_revoked_is_refused_by_node_and_by_serial(
    authority: Authority, node: Identity
) -> None:
    der = der_of(node)
    check_not_revoked(der, Revoked(frozenset({"node-b"}), frozenset({1})))
    with pytest.raises(CertificateProblem, match="node node-a is revoked"):
        check_not_revoked(der, Revoked(nodes=frozenset({"node-a"})))
    serial = own_certificate(node).serial_number
    with pytest.raises(CertificateProblem, match=f"{serial:x}, is revoked"):
        check_not_revoked(der, Revoked(serials=frozenset({serial})))


def test_a_certificate_of_an_expired_ca_is_refused(authority: Authority, node: Identity) -> None:
    now = datetime.now(UTC)
    expired = same_authority(authority, now - 2 * DAY, now - DAY)
    with pytest.raises(CertificateProblem, match=r"certificate .CN=edgemesh. is valid"):
        check_certificate(der_of(node), [expired], SERVER, now)


def test_a_node_cannot_issue_certificates(node: Identity, tmp_path: Path) -> None:
    """Not even for an end that has a node's certificate among its trusted ones."""
    pem = node.certificate.read_text()
    usurper = Authority(AuthorityState(pem, pem, ""))
    forged = der_of(a_node(usurper, tmp_path, "node-b"))
    with pytest.raises(CertificateProblem, match="not by a CA"):
        check_certificate(forged, [own_certificate(node)], CLIENT, datetime.now(UTC))


def test_a_critical_extension_that_nobody_knows_is_refused(authority: Authority) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"")
    der = issue_with(authority, unknown, critical=True)
    with pytest.raises(CertificateProblem, match=r"critical extension .*: 1\.2\.3\.4"):
        check_certificate(der, [authority.certificate], SERVER, datetime.now(UTC))


def test_a_certificate_without_usages_is_good_for_all(authority: Authority) -> None:
    der = issue_with(authority, x509.BasicConstraints(ca=False, path_length=None), critical=True)
    checked = check_certificate(der, [authority.certificate], SERVER, datetime.now(UTC))
    with pytest.raises(CertificateProblem, match="but for no host at all"):
        check_names(checked, "localhost")


def test_a_key_that_does_not_sign_is_refused(authority: Authority) -> None:
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    der = issue_with(authority, usage, critical=True)
    with pytest.raises(CertificateProblem, match="not for signing handshakes"):
        check_certificate(der, [authority.certificate], SERVER, datetime.now(UTC))


def test_bytes_that_are_no_certificate_are_named(authority: Authority) -> None:
    with pytest.raises(CertificateProblem, match="not a certificate in DER"):
        node_of(b"hello")
    with pytest.raises(CertificateProblem, match="is no node's"):
        node_of(authority.der)
