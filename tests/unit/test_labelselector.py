from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.errors import OperatorError
from edgemesh.wire.labelselector import parse_selector, selects

LABELS = {"app": "web", "tier": "front", "app.kubernetes.io/name": "web"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app=web",
        "app==web",
        " app = web ",
        "app!=db",
        "missing!=web",
        "app",
        "!missing",
        "app in (web,db)",
        "app in ( web , db ),tier notin (back)",
        "missing notin (a)",
        "app.kubernetes.io/name=web,tier",
    ],
)
def test_labels_that_satisfy_every_requirement_are_selected(text: str) -> None:
    assert selects(parse_selector(text), LABELS)


@pytest.mark.parametrize(
    "text",
    [
        "app=db",
        "app!=web",
        "missing",
        "!app",
        "app in (db)",
        "tier notin (front,back)",
        "app=web,tier=back",
        "missing=",
    ],
)
def test_one_requirement_that_fails_is_enough(text: str) -> None:
    assert not selects(parse_selector(text), LABELS)


@pytest.mark.parametrize(
    "text", ["=web", "app=web,", "app in web", "a b", "app in ()", "(", "a=b c"]
)
def test_what_is_no_selector_is_refused_by_name(text: str) -> None:
    with pytest.raises(OperatorError, match="label selector"):
        parse_selector(text)


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,5}\Z"), st.from_regex(r"\A[a-z]{0,3}\Z")))
def test_a_selector_made_of_all_labels_selects_them_alone(labels: dict[str, str]) -> None:
    selector = parse_selector(",".join(f"{key}={value}" for key, value in labels.items()))
    assert selects(selector, labels)
    for key, value in labels.items():
        assert not selects(selector, {**labels, key: value + "x"})
