"""Who may join the cloud: done in its store, so that it works while the cloud does not run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from cryptography.hazmat.primitives.serialization import Encoding

from edgemesh.bus.cloudhub.credentials import open_authority
from edgemesh.bus.pki.authority import Authority
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.bus.pki.requests import check_node_name
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import Settings
from edgemesh.store.authority import AuthorityTable
from edgemesh.store.store import Store


async def make_token(settings: Settings, node: str, seconds: float | None) -> str:
    """A token to enrol with.

    Args:
        settings: name the store.
        node: the only one that may use it, and once; it is let in again where it was shut out.
            "" for any node, as often as they like.
        seconds: that it is good for, None for what the settings say.

    Raises:
        OperatorError: the store cannot be used, or the name is none.
    """
    if node:
        _check_name(node)
    async with _opened(settings) as (table, authority):
        if node:
            await table.readmit(node)
        life = settings.cloud.token_seconds if seconds is None else seconds
        return authority.make_token(life, node, once=bool(node))


async def revoke_node(settings: Settings, node: str) -> int:
    """Shut a node out.

    Returns:
        How many certificates of it are void now.

    Raises:
        OperatorError: the store cannot be used, or the name is none.
    """
    _check_name(node)
    async with _opened(settings) as (table, _):
        return await table.revoke(node)


async def authority_certificate(settings: Settings) -> str:
    """The certificate of the authority, as PEM.

    Raises:
        OperatorError: the store cannot be used.
    """
    async with _opened(settings) as (_, authority):
        return authority.certificate.public_bytes(Encoding.PEM).decode()


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[AuthorityTable, Authority]]:
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240 - at once
    store = await Store.open(settings.store_url, settings.meta)
    try:
        table = AuthorityTable(store)
        yield table, await open_authority(table)
    except CertificateProblem as problem:
        raise OperatorError(str(problem)) from problem
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await store.close()


def _check_name(node: str) -> None:
    try:
        check_node_name(node)
    except CertificateProblem as problem:
        raise OperatorError(str(problem)) from problem
