"""Regular expressions of routes: which are used, on which texts, and that none takes long."""

from __future__ import annotations

import re
from time import process_time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgemesh.wire.regex import (
    regex_matcher,
    regex_problem,
    replace_matches,
    rewrite_problem,
)
from edgemesh.wire.regex_cost import UnsupportedRegexError, longest_text

USED = [
    r"/api/.*",
    r".*foo.*",
    r"/a/[^/]+/b/[^/]+/c/[^/]+/d/[^/]+",
    r"/users/\d+/(profile|settings)?",
    r"^/svc/([^/]+)(/.*)$",
    r"^(.*?;)?(user=jason)(;.*)?$",
    r"(?i)/API/.*",
    r"(?i:/api)/(?P<id>[0-9a-f]{8}-[0-9a-f]{4})",
    r"([0-9]{1,3}\.){3}[0-9]{1,3}",
    r"[a-z0-9]{1,63}\.example\.org",
    r"(?:ab)*c{3}d{2,}",
    r"([^/]+/)*index\.html",
    r"[]a-z-]+\x41",
    r"a|b|",
    r"\.\*\{x\}",
]
REFUSED = {
    r"(a+)+b": "repeats a group",
    r"(a|b)*": "repeats a group",
    r"(a?)*": "repeats a group",
    r"((a*)b?){1,20}": "repeats a group",
    r"(?=a)b": "not supported",
    r"(?!a)b": "not supported",
    r"(?<=a)b": "not supported",
    r"(?>a)b": "not supported",
    r"(?#comment)": "not supported",
    r"(?P=name)": "not supported",
    r"a(?i)b": "not supported",
    r"(?x) a": "not supported",
    r"(a)\1": "not supported",
    r"\pL": "not supported",
    r"\p{Greek}": "not supported",
    r"a\z": "not supported",
    r"\Qa.b\E": "not supported",
    r"\x{41}": "not supported",
    r"\C": "not supported",
    r"[[:alpha:]]": "put \\ before",
    r"[a&&b]": "put \\ before",
    r"[a--b]": "put \\ before",
    r"a{,5}": "put \\ before",
    r"a{1}{": "put \\ before",
    r"a}": "put \\ before",
    r"a**": "nothing to repeat",
    r"a*+": "nothing to repeat",
    r"a{2}+": "nothing to repeat",
    r"*a": "nothing to repeat",
    r"^*": "nothing to repeat",
    r"(|*)": "nothing to repeat",
    r"(a": "without its )",
    r"a)": "without its (",
    r"[a": "not supported",
    r"[b-a]": "is not valid",
    r"a{2,1}": "is not valid",
    r"(?P<n>a)(?P<n>b)": "is not valid",
    r"a{1001}": "more than 1000 times",
    r"a{1,1001}": "more than 1000 times",
    r".*.*.*.*x": "too long",
    "a?" * 40: "too long",
    "(a|b)" * 200: "too long",
    "(a|a){1000}": "too long",
    "x" * 1025: "longer than 1024",
}


@pytest.mark.parametrize("pattern", USED)
def test_a_pattern_that_is_used(pattern: str) -> None:
    assert regex_problem(pattern) == ""


def test_an_empty_pattern_matches_the_empty_text() -> None:
    matches = regex_matcher("", ignore_case=False)
    assert matches is not None
    assert matches("")
    assert not matches("a")


@pytest.mark.parametrize("pattern", REFUSED, ids=range(len(REFUSED)))
def test_a_pattern_that_is_refused_with_its_reason(pattern: str) -> None:
    assert REFUSED[pattern] in regex_problem(pattern)
    assert regex_matcher(pattern, ignore_case=False) is None


@pytest.mark.parametrize(
    ("pattern", "text", "holds"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("a|b", "b", True),
        ("a$", "a\n", False),
        ("a.*", "a\nb", False),
        ("[^/]+", "a\nb", False),
        (r"\d+", "٣", False),
        (r"\w+", "é", False),
        ("(?i)a", "A", True),
    ],
)
def test_a_pattern_is_matched_against_the_whole_text(pattern: str, text: str, holds: bool) -> None:
    matches = regex_matcher(pattern, ignore_case=False)
    assert matches is not None
    assert matches(text) is holds


def test_letters_of_either_case_match_when_case_is_ignored() -> None:
    matches = regex_matcher("/a", ignore_case=True)
    assert matches is not None
    assert matches("/A")


def test_a_text_beyond_the_bound_does_not_match() -> None:
    pattern = ".*a.*b.*c"
    bound = longest_text(pattern)
    matches = regex_matcher(pattern, ignore_case=False)
    assert matches is not None
    assert matches("abc".rjust(bound, "x"))
    assert not matches("abc".rjust(bound + 1, "x"))


def test_honest_patterns_match_texts_of_every_length_that_a_head_can_have() -> None:
    for pattern in (r"/api/.*", r".*foo.*", r"/users/\d+/x?", r"^/svc/([^/]+)(/.*)$"):
        assert longest_text(pattern) > 60_000


atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^b]", r"\w", "/", "(?:ab)", "ab"])
marks = st.sampled_from(["", "", "*", "+", "?", "*?", "+?", "{2}", "{0,3}", "{1,}", "{2,40}"])
pieces = st.tuples(atoms, marks).map("".join)
patterns = st.recursive(
    pieces,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4).map("".join)
        | st.lists(inner, min_size=1, max_size=3).map(lambda each: f"({'|'.join(each)})")
        | st.tuples(inner, marks).map(lambda each: f"({each[0]}){each[1]}")
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=300)
@given(patterns, st.sampled_from(["a", "ab", "ab/", "b", "aab"]), st.sampled_from("abx/"))
def test_no_pattern_that_is_used_takes_long(pattern: str, unit: str, end: str) -> None:
    try:
        bound = min(longest_text(pattern), 60_000)
    except UnsupportedRegexError:
        return
    matches = regex_matcher(pattern, ignore_case=False)
    assume(matches is not None)
    assert matches is not None
    text = (unit * bound)[: bound - 1] + end
    begin = process_time()
    matches(text)
    assert process_time() - begin < 0.25


@given(patterns, st.text("ab/", max_size=30))
def test_a_pattern_that_is_used_means_what_it_means_to_python(pattern: str, text: str) -> None:
    matches = regex_matcher(pattern, ignore_case=False)
    if matches is not None:
        assert matches(text) == bool(re.fullmatch(pattern, text))


@pytest.mark.parametrize(
    ("pattern", "substitution", "path", "changed"),
    [
        (r"^/service/([^/]+)(/.*)$", r"\2/at/\1", "/service/foo/v1/api", "/v1/api/at/foo"),
        ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
        (r"^(.*?)one(.*)$", r"\1two\2", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/one/zzz"),
        (r"(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"),
        ("/a", r"[\0]\\", "/a", "[/a]\\"),
        ("(a)|b", r"<\1>", "ab", "<a><>"),
        ("(a", "b", "(a", "(a"),
        ("a", r"\7", "a", ""),
    ],
)
def test_matches_are_replaced_as_re2_does(
    pattern: str, substitution: str, path: str, changed: str
) -> None:
    assert replace_matches(pattern, substitution, path) == changed


def test_a_text_beyond_the_bound_is_not_rewritten() -> None:
    long = "a" * (longest_text(".*a.*b", anywhere=True) + 1) + "b"
    assert replace_matches(".*a.*b", "x", long) == long


@pytest.mark.parametrize(
    ("pattern", "substitution", "problem"),
    [
        ("(a)", r"\1\0\\", ""),
        ("(a)", r"\2", "has no group 2"),
        ("(a", "x", "without its )"),
        ("a", r"\x", "lone \\"),
    ],
)
def test_a_rewrite_is_checked_before_it_is_used(
    pattern: str, substitution: str, problem: str
) -> None:
    found = rewrite_problem(pattern, substitution)
    assert problem in found
    assert bool(found) is bool(problem)
