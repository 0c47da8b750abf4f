"""TokenReview of authentication.k8s.io/v1: whose a token is, on the word of the API server.

Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/
token-review-v1/, and for ``extra`` the page "Managing Service Accounts".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field

REVIEWS_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
POD_NAME: Final = "authentication.kubernetes.io/pod-name"
POD_UID: Final = "authentication.kubernetes.io/pod-uid"
# Kubernetes 1.32 and later.
NODE_NAME: Final = "authentication.kubernetes.io/node-name"


class ReviewedUser(Struct, frozen=True):
    """Whose a token is.

    Args:
        username: ``system:serviceaccount:NAMESPACE:NAME`` for a ServiceAccount.
        extra: what else is known, such as the Pod that it was issued for.
    """

    username: str = ""
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def only(self, name: str) -> str:
        """The one value that something has, "" when it has none or several."""
        values = self.extra.get(name, ())
        return values[0] if len(values) == 1 else ""


class ReviewedToken(Struct, frozen=True):
    """``status`` of a TokenReview.

    Args:
        authenticated: whether the token is good.
        user: whose it is.
        audiences: of those that were asked for, the ones that it is for; none where the server
            knows nothing of audiences.
        error: why it is not good.
    """

    authenticated: bool = False
    user: ReviewedUser = ReviewedUser()
    audiences: tuple[str, ...] = ()
    error: str = ""


class _Review(Struct, frozen=True):
    status: ReviewedToken


class _BoundSpec(Struct, frozen=True, rename="camel"):
    node_name: str = ""
    service_account_name: str = ""


class _BoundMetadata(Struct, frozen=True):
    uid: str = ""


class BoundPod(Struct, frozen=True):
    """A Pod, as far as a token that is bound to it is concerned."""

    metadata: _BoundMetadata = _BoundMetadata()
    spec: _BoundSpec = _BoundSpec()


def token_review(token: str, audience: str) -> dict[str, Any]:
    """The body that asks whose a token is."""
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [audience]},
    }


def read_review(body: Mapping[str, Any]) -> ReviewedToken:
    """What the server has found.

    Args:
        body: its answer, as JSON values.

    Raises:
        msgspec.ValidationError: it is no such answer.
    """
    return msgspec.convert(body, _Review).status


def read_bound_pod(body: Mapping[str, Any]) -> BoundPod:
    """Read a Pod.

    Raises:
        msgspec.ValidationError: it is none.
    """
    return msgspec.convert(body, BoundPod)
