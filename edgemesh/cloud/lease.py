"""Held by one replica at a time: a Lease at the API server. The rules are in ``policy.leases``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus

import trio

from edgemesh.cloud.access import Access, UnreachableError
from edgemesh.cloud.objects import ApiRefusedError, create, patch, read, replace
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.observe.log import get_logger
from edgemesh.policy.leases import (
    LeaseView,
    Step,
    Wanted,
    Watched,
    lease_body,
    next_step,
    read_lease,
    released,
    watched,
)

_log = get_logger("lease")

_RELEASE_SECONDS = 1.0


class Election:
    """Runs work while a Lease is held.

    Args:
        access: to the server.
        settings: names and times.
        me: of this replica.

    Attributes:
        held: whether this replica has the Lease.
        holder: who has it as far as is known, "" for nobody.
        problem: why the Lease cannot be read or written, "" when it can.
    """

    def __init__(self, access: Access, settings: KubernetesSettings, me: str) -> None:
        self._access = access
        self._settings = settings
        self._me = me
        namespace, name = settings.lease_namespace, settings.lease_name
        self._wanted = Wanted(namespace, name, me, settings.lease_seconds)
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._path = f"{self._collection}/{name}"
        self._known: Watched | None = None
        self.held = False
        self.holder = ""
        self.problem = ""

    async def run(
        self,
        work: Callable[[], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run ``work`` whenever the Lease is held, until cancelled; started at once.

        Cancellation: the Lease is given up, so that another replica need not wait for its end.
        """
        task_status.started()
        while True:
            if not await self._tried():
                await trio.sleep(self._settings.renew_seconds)
                continue
            try:
                await self._hold(work)
            finally:
                self.held = False
                with trio.move_on_after(_RELEASE_SECONDS, shield=True):
                    await self._release()

    async def _hold(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run the work until the Lease is lost."""
        _log.info("holds the lease", lease=self._path)
        self.held = True
        settings = self._settings
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            renewed = trio.current_time()
            while trio.current_time() < renewed + settings.renew_deadline_seconds:
                await trio.sleep(settings.renew_seconds)
                began = trio.current_time()
                with trio.move_on_at(renewed + settings.renew_deadline_seconds):
                    if await self._tried():
                        renewed = began
                if self.holder != self._me:
                    break
            _log.warning("has lost the lease", lease=self._path, holder=self.holder)
            self.held = False
            nursery.cancel_scope.cancel()

    async def _tried(self) -> bool:
        """Take or renew the Lease; whether it is ours for its whole time from now on."""
        try:
            lease = await self._once()
        except (ApiRefusedError, UnreachableError) as error:
            # Another replica may have been first; the next look tells.
            is_conflict = isinstance(error, ApiRefusedError) and error.code == HTTPStatus.CONFLICT
            if not is_conflict and not self.problem:
                _log.warning("the lease cannot be had", lease=self._path, problem=str(error))
            self.problem = "" if is_conflict else str(error)
            pause = error.pause if isinstance(error, ApiRefusedError) else 0.0
        else:
            self.problem = ""
            self.holder = lease.holder
            return lease.holder == self._me
        await trio.sleep(min(pause, self._settings.max_retry_after_seconds))
        return False

    async def _once(self) -> LeaseView:
        now = trio.current_time()
        self._known = watched(self._known, await self._read(), now)
        lease = self._known.lease
        step = next_step(self._known, self._me, now)
        if step is Step.WAIT:
            assert lease is not None
            return lease
        body = lease_body(self._wanted, lease, _micro_time())
        if step is Step.CREATE:
            written = await create(self._access, self._collection, body)
        else:
            written = await replace(self._access, self._path, body)
        self._known = Watched(read_lease(written), now)
        return read_lease(written)

    async def _read(self) -> LeaseView | None:
        try:
            return read_lease(await read(self._access, self._path))
        except ApiRefusedError as refused:
            if refused.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def _release(self) -> None:
        lease = self._known.lease if self._known is not None else None
        if lease is None or lease.holder != self._me:
            return
        try:
            await patch(self._access, self._path, released(lease, _micro_time()))
        except (ApiRefusedError, UnreachableError) as error:
            _log.info("the lease ends by itself", problem=str(error))


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
