"""Tells nodes who is shut out: they take links from each other without asking the cloud."""

from __future__ import annotations

from typing import NoReturn

import trio

from edgemesh.bus.cloudhub.credentials import Credentials
from edgemesh.bus.cloudhub.link_notes import Apply
from edgemesh.bus.pki.checks import Revoked
from edgemesh.bus.pki.revocations import REVOCATIONS, revocations_object
from edgemesh.observe.log import get_logger
from edgemesh.store.errors import StoreError
from edgemesh.store.store import Store
from edgemesh.store.transaction import Transaction

_log = get_logger("revocations")


class RevocationTeller:
    """Keeps the object up to date that nodes are sent.

    Args:
        store: of the cloud; several replicas write the same into it.
        apply: writes objects, within a transaction.
        credentials: know who is shut out.
    """

    def __init__(self, store: Store, apply: Apply, credentials: Credentials) -> None:
        self._store = store
        self._apply = apply
        self._credentials = credentials
        self._news = trio.Event()
        self._news.set()
        credentials.on_revocation(self._hear)

    async def run(self, retry_seconds: float) -> NoReturn:
        """Write at each change, until cancelled.

        Args:
            retry_seconds: how long to wait after a write that failed.
        """
        while True:
            await self._news.wait()
            self._news = trio.Event()
            try:
                await self._write(self._credentials.revoked)
            except StoreError as error:
                _log.warning("nodes are not told who is shut out", problem=error.problem)
                await trio.sleep(retry_seconds)
                self._news.set()

    def _hear(self) -> None:
        self._news.set()

    async def _write(self, revoked: Revoked) -> None:
        body = revocations_object(revoked)

        def work(transaction: Transaction) -> None:
            known = transaction.get(REVOCATIONS)
            if known is None and revoked == Revoked():
                return
            if known is None or known.body.get("data") != body["data"]:
                self._apply(transaction, [body])

        await self._store.transact(work)
