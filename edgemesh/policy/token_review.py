"""Whether a ServiceAccount's token lets a node enrol: only that of the agent's Pod on that node.

Nothing that the token says by itself counts, but what the API server says of it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from edgemesh.wire.kubernetes_api.token_review import (
    NODE_NAME,
    POD_NAME,
    POD_UID,
    BoundPod,
    ReviewedToken,
)

_SERVICE_ACCOUNT: Final = "system:serviceaccount:"


class PodReference(NamedTuple):
    """The Pod that a token is bound to, and the ServiceAccount that it runs as."""

    namespace: str
    name: str
    uid: str
    service_account: str


class Judgement(NamedTuple):
    """What came of a review.

    Args:
        refusal: why the node may not enrol, "" when it may, or that is not known yet.
        pod: that has to be looked at, for its node was not told; None when all is settled.
    """

    refusal: str = ""
    pod: PodReference | None = None


def judge_review(
    review: ReviewedToken, *, service_account: str, audience: str, node: str
) -> Judgement:
    """Judge what the API server says of a token.

    Args:
        review: its answer.
        service_account: whose tokens count, ``system:serviceaccount:NAMESPACE:NAME``.
        audience: that they have to be for.
        node: that wants to enrol.
    """
    user = review.user
    if not review.authenticated:
        return Judgement(f"the API server refuses the token: {review.error or 'no reason given'}")
    if audience not in review.audiences:
        return Judgement(f"token is not for audience {audience}")
    if user.username != service_account:
        return Judgement(f"token is of {user.username}, not of {service_account}")
    if NODE_NAME in user.extra:
        return Judgement(_wrong_node(user.only(NODE_NAME), node))
    namespace, _, account = service_account.removeprefix(_SERVICE_ACCOUNT).partition(":")
    pod = PodReference(namespace, user.only(POD_NAME), user.only(POD_UID), account)
    if all(pod):
        return Judgement(pod=pod)
    return Judgement("token is bound to no Pod, so nobody knows which node it is on")


def judge_pod(pod: PodReference, found: BoundPod, node: str) -> str:
    """Why a node may not enrol with a token of this Pod; "" when it may.

    Args:
        pod: that the token is bound to.
        found: what has its name now.
        node: that wants to enrol.
    """
    if found.metadata.uid != pod.uid or found.spec.service_account_name != pod.service_account:
        return f"token is of a Pod {pod.namespace}/{pod.name} that is gone"
    return _wrong_node(found.spec.node_name, node)


def _wrong_node(told: str, node: str) -> str:
    if not told:
        return "token is of a Pod on no node"
    return "" if told == node else f"token is of a Pod on node {told}, not on {node}"
