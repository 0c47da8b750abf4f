"""A node's certificate over its life: enrolled for, kept in files, renewed in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edgemesh.bus.edgehub.enrolment import EnrolmentClient, Issued
from edgemesh.bus.edgehub.problems import CloudProblemError
from edgemesh.bus.pki.checks import check_node
from edgemesh.bus.pki.identity import (
    Identity,
    has_identity,
    own_certificate,
    renewal_time,
    write_identity,
)
from edgemesh.bus.pki.problems import CertificateProblem, Clock, clock_now, name_of, validity
from edgemesh.bus.pki.tokens import Token, authority_hash, is_service_account_token
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.errors import OperatorError
from edgemesh.observe.log import get_logger
from edgemesh.policy.bus.reconnect import Reconnect

# The clock may be set meanwhile: a node that slept, or that had no battery.
_LOOK_AGAIN_SECONDS = 600.0

_log = get_logger("edgehub")


class Credentials:
    """Keeps the files of an identity good.

    Args:
        settings: the token's file, when to renew.
        identity: where the files are to be.
        client: asks the cloud.
        chance: a number from 0 to 1 by lot.
        clock: by which certificates are judged.

    Attributes:
        identity: see there.
        problem: what hinders its renewal, "" when nothing does.
    """

    def __init__(
        self,
        settings: BusSettings,
        identity: Identity,
        client: EnrolmentClient,
        chance: Callable[[], float],
        clock: Clock = clock_now,
    ) -> None:
        """Look at nothing yet; see `ensure`."""
        self._settings = settings
        self._client = client
        self._chance = chance
        self._clock = clock
        self._users: list[Callable[[Identity], None]] = []
        self._present = trio.Event()
        self.identity = identity
        self._certificate: x509.Certificate | None = None
        # Why a token that is newer than the certificate is of no use.
        self._token_problem = ""
        self._asked_at = -math.inf
        self._is_in_trouble = False
        self.problem = ""

    @property
    def expires(self) -> datetime | None:
        """The end of the present certificate, None while there is none."""
        return None if self._certificate is None else self._certificate.not_valid_after_utc

    def on_identity(self, use: Callable[[Identity], None]) -> None:
        """Call ``use`` when there is a certificate, and whenever it was replaced."""
        self._users.append(use)

    async def ensure(self) -> Identity:
        """A certificate that can be shown; the node enrols where there is none.

        It enrols anew as well when a token was put there after the certificate came: so is a
        node let in again that was shut out, and led to another cloud.

        Raises:
            OperatorError: there is none, and none can be had as things are set up.
            CertificateProblem: the cloud refused, or this node's clock is wrong.
            CloudProblemError: the cloud cannot be asked.
        """
        now = trio.current_time()
        # Who asks again so soon had no good connection.
        self._is_in_trouble = now - self._asked_at < 2 * self._settings.max_retry_seconds
        self._asked_at = now
        found = await trio.to_thread.run_sync(self._look)
        if isinstance(found, x509.Certificate):
            self._take(found)
            await self._try_newer_token()
        else:
            await self._enrol(await trio.to_thread.run_sync(self._token, found))
        return self.identity

    async def keep_fresh(self) -> None:
        """Renew the certificate again and again until cancelled; connections are not touched."""
        await self._present.wait()
        pauses = self._pauses()
        while True:
            await self._wait_until_due()
            try:
                await self._keep(await self._client.renew(self.identity))
            except (CloudProblemError, CertificateProblem, OperatorError) as error:
                self._tell(str(error))
                await trio.sleep(pauses.pause(0, self._chance()))
                continue
            pauses = self._pauses()
            self.problem = ""
            _log.info("certificate renewed", expires=f"{self.expires:%FT%TZ}")

    def _pauses(self) -> Reconnect:
        return Reconnect(self._settings.first_retry_seconds, self._settings.max_retry_seconds)

    async def _enrol(self, token: Token) -> None:
        await self._keep(await self._client.enrol(token))
        _log.info("enrolled", node=self.identity.node, expires=f"{self.expires:%FT%TZ}")

    async def _try_newer_token(self) -> None:
        """Where that fails the present certificate may do: the cloud decides.

        It is tried with each connection: the cloud may take a moment to let a node in again.
        """
        if not await trio.to_thread.run_sync(self._has_newer_token):
            return
        try:
            token = await trio.to_thread.run_sync(self._token, "a token was put there")
            await self._enrol(token)
        except (CloudProblemError, CertificateProblem, OperatorError) as error:
            if str(error) != self._token_problem:
                _log.warning("new token is of no use", problem=str(error))
            self._token_problem = str(error)
        else:
            self._token_problem = ""

    def _has_newer_token(self) -> bool:
        path = self._settings.token_file
        try:
            if path.stat().st_mtime_ns <= self.identity.certificate.stat().st_mtime_ns:
                return False
            # kubelet writes a ServiceAccount's anew again and again, which means nothing.
            return not is_service_account_token(path.read_text()) or self._is_in_trouble
        except (OSError, UnicodeDecodeError):
            return False

    def _look(self) -> x509.Certificate | str:
        """The certificate in the files, or what keeps it from being shown."""
        identity = self.identity
        if not has_identity(identity):
            return f"node {identity.node} has no certificate"
        try:
            certificate = own_certificate(identity)
            check_node(certificate, identity.node)
        except CertificateProblem as error:
            return str(error)
        now = self._clock()
        if now < certificate.not_valid_before_utc:
            # A new one would not be valid yet, either.
            raise CertificateProblem(f"{name_of(certificate)} {validity(certificate, now)}")
        if now > certificate.not_valid_after_utc:
            return f"{name_of(certificate)} {validity(certificate, now)}"
        return certificate

    def _take(self, certificate: x509.Certificate) -> None:
        is_new = certificate != self._certificate
        self._certificate = certificate
        self._present.set()
        for use in self._users if is_new else ():
            use(self.identity)

    def _token(self, problem: str) -> Token:
        try:
            return read_token(self._settings, self.identity.node)
        except OperatorError as error:
            raise OperatorError(f"{problem}, and {error.problem}", error.remedy) from error

    async def _keep(self, issued: Issued) -> None:
        def write() -> x509.Certificate:
            write_identity(self.identity, *issued)
            return own_certificate(self.identity)

        try:
            self._take(await trio.to_thread.run_sync(write))
        except OSError as error:
            folder = self.identity.certificate.parent
            raise OperatorError(f"{folder} cannot be written: {error.strerror}") from error

    async def _wait_until_due(self) -> None:
        while True:
            assert self._certificate is not None
            due = renewal_time(self._certificate, self._settings.renew_share)
            rest = (due - self._clock()).total_seconds()
            if rest <= 0:
                return
            await trio.sleep(min(rest, _LOOK_AGAIN_SECONDS))

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            _log.warning("certificate is not renewed", problem=problem)
        self.problem = problem


def identity_folder(state_dir: Path) -> Path:
    """Where a node keeps what says who it is."""
    return state_dir / "pki"


def read_token(settings: BusSettings, node: str) -> Token:
    """The token that a node is to enrol with. Blocks.

    Raises:
        OperatorError: there is none, or none that tells which cloud is the right one.
    """
    path = settings.token_file
    remedy = f"put a token there; on the cloud, `edgemesh cloud token --node {node}` prints one"
    try:
        text = path.read_text()
        if is_service_account_token(text):
            return Token(_known_authority(settings.authority_file), text.strip())
        return Token.parse(text)
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}", remedy) from error
    except (CertificateProblem, UnicodeDecodeError) as error:
        raise OperatorError(f"{path}: {error}", remedy) from error


def _known_authority(path: Path) -> str:
    """The hash of the authority's certificate in a file."""
    remedy = "put the cloud's authority there: `edgemesh cloud ca` prints it (bus.authority_file)"
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}", remedy) from error
    except ValueError as error:
        raise OperatorError(f"{path} is no certificate: {error}", remedy) from error
    return authority_hash(certificate.public_bytes(Encoding.DER))
