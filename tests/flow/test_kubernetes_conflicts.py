"""A status that another writes at the same time is looked at again, and nothing of it is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apiserver.answers import Answer, Request
from apiserver.front import Streamed
from apiserver.server import ApiServer
from kubernetes_fixtures import POLICIES, following, server_with, until
from metamanager_fixtures import service
from test_kubernetes_cloud import SERVICES, policy, reasons

Body = dict[str, Any]
THEIRS = {"type": "Seen", "status": "True", "reason": "Looked", "message": ""}


async def test_conditions_of_another_writer_survive_a_conflict(
    tmp_path: Path, monkeypatch: Any
) -> None:
    async with server_with("trafficpolicies") as server:
        server.put(SERVICES, service("web", clusterIP="10.96.0.9"))
        server.put(POLICIES, policy())
        result = ApiServer.result
        patched: list[str] = []

        async def outpaced(self: ApiServer, request: Request) -> Answer | Streamed:
            if request.method == "PATCH" and not patched:
                body = server.objects(POLICIES)["default", "limit"]
                server.put(POLICIES, {**body, "status": {"conditions": [THEIRS]}})
            patched.extend([request.method] * (request.method == "PATCH"))
            return await result(self, request)

        monkeypatch.setattr(ApiServer, "result", outpaced)
        async with following(tmp_path, server) as cloud:
            await until(lambda: "Accepted" in reasons(cloud.seen(POLICIES, "limit")))
            said = cloud.seen(POLICIES, "limit")["status"]["conditions"]
            assert said[0] == THEIRS
            assert len(patched) >= 2
            assert not list(cloud.status().problems())
