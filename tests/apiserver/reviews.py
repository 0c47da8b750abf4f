"""TokenReview: whose token this is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from apiserver.answers import Answer, Request, bad_request, method_not_allowed, ok


@dataclass(frozen=True, slots=True)
class TokenUser:
    """Who a token is of.

    Attributes:
        username: ``system:serviceaccount:edgemesh:edgemesh-agent``.
        audiences: that the token was issued for.
        extra: such as ``authentication.kubernetes.io/node-name``.
    """

    username: str
    audiences: tuple[str, ...]
    extra: Mapping[str, list[str]] = field(default_factory=dict)
    groups: tuple[str, ...] = ("system:serviceaccounts", "system:authenticated")
    uid: str = "d7f6f2c0-2f2b-4c8e-9d3b-0d7f0f7d5c11"


@dataclass(eq=False)
class Reviewer:
    """Answers TokenReviews as authentication.k8s.io/v1 does.

    Attributes:
        users: by token; all others are unknown.
    """

    users: dict[str, TokenUser] = field(default_factory=dict)

    def answer(self, request: Request) -> Answer:
        """The review with its status."""
        if request.method != "POST":
            raise method_not_allowed()
        try:
            review = msgspec.json.decode(request.body, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise bad_request(f"the object provided is unrecognized: {error}") from error
        if review.get("kind") != "TokenReview":
            raise bad_request(f"{review.get('kind')} cannot be handled as a TokenReview")
        spec = review.get("spec") or {}
        status = self._status(spec.get("token", ""), spec.get("audiences") or [])
        return ok({**review, "metadata": {}, "spec": spec, "status": status}, 201)

    def _status(self, token: str, audiences: list[str]) -> dict[str, Any]:
        user = self.users.get(token)
        if user is None:
            error = "[invalid bearer token, token lookup failed]"
            return {"user": {}, "error": error}
        shared = [audience for audience in audiences if audience in user.audiences]
        if audiences and not shared:
            error = (
                f"token audiences [{' '.join(user.audiences)}] is invalid for the target "
                f"audiences [{' '.join(audiences)}]"
            )
            return {"user": {}, "error": error}
        return {
            "authenticated": True,
            "user": {
                "username": user.username,
                "uid": user.uid,
                "groups": list(user.groups),
                "extra": dict(user.extra),
            },
            "audiences": shared or list(user.audiences),
        }
