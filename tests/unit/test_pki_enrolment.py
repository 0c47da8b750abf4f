"""Enrolment: every refusal that was recorded from CloudCore, and what is ours in addition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from pki_fixtures import an_authority, kubeedge_request

from edgemesh.bus.pki.authority import Authority, AuthorityState
from edgemesh.bus.pki.checks import Revoked, node_of, read_certificate
from edgemesh.bus.pki.enrolment import (
    CA_QUESTION,
    Answered,
    Asked,
    EnrolmentDesk,
    Question,
    certificate_question,
    read_authority,
    read_issued,
)
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.bus.pki.requests import make_request, read_request
from edgemesh.bus.pki.tokens import Claims, Token, check_jwt, sign_claims

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

NODE = "node-a"
NOBODY = Revoked()


@dataclass
class Cloud:
    """An enrolment desk and what a node gets from it."""

    authority: Authority = field(default_factory=an_authority)
    spent: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.desk = EnrolmentDesk(self.authority, 3600.0, self._spend)

    def _spend(self, token: str, key: str, until: int) -> bool:
        assert until > self.authority.now().timestamp()
        return self.spent.setdefault(token, key) == key

    def token(self, node: str = "", *, once: bool = False) -> Token:
        return Token.parse(self.authority.make_token(3600.0, node, once=once))

    def ask(
        self,
        question: Question,
        *,
        certificate: bytes | None = None,
        method: str = "GET",
        revoked: Revoked = NOBODY,
    ) -> Answered:
        headers = {name.lower(): value for name, value in question.headers.items()}
        asked = Asked(method, question.path, headers, question.body, certificate)
        return self.desk.answer(asked, revoked)


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def refused(answer: Answered, status: int, words: str) -> bool:
    text = answer.body.decode()
    assert (answer.status, answer.content_type) == (status, "text/plain")
    assert words in text, text
    return not answer.node


def edge_question(body: bytes, headers: Mapping[str, str]) -> Question:
    return Question("/edge.crt", headers, body)


def test_a_node_enrols_and_renews(cloud: Cloud) -> None:
    token = Token.parse(str(cloud.token(NODE, once=True)))
    fetched = cloud.ask(CA_QUESTION)
    assert fetched.content_type == "application/octet-stream"
    authority = read_authority(token, fetched.status, fetched.body)
    new = make_request(NODE)
    answer = cloud.ask(certificate_question(NODE, new.request, token))
    assert answer.node == NODE
    first = read_issued(NODE, new, authority, answer.status, answer.body)
    assert node_of(first) == NODE
    again = make_request(NODE)
    answer = cloud.ask(certificate_question(NODE, again.request), certificate=first)
    second = read_issued(NODE, again, authority, answer.status, answer.body)
    assert second != first


def test_a_node_of_kubeedge_gets_what_cloudcore_gives(cloud: Cloud) -> None:
    new = kubeedge_request(NODE)
    answer = cloud.ask(certificate_question(NODE, new.request, cloud.token()))
    certificate = read_certificate(answer.body)
    assert certificate.subject.rfc4514_string() == f"CN=system:node:{NODE},O=system:nodes"
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_a_node_of_edgemesh_is_a_server_too_and_has_its_uri(cloud: Cloud) -> None:
    new = make_request(NODE)
    answer = cloud.ask(certificate_question(NODE, new.request, cloud.token()))
    extensions = read_certificate(answer.body).extensions
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        f"spiffe://edgemesh/node/{NODE}"
    ]


def test_no_token_is_refused(cloud: Cloud) -> None:
    question = certificate_question(NODE, make_request(NODE).request)
    assert refused(cloud.ask(question), 401, "token validation failure, token is empty")


def test_a_token_with_another_signature_is_refused(cloud: Cloud) -> None:
    question = certificate_question(NODE, make_request(NODE).request, Cloud().token())
    words = "token validation failure, err: token signature is invalid: "
    assert refused(cloud.ask(question), 401, words)


def test_the_whole_token_instead_of_its_jwt_is_refused(cloud: Cloud) -> None:
    headers = {"NodeName": NODE, "Authorization": f"Bearer {cloud.token()}"}
    question = edge_question(make_request(NODE).request, headers)
    words = "token is malformed: token contains an invalid number of segments"
    assert refused(cloud.ask(question), 401, words)


def test_pem_instead_of_der_is_refused(cloud: Cloud) -> None:
    pem = x509.load_der_x509_csr(make_request(NODE).request).public_bytes(
        serialization.Encoding.PEM
    )
    question = certificate_question(NODE, pem, cloud.token())
    assert refused(cloud.ask(question), 500, f"failed to sign certs for edgenode {NODE}, err: ")


def test_without_the_nodes_header_the_request_says_which_node_it_is(cloud: Cloud) -> None:
    headers = {"Authorization": f"Bearer {cloud.token().jwt}"}
    answer = cloud.ask(edge_question(make_request(NODE).request, headers))
    assert (answer.status, answer.node) == (200, NODE)
    garbage = cloud.ask(edge_question(b"?", headers))
    assert refused(garbage, 500, "not a certificate request in DER")


def test_no_node_renews_for_another(cloud: Cloud) -> None:
    own = certificate_of(cloud, NODE)
    question = certificate_question("other", make_request("other").request)
    words = "failed to verify the certificate for edgenode: other, err: "
    assert refused(cloud.ask(question, certificate=own), 401, words)


def test_a_renewal_without_the_header_is_for_the_node_of_the_certificate(cloud: Cloud) -> None:
    own = certificate_of(cloud, NODE)
    answer = cloud.ask(edge_question(make_request(NODE).request, {}), certificate=own)
    assert answer.node == NODE


@pytest.mark.parametrize("path", ["/ca.crt", "/edge.crt"])
def test_another_method_is_refused(cloud: Cloud, path: str) -> None:
    answer = cloud.ask(Question(path), method="POST")
    assert refused(answer, 405, "405: Method Not Allowed")


def test_another_path_is_refused(cloud: Cloud) -> None:
    assert refused(cloud.ask(Question("/")), 404, "404: Page Not Found")


def test_an_old_token_is_refused(cloud: Cloud) -> None:
    old = Token.parse(cloud.authority.make_token(-1.0))
    question = certificate_question(NODE, make_request(NODE).request, old)
    assert refused(cloud.ask(question), 401, "token is expired")


def test_a_token_of_one_node_is_worthless_to_another(cloud: Cloud) -> None:
    question = certificate_question("b", make_request("b").request, cloud.token(NODE))
    assert refused(cloud.ask(question), 401, f"token is for node {NODE}, not for b")


def test_a_token_for_one_use_is_used_once_and_not_by_a_request_that_failed(cloud: Cloud) -> None:
    token = cloud.token(NODE, once=True)
    assert cloud.ask(certificate_question(NODE, b"?", token)).status == 500
    assert certificate_of(cloud, NODE, token)
    question = certificate_question(NODE, make_request(NODE).request, token)
    assert refused(cloud.ask(question), 401, "token is good for one use, and was used")


def test_who_has_missed_the_answer_asks_again_with_the_same_key(cloud: Cloud) -> None:
    new = make_request(NODE)
    question = certificate_question(NODE, new.request, cloud.token(NODE, once=True))
    first, second = cloud.ask(question), cloud.ask(question)
    for answer in (first, second):
        assert read_issued(NODE, new, cloud.authority.certificate, answer.status, answer.body)


def test_a_revoked_node_neither_enrols_nor_renews(cloud: Cloud) -> None:
    own = certificate_of(cloud, NODE)
    revoked = Revoked(nodes=frozenset({NODE}))
    question = certificate_question(NODE, make_request(NODE).request, cloud.token())
    assert refused(cloud.ask(question, revoked=revoked), 500, "node node-a is revoked")
    renewal = cloud.ask(question, certificate=own, revoked=revoked)
    assert refused(renewal, 401, "node node-a is revoked")


def test_a_request_for_another_node_than_the_headers_is_refused(cloud: Cloud) -> None:
    question = certificate_question(NODE, make_request("b").request, cloud.token())
    assert refused(cloud.ask(question), 500, "node node-a asks for a certificate of node b")


@pytest.mark.parametrize("name", ["A", "a_b", "-a", "a..b", "a" * 254, "a\n", "system:x"])
def test_what_cannot_be_a_nodes_name_is_refused(cloud: Cloud, name: str) -> None:
    with pytest.raises(CertificateProblem, match="no name of a node"):
        make_request(name)
    if len(name) < 64:  # X.509 takes no longer common name
        question = certificate_question(name, kubeedge_request(name).request, cloud.token())
        assert refused(cloud.ask(question), 500, "no name of a node")


def test_a_ca_that_the_token_does_not_name_is_refused(cloud: Cloud) -> None:
    other = Cloud().ask(CA_QUESTION)
    with pytest.raises(CertificateProblem, match="not the one that the token names"):
        read_authority(cloud.token(), other.status, other.body)
    with pytest.raises(CertificateProblem, match="not give its CA: HTTP 502, 'bad �'"):
        read_authority(cloud.token(), 502, b"bad \xff")


def test_a_node_checks_what_it_is_given(cloud: Cloud) -> None:
    new = make_request(NODE)
    anchor = cloud.authority.certificate
    with pytest.raises(CertificateProblem, match="refused a certificate for node node-a: HTTP 401"):
        read_issued(NODE, new, anchor, 401, b"no")
    other = certificate_of(cloud, "b")
    with pytest.raises(CertificateProblem, match="not the one of node node-a"):
        read_issued(NODE, new, anchor, 200, other)
    with pytest.raises(CertificateProblem, match="is for another key"):
        read_issued(NODE, new, anchor, 200, certificate_of(cloud, NODE))


@pytest.mark.parametrize("text", ["", "a.b.c.d", "00" * 32 + ".x.y", "zz" * 32 + ".x.y.z"])
def test_a_text_that_is_no_token_is_named(text: str) -> None:
    with pytest.raises(CertificateProblem, match="four parts"):
        Token.parse(text)


def test_a_jwt_with_another_algorithm_is_refused(cloud: Cloud) -> None:
    none = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    payload = cloud.token().jwt.split(".")[1]
    with pytest.raises(CertificateProblem, match="signing method none is invalid"):
        cloud.authority.check_token(f"{none}.{payload}.", NODE)


@given(st.text(max_size=60))
def test_any_text_is_a_jwt_or_refused_with_words(text: str) -> None:
    now = an_authority().now()
    with pytest.raises(CertificateProblem):
        check_jwt(text, b"secret", now)


@given(st.binary(min_size=1, max_size=32), st.text(max_size=20), st.text(max_size=20))
def test_what_was_signed_is_read_again_until_it_is_too_old(
    secret: bytes, node: str, identity: str
) -> None:
    now = an_authority().now()
    claims = Claims(exp=int(now.timestamp()) + 10, node=node, jti=identity)
    jwt = sign_claims(claims, secret)
    assert check_jwt(jwt, secret, now) == claims
    with pytest.raises(CertificateProblem, match="expired"):
        check_jwt(jwt, secret, now + timedelta(seconds=11))


def test_weak_keys_are_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    with pytest.raises(CertificateProblem, match="key is weak or unknown"):
        read_request(request_with(weak))


@pytest.mark.parametrize(
    "generate",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate,
    ],
    ids=["RSA", "P-384", "Ed25519"],
)
def test_other_strong_keys_are_taken(generate: Callable[[], Key]) -> None:
    assert read_request(request_with(generate())).node == NODE


def test_a_request_that_is_not_signed_by_its_key_is_refused() -> None:
    der = bytearray(make_request(NODE).request)
    der[-1] ^= 1
    with pytest.raises(CertificateProblem, match="not signed with the key"):
        read_request(bytes(der))


def test_a_request_for_something_else_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(CertificateProblem, match='for "CN=root", which is no node'):
        read_request(request_with(key, "root"))


def test_secrets_are_not_in_what_might_be_logged(cloud: Cloud) -> None:
    state = AuthorityState.create()
    assert "PRIVATE" not in repr(state)
    assert state.token_secret not in repr(state)
    assert "PRIVATE" not in repr(make_request(NODE))
    assert "PRIVATE" not in repr(cloud.authority.issue_server("c", ["localhost"], 60.0))
    token = cloud.token()
    assert token.jwt not in repr(token)


def test_a_damaged_ca_is_named() -> None:
    state = AuthorityState.create()
    other = AuthorityState.create()
    with pytest.raises(CertificateProblem, match="cannot be read"):
        Authority(AuthorityState("", "", ""))
    with pytest.raises(CertificateProblem, match="not the one of its certificate"):
        Authority(AuthorityState(state.certificate, other.key, ""))


def certificate_of(cloud: Cloud, node: str, token: Token | None = None) -> bytes:
    question = certificate_question(node, make_request(node).request, token or cloud.token())
    answer = cloud.ask(question)
    assert answer.status == 200, answer
    return answer.body


def request_with(
    key: Key,
    name: str = f"system:node:{NODE}",
) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)
    return request.public_bytes(serialization.Encoding.DER)
