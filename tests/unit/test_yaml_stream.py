"""YAML is read as Kubernetes reads it, and hostile YAML costs nothing."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.settings import ManifestLimits
from edgemesh.wire import yaml_stream
from edgemesh.wire.documents import DocumentError
from edgemesh.wire.yaml_stream import read_yaml

LIMITS = ManifestLimits(max_depth=8, max_alias_bytes=1000)


def values(text: str | bytes) -> list[Any]:
    data = text.encode() if isinstance(text, str) else text
    return [document.value for document in read_yaml(data, LIMITS)]


def outcome(text: str | bytes) -> str:
    try:
        return repr(values(text))
    except DocumentError as error:
        return str(error)


def refused(text: str | bytes) -> str:
    with pytest.raises(DocumentError) as caught:
        values(text)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("Null", None),
        ("true", True),
        ("Yes", True),
        ("OFF", False),
        ("y", "y"),
        ("42", 42),
        ("-42", -42),
        ("+1_000", 1000),
        ("0", 0),
        ("0o17", 15),
        ("017", 15),
        ("0x1F", 31),
        ("0b101", 5),
        ("18446744073709551615", 2**64 - 1),
        ("08", 8.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("22:22", "22:22"),
        ("2026-01-02", "2026-01-02"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("1.2.3.4", "1.2.3.4"),
        ("0x", "0x"),
        ("0x_", "0x_"),
        ("'42'", "42"),
        ('"true"', "true"),
        ("!!str 42", "42"),
        ("! 42", "42"),
        ("|\n  one\n  two\n", "one\ntwo\n"),
        ("!!map {}", {}),
        ("!!seq []", []),
    ],
)
def test_a_scalar_has_the_type_that_kubernetes_gives_it(text: str, value: Any) -> None:
    [document] = values(f"a: {text}")
    assert document == {"a": value}
    assert type(document["a"]) is type(value)


def test_keys_are_text() -> None:
    assert values("{8080: a, true: b, 1.5: c}") == [{"8080": "a", "true": "b", "1.5": "c"}]


def test_documents_are_counted_from_one_and_may_be_empty() -> None:
    documents = list(read_yaml(b"# no document\n---\na: 1\n---\n# empty\n---\nb: 2\n", LIMITS))
    assert [(document.number, document.value) for document in documents] == [
        (1, {"a": 1}),
        (2, None),
        (3, {"b": 2}),
    ]


def test_a_stream_without_documents_has_none() -> None:
    assert values("") == []


def test_utf_16_with_a_mark_is_read() -> None:
    assert values("a: ü".encode("utf-16")) == [{"a": "ü"}]


def test_an_alias_stands_for_its_anchor() -> None:
    assert values("a: &x [1]\nb: *x\n&k key: &s text\nc: *s\nd: *k") == [
        {"a": [1], "b": [1], "key": "text", "c": "text", "d": "key"}
    ]


def test_an_anchor_ends_with_its_document() -> None:
    assert refused("a: &x 1\n---\nb: *x").startswith("document 2, line 3, column 4: alias")


def test_a_merge_key_fills_in_what_is_not_there() -> None:
    text = "base: &b {a: 1, b: 2}\nmore: &m {b: 3, c: 4}\nall: {a: 0, <<: [*b, *m], d: 5}\n"
    assert values(text)[0]["all"] == {"a": 0, "b": 2, "c": 4, "d": 5}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert values("{'<<': 1}") == [{"<<": 1}]


@pytest.mark.parametrize("depth", [1, 8])
def test_the_depth_that_is_allowed_is_read(depth: int) -> None:
    [value] = values("[" * depth + "]" * depth)
    assert value is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: [1\nb: 2",
            (
                "document 1, line 2, column 2: while parsing a flow sequence:"
                " did not find expected ',' or ']'"
            ),
        ),
        (
            "a: b: c",
            "document 1, line 1, column 5: mapping values are not allowed in this context",
        ),
        ("a: 1\nb: 2\na: 3", 'document 1, line 3, column 1: duplicate key "a"'),
        (
            "a: &x [*x]",
            'document 1, line 1, column 8: alias "x" stands for nothing complete',
        ),
        ("a: *x", 'document 1, line 1, column 4: alias "x" stands for nothing complete'),
        (
            "a: !!binary aGk=",
            'document 1, line 1, column 4: tag "tag:yaml.org,2002:binary" is not supported',
        ),
        (
            "a: !!python/object:os.system {}",
            (
                'document 1, line 1, column 4: tag "tag:yaml.org,2002:python/object:os.system"'
                " is not supported"
            ),
        ),
        ("? [a]\n: 1", "document 1, line 1, column 5: a key has to be plain text"),
        ("a: &x b\n*x : 1", "document 1, line 2, column 1: a key has to be plain text"),
        ("<<: 1", "document 1, line 1, column 5: << takes a mapping or a list of mappings"),
        ("a: .inf", 'document 1, line 1, column 4: a number that JSON cannot carry: ".inf"'),
        (
            "a: -1e999",
            'document 1, line 1, column 4: a number beyond the range of a double: "-1e999"',
        ),
        (
            "a: 18446744073709551616",
            'document 1, line 1, column 4: an integer of more than 64 bits: "18446744073709551616"',
        ),
        ("[" * 9, "document 1, line 1, column 9: more than 8 levels deep"),
        ("a: 1\nb: \x01", "line 2: not YAML text: control characters are not allowed"),
        (b"a: \xff", "line 1: not YAML text: invalid leading UTF-8 octet"),
        ("%YAML 9.0\n---\na", "line 1, column 1: found incompatible YAML document"),
    ],
)
def test_what_is_not_accepted_is_named_with_its_place(text: str | bytes, message: str) -> None:
    assert refused(text) == message


def test_an_integer_of_a_million_digits_is_refused_at_once() -> None:
    assert "more than 64 bits" in refused("a: " + "9" * 1_000_000)


def test_aliases_cannot_stand_for_more_than_is_allowed() -> None:
    lines = ["a0: &a0 xxxxxxxxxx"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 7)]
    assert "aliases repeat more than 1000 bytes" in refused("\n".join(lines))


def test_aliases_are_counted_over_all_documents() -> None:
    document = f"a: &a {'x' * 600}\nb: *a\n"
    assert len(values(document)) == 1
    assert refused(f"{document}---\n{document}").startswith("document 2, line 5")


def test_aliases_cannot_go_deeper_than_is_allowed() -> None:
    lines = ["a0: &a0 x", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 20))]
    assert "more than 8 levels deep" in refused("\n".join(lines))


def test_a_problem_without_a_place_is_told_without_one() -> None:
    assert str(DocumentError("broken")) == "broken"


def test_without_libyaml_the_result_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a: &x [1, 'b', ~]\n<<: {c: *x}\n---\n{d: 1.5}", "a: 1\na: 2", "a: &x 1\nb: *y"]
    with_libyaml = [outcome(text) for text in texts]
    monkeypatch.setattr(yaml_stream, "_Parser", yaml.SafeLoader)
    assert [outcome(text) for text in texts] == with_libyaml


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON, st.booleans())
def test_what_was_written_as_yaml_is_read_back(value: Any, flow: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, width=2**31 - 1)
    limits = ManifestLimits()
    assert [document.value for document in read_yaml(text.encode(), limits)] == [value]


@given(st.text(alphabet="ab: -[]{}&*!|>'\"#%?,<\n\t0.", max_size=40) | st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_in_one_line(data: str | bytes) -> None:
    assert outcome(data).isprintable()
