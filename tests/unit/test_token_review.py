"""A ServiceAccount's token lets in the node that its Pod runs on, on the API server's word."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.policy.token_review import Judgement, PodReference, judge_pod, judge_review
from edgemesh.wire.kubernetes_api.token_review import (
    NODE_NAME,
    POD_NAME,
    POD_UID,
    read_bound_pod,
    read_review,
    token_review,
)

ACCOUNT = "system:serviceaccount:edgemesh:edgemesh-agent"
AGENT = PodReference("edgemesh", "agent-x", "uid-1", "edgemesh-agent")
NAMES = st.sampled_from(["edge-1", "edge-2", ""])


@dataclass(frozen=True)
class Said:
    """What the API server says of a good token."""

    authenticated: bool = True
    username: str = ACCOUNT
    audiences: tuple[str, ...] = ("edgemesh",)
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ((NODE_NAME, ("edge-1",)),)

    def judged(self, node: str = "edge-1") -> Judgement:
        status: dict[str, Any] = {"audiences": self.audiences}
        if self.authenticated:
            status["authenticated"] = True
        status["user"] = {"username": self.username, "uid": "u", "extra": dict(self.extra)}
        review = read_review({**token_review("t", "edgemesh"), "status": status})
        return judge_review(review, service_account=ACCOUNT, audience="edgemesh", node=node)


GOOD = Said()
BOUND = ((POD_NAME, (AGENT.name,)), (POD_UID, (AGENT.uid,)))


def test_the_question_names_the_audience() -> None:
    assert token_review("abc", "edgemesh")["spec"] == {"token": "abc", "audiences": ["edgemesh"]}


def test_a_good_token_lets_its_node_in() -> None:
    assert GOOD.judged() == Judgement()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (replace(GOOD, authenticated=False), "the API server refuses the token"),
        (replace(GOOD, audiences=()), "not for audience edgemesh"),
        (replace(GOOD, audiences=("https://kubernetes.default.svc",)), "not for audience"),
        (replace(GOOD, username="system:serviceaccount:default:default"), "not of system:"),
        (replace(GOOD, username="edgemesh-agent"), "token is of edgemesh-agent, not of"),
        (replace(GOOD, extra=()), "bound to no Pod"),
        (replace(GOOD, extra=BOUND[:1]), "bound to no Pod"),
        (replace(GOOD, extra=((POD_NAME, ("a", "b")), BOUND[1])), "bound to no Pod"),
        (replace(GOOD, extra=((NODE_NAME, ("edge-2",)),)), "on node edge-2, not on edge-1"),
        (replace(GOOD, extra=((NODE_NAME, ()), *BOUND)), "of a Pod on no node"),
        (replace(GOOD, extra=((NODE_NAME, ("edge-1", "edge-2")),)), "of a Pod on no node"),
    ],
)
def test_any_other_token_is_refused_with_the_reason(said: Said, told: str) -> None:
    judgement = said.judged()
    assert told in judgement.refusal
    assert judgement.pod is None


def test_the_words_of_the_api_server_are_passed_on() -> None:
    review = read_review({"status": {"user": {}, "error": "token lookup failed"}})
    judged = judge_review(review, service_account=ACCOUNT, audience="edgemesh", node="n")
    assert judged.refusal == "the API server refuses the token: token lookup failed"


def test_where_the_node_is_not_told_the_pod_has_to_be_looked_at() -> None:
    assert replace(GOOD, extra=BOUND).judged() == Judgement(pod=AGENT)


@given(told=NAMES, wanted=NAMES)
def test_a_node_is_let_in_by_a_token_of_its_own_only(told: str, wanted: str) -> None:
    judged = replace(GOOD, extra=((NODE_NAME, (told,)),)).judged(wanted)
    assert (judged == Judgement()) is (told == wanted != "")


@given(
    uid=st.sampled_from([AGENT.uid, "uid-2"]),
    account=st.sampled_from([AGENT.service_account, "default"]),
    runs_on=NAMES,
    node=NAMES,
)
def test_a_pod_counts_while_it_is_the_one_that_the_token_was_issued_for(
    uid: str, account: str, runs_on: str, node: str
) -> None:
    spec = {"nodeName": runs_on, "serviceAccountName": account}
    found = read_bound_pod({"metadata": {"uid": uid}, "spec": spec})
    is_agent = (uid, account) == (AGENT.uid, AGENT.service_account)
    assert (judge_pod(AGENT, found, node) == "") is (is_agent and runs_on == node != "")


def test_a_pod_that_says_nothing_lets_nobody_in() -> None:
    assert judge_pod(AGENT, read_bound_pod({}), "")


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["status", "user", "extra", "audiences", "authenticated"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_an_answer_of_another_form_is_refused_or_lets_nobody_in(answer: Any) -> None:
    try:
        review = read_review(answer)
    except msgspec.ValidationError:
        return
    judged = judge_review(review, service_account=ACCOUNT, audience="edgemesh", node="edge-1")
    assert judged.refusal
