"""Who the cloud is, who it let in, and whom it shut out: the authority at work."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import trio
from cryptography.hazmat.primitives.serialization import Encoding

from edgemesh.bus.pki.authority import Authority, AuthorityState
from edgemesh.bus.pki.checks import Revoked, read_certificate
from edgemesh.bus.pki.contexts import MeshContext, server_context
from edgemesh.bus.pki.identity import Identity, own_certificate, renewal_time, write_identity
from edgemesh.kernel.addresses import node_addresses
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.observe.log import get_logger
from edgemesh.store.authority import AuthorityTable, Issued, Revocations, Secrets
from edgemesh.store.errors import StoreError
from edgemesh.store.store import Store
from edgemesh.wire.host_port import parse_host_port

# Whom an operator shuts out from another process is found out about so soon.
_LOOK_SECONDS = 1.0
_RENEW_SHARE = 0.6
_ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - what is compared with, not listened on

_log = get_logger("cloudhub")


async def open_authority(table: AuthorityTable) -> Authority:
    """The authority that the store has; the first who asks makes it.

    Raises:
        StoreError: the store cannot be written.
        CertificateProblem: what it has is damaged.
    """
    new = await trio.to_thread.run_sync(AuthorityState.create)
    secrets = Secrets(new.certificate, new.key, new.token_secret)
    kept = await table.load_or_keep(secrets)
    return Authority(AuthorityState(kept.certificate, kept.key, kept.token_secret))


class Credentials:
    """The cloud's certificate, TLS made of it, and revocations; made by ``open``.

    Attributes:
        authority: issues certificates and tokens.
        table: of the authority in the store.
        identity: files of the cloud's own certificate.
        revoked: who is shut out now.
    """

    def __init__(
        self,
        table: AuthorityTable,
        authority: Authority,
        identity: Identity,
        settings: CloudSettings,
    ) -> None:
        self.table = table
        self.authority = authority
        self.identity = identity
        self.revoked = Revoked()
        self._settings = settings
        self._users: list[Callable[[], None]] = []
        self._hub: MeshContext | None = None
        self._enrolment: MeshContext | None = None
        self._renew_at = 0.0

    @classmethod
    async def open(
        cls, store: Store, settings: CloudSettings, folder: Path, name: str
    ) -> Credentials:
        """Get hold of the authority, and of a certificate of this replica.

        Args:
            store: shared by all replicas.
            settings: names, and how long certificates are valid.
            folder: for this replica's certificate and key.
            name: of this replica.

        Raises:
            StoreError: the store cannot be read or written.
            CertificateProblem: the authority in the store is damaged.
            OSError: the files cannot be written.
        """
        table = AuthorityTable(store)
        authority = await open_authority(table)
        credentials = cls(table, authority, Identity.within(folder, name), settings)
        await credentials._renew()
        credentials.revoked = _revoked(await table.revocations())
        return credentials

    @property
    def authority_pem(self) -> bytes:
        """The certificate that nodes know the cloud by."""
        return self.authority.certificate.public_bytes(Encoding.PEM)

    def hub_context(self) -> ssl.SSLContext:
        """TLS of the hub: who has no certificate does not come in."""
        assert self._hub is not None
        return self._hub

    def enrolment_context(self) -> ssl.SSLContext:
        """TLS of enrolment: who has a certificate may show it."""
        assert self._enrolment is not None
        return self._enrolment

    def on_revocation(self, use: Callable[[], None]) -> None:
        """Call ``use`` whenever someone more, or less, is shut out."""
        self._users.append(use)

    async def note_issued(self, certificate: bytes, node: str) -> None:
        """Keep what revoking a certificate needs.

        Raises:
            StoreError: it could not be kept, so that the certificate must not be handed out.
        """
        read = read_certificate(certificate)
        expires = int(read.not_valid_after_utc.timestamp())
        await self.table.note_issued(Issued(f"{read.serial_number:x}", node, expires))
        _log.info("certificate issued", node=node, serial=f"{read.serial_number:x}")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look for revocations, and renew the certificate in time, until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(_LOOK_SECONDS)
            try:
                await self.look_for_revocations()
                if time.time() > self._renew_at:
                    await self._renew()
            except StoreError as error:
                _log.warning("revocations cannot be read", problem=error.problem)

    async def look_for_revocations(self) -> None:
        """Read who is shut out, and tell.

        Raises:
            StoreError: the store cannot be read.
        """
        revoked = _revoked(await self.table.revocations())
        if revoked != self.revoked:
            self.revoked = revoked
            for use in self._users:
                use()

    async def _renew(self) -> None:
        names = server_names(self._settings)
        settings = self._settings

        def work() -> None:
            made = self.authority.issue_server(
                self.identity.node, names, settings.server_certificate_seconds
            )
            write_identity(self.identity, made.certificate, made.key, [self.authority.der])

        await trio.to_thread.run_sync(work)
        self._hub = server_context(self.identity)
        self._enrolment = server_context(self.identity, require_client=False)
        certificate = own_certificate(self.identity)
        self._renew_at = renewal_time(certificate, _RENEW_SHARE).timestamp()
        _log.info("the cloud has a certificate", names=names)


def server_names(settings: CloudSettings) -> list[str]:
    """What nodes may dial: the names that were set, this host's name and addresses."""
    listened = [parse_host_port(text)[0] for text in settings.hub_listen]
    addresses = [address for address in listened if address not in _ANYWHERE]
    if len(addresses) < len(listened):
        addresses += sorted(address.partition("%")[0] for address in node_addresses())
    host = socket.gethostname().lower()
    return list(dict.fromkeys([*settings.names, host, "localhost", *addresses]))


def _revoked(found: Revocations) -> Revoked:
    return Revoked(found.nodes, frozenset(int(serial, 16) for serial in found.serials))
