"""Nodes that enrol on the word of the API server: their ServiceAccount's token is reviewed."""

from __future__ import annotations

import re
from typing import Final

import msgspec
import trio

from edgemesh.cloud import objects
from edgemesh.cloud.access import Access, UnreachableError
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.policy.token_review import PodReference, judge_pod, judge_review
from edgemesh.wire.kubernetes_api.token_review import (
    REVIEWS_PATH,
    read_bound_pod,
    read_review,
    token_review,
)

_NOT_FOUND: Final = 404
# What a path may have in it: Kubernetes' names, which the API server's own word is (RFC 1123).
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


class TokenReviews:
    """Asks an API server whose tokens are.

    Args:
        access: to the server.
        settings: which tokens count, and how many are asked about at a time.
    """

    def __init__(self, access: Access, settings: KubernetesSettings) -> None:
        self._access = access
        self._settings = settings
        # Anybody may send something like a token: the API server is not to suffer for it.
        self._at_once = trio.CapacityLimiter(settings.max_reviews)

    async def review(self, token: str, node: str) -> str:
        """Why a node may not enrol with a ServiceAccount's token; "" when it may.

        Args:
            token: a JWT.
            node: that wants to enrol.
        """
        try:
            async with self._at_once:
                return await self._review(token, node)
        except (objects.ApiRefusedError, UnreachableError) as error:
            return f"the API server cannot be asked about the token: {error}"
        except msgspec.ValidationError as error:
            return f"the API server says what is not understood about the token: {error}"

    async def _review(self, token: str, node: str) -> str:
        settings = self._settings
        question = token_review(token, settings.agent_audience)
        judgement = judge_review(
            read_review(await objects.create(self._access, REVIEWS_PATH, question)),
            service_account=settings.agent_service_account,
            audience=settings.agent_audience,
            node=node,
        )
        if judgement.pod is None:
            return judgement.refusal
        return await self._review_pod(judgement.pod, node)

    async def _review_pod(self, pod: PodReference, node: str) -> str:
        if not (_NAME.fullmatch(pod.namespace) and _NAME.fullmatch(pod.name)):
            return "token is of a Pod whose name is none"
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        try:
            found = await objects.read(self._access, path)
        except objects.ApiRefusedError as error:
            if error.code != _NOT_FOUND:
                raise
            return f"token is of a Pod {pod.namespace}/{pod.name} that is gone"
        return judge_pod(pod, read_bound_pod(found), node)
