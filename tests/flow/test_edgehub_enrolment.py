"""How a node comes to a certificate, keeps it fresh, and says what hinders it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from plain_cloud import NODE, FakeNode, PlainCloud, node_of, plain_cloud

from edgemesh.bus.edgehub.problems import CloudProblemError
from edgemesh.bus.pki.authority import Authority, AuthorityState
from edgemesh.bus.pki.identity import Identity, own_certificate
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.model.errors import OperatorError

YEAR = timedelta(days=365)


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[PlainCloud]:
    async with plain_cloud(tmp_path) as serving:
        yield serving


async def test_a_node_enrols_once_and_keeps_its_key_to_itself(cloud: PlainCloud) -> None:
    node = node_of(cloud)
    identity = await node.credentials.ensure()
    assert NODE in own_certificate(identity).subject.rfc4514_string()
    assert identity.key.stat().st_mode & 0o777 == 0o600
    assert identity.key.parent.stat().st_mode & 0o777 == 0o700
    assert node.credentials.expires
    node.settings.token_file.unlink()
    again = node_of(cloud)
    again.settings.token_file.unlink()
    await again.credentials.ensure()
    assert cloud.issued == 1


async def test_an_answer_that_is_lost_costs_no_token(cloud: PlainCloud) -> None:
    node = node_of(cloud)
    node.settings.token_file.write_text(cloud.token(node=NODE, once=True))
    cloud.loses = 2
    for _ in range(2):
        with pytest.raises(CloudProblemError):
            await node.credentials.ensure()
    await node.credentials.ensure()
    assert cloud.issued == 3


async def test_without_a_token_the_file_is_named_and_how_to_get_one(cloud: PlainCloud) -> None:
    node = node_of(cloud)
    node.settings.token_file.unlink()
    with pytest.raises(OperatorError) as caught:
        await node.credentials.ensure()
    for part in (
        f"node {NODE} has no certificate",
        str(node.settings.token_file),
        "No such file",
        f"edgemesh cloud token --node {NODE}",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["", "nonsense", "a.b.c.d", "\udcff"])
async def test_a_file_without_a_token_in_it_is_named(cloud: PlainCloud, text: str) -> None:
    node = node_of(cloud)
    node.settings.token_file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(OperatorError, match=str(node.settings.token_file)):
        await node.credentials.ensure()


async def test_a_token_of_another_cloud_is_not_shown_to_this_one(cloud: PlainCloud) -> None:
    node = node_of(cloud)
    other = Authority(AuthorityState.create())
    node.settings.token_file.write_text(other.make_token(60))
    with pytest.raises(CertificateProblem, match="not the one that the token names"):
        await node.credentials.ensure()
    assert cloud.issued == 0
    assert not node.identity.certificate.exists()


async def test_a_token_that_the_cloud_refuses_is_told_with_its_words(cloud: PlainCloud) -> None:
    node = node_of(cloud)
    node.settings.token_file.write_text(cloud.token(seconds=-10))
    with pytest.raises(CertificateProblem, match=r"HTTP 401, .*token is expired"):
        await node.credentials.ensure()
    node.settings.token_file.write_text(cloud.token(node="other"))
    with pytest.raises(CertificateProblem, match="token is for node other, not for edge-1"):
        await node.credentials.ensure()


async def test_a_clock_that_is_far_behind_is_named_before_anything_is_shown(
    cloud: PlainCloud,
) -> None:
    node = node_of(cloud)
    node.time.offset = -10 * YEAR
    with pytest.raises(CertificateProblem, match="this node's clock says 20"):
        await node.credentials.ensure()
    assert cloud.issued == 0


async def test_a_clock_that_was_set_back_is_named_for_the_nodes_own_certificate(
    cloud: PlainCloud,
) -> None:
    node = node_of(cloud)
    await node.credentials.ensure()
    node.time.offset = -YEAR
    with pytest.raises(CertificateProblem, match=rf"CN=system:node:{NODE}.* clock says"):
        await node.credentials.ensure()
    assert cloud.issued == 1


async def test_a_certificate_that_has_expired_is_replaced_with_a_token_or_named(
    cloud: PlainCloud,
) -> None:
    cloud.node_seconds = 60
    node = node_of(cloud)
    await node.credentials.ensure()
    node.time.offset = timedelta(hours=1)
    token = node.settings.token_file.read_text()
    node.settings.token_file.unlink()
    with pytest.raises(OperatorError, match=rf"system:node:{NODE}.* is valid from .* to "):
        await node.credentials.ensure()
    node.settings.token_file.write_text(token)
    cloud.node_seconds = 7200
    await node.credentials.ensure()
    assert cloud.issued == 2


async def test_damaged_files_and_those_of_another_node_are_replaced(cloud: PlainCloud) -> None:
    node = node_of(cloud)
    await node.credentials.ensure()
    node.identity.certificate.write_text("rubbish")
    await node.credentials.ensure()
    renamed = node_of(cloud, name="edge-2")
    await renamed.credentials.ensure()
    assert cloud.issued == 3
    subject = own_certificate(renamed.identity).subject.rfc4514_string()
    assert "system:node:edge-2" in subject


async def test_a_certificate_is_renewed_in_time_with_a_new_key_and_told_to_who_uses_it(
    cloud: PlainCloud,
) -> None:
    node = node_of(cloud, renew_share=0.5)
    told: list[Identity] = []
    node.credentials.on_identity(told.append)
    await node.credentials.ensure()
    node.settings.token_file.unlink()
    before = node.identity.certificate.read_bytes()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.credentials.keep_fresh)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert cloud.issued == 1
        nursery.cancel_scope.cancel()
    # Certificates are backdated by five minutes.
    node.time.offset = timedelta(seconds=1900)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.credentials.keep_fresh)
        await cloud.until(lambda: cloud.issued == 2)
        while len(told) < 2:  # noqa: ASYNC110 - the last step of what was just awaited
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert node.identity.certificate.read_bytes() != before
    assert told == [node.identity] * 2


async def test_a_renewal_that_fails_is_tried_again_and_told_once(cloud: PlainCloud) -> None:
    node = node_of(cloud, first_retry_seconds=0.05, max_retry_seconds=0.05)
    await node.credentials.ensure()
    node.time.offset = timedelta(seconds=3000)
    cloud.node_seconds = 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.credentials.keep_fresh)
        await cloud.until(lambda: cloud.issued >= 3)
        assert "is valid from" in node.credentials.problem
        cloud.node_seconds = 36000
        await cloud.until(lambda: cloud.issued >= 4)
        while node.credentials.problem:  # noqa: ASYNC110
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_an_enrolment_server_that_is_away_or_silent_is_named(
    cloud: PlainCloud,
) -> None:
    silent = await trio.open_tcp_listeners(0, host="127.0.0.1")
    try:
        cloud.enrolment_port = silent[0].socket.getsockname()[1]
        node = node_of(cloud, dial_seconds=0.3)
        with pytest.raises(CloudProblemError, match=r"localhost:\d+ does not answer within 0.3 s"):
            await node.credentials.ensure()
    finally:
        for listener in silent:
            await listener.aclose()
    with pytest.raises(CloudProblemError, match="cannot be reached: Connection refused"):
        await node_of(cloud).credentials.ensure()


async def test_a_folder_that_cannot_be_written_is_named(cloud: PlainCloud) -> None:
    node = node_of(cloud)
    node.identity.certificate.parent.parent.write_text("a file where a folder is to be")
    with pytest.raises(OperatorError, match="pki cannot be written"):
        await node.credentials.ensure()


def put_token(node: FakeNode, text: str, *, seconds_later: int = 10) -> None:
    """Put a token there some time after the certificate, which came a minute ago."""
    issued = node.identity.certificate.stat().st_mtime - 60
    os.utime(node.identity.certificate, (issued, issued))
    node.settings.token_file.write_text(text)
    written = issued + seconds_later
    os.utime(node.settings.token_file, (written, written))


async def test_a_token_that_is_newer_than_the_certificate_is_enrolled_with_once(
    cloud: PlainCloud,
) -> None:
    """So is a node let in again that was shut out."""
    node = node_of(cloud)
    await node.credentials.ensure()
    put_token(node, cloud.token(), seconds_later=-10)
    await node.credentials.ensure()
    assert cloud.issued == 1
    put_token(node, cloud.token())
    for _ in range(3):
        await node.credentials.ensure()
    assert cloud.issued == 2


async def test_a_newer_token_that_is_of_no_use_leaves_the_certificate_in_use(
    cloud: PlainCloud,
) -> None:
    node = node_of(cloud)
    await node.credentials.ensure()
    before = node.identity.certificate.read_bytes()
    for useless in ("nonsense", cloud.token(seconds=-10), cloud.token(node="other")):
        put_token(node, useless)
        await node.credentials.ensure()
    assert node.identity.certificate.read_bytes() == before
    # Whoever is let in again by another process of the cloud's may have to wait for it.
    put_token(node, cloud.token())
    await node.credentials.ensure()
    assert node.identity.certificate.read_bytes() != before
