"""Regular expressions of routes, compiled once and kept from taking long (see ``regex_cost``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from edgemesh.wire.regex_cost import UnsupportedRegexError, longest_text

_REFERENCE: Final = re.compile(r"\\([0-9\\])")


def regex_problem(pattern: str) -> str:
    """What is wrong with a pattern, as the end of a sentence about it; "" when it can be used."""
    try:
        _compile(pattern, ignore_case=False, anywhere=False)
    except UnsupportedRegexError as problem:
        return str(problem)
    return ""


def rewrite_problem(pattern: str, substitution: str) -> str:
    """The same for a pattern whose matches are replaced, and for what they are replaced by."""
    try:
        compiled, _ = _compile(pattern, ignore_case=False, anywhere=True)
    except UnsupportedRegexError as problem:
        return str(problem)
    for reference in _REFERENCE.findall(substitution):
        if reference != "\\" and int(reference) > compiled.groups:
            return f"has no group {reference}, which the substitution names"
    return (
        "" if "\\" not in _REFERENCE.sub("", substitution) else "has a substitution with a lone \\"
    )


def regex_matcher(pattern: str, *, ignore_case: bool) -> Callable[[str], bool] | None:
    """A function that tells whether a pattern matches the whole of a text.

    A text that is longer than what can be matched in good time does not match, nor does one with
    a line break.

    Returns:
        None when the pattern cannot be used (``regex_problem``).
    """
    try:
        compiled, longest = _compile(pattern, ignore_case=ignore_case, anywhere=False)
    except UnsupportedRegexError:
        return None
    fullmatch = compiled.fullmatch
    return lambda text: len(text) <= longest and fullmatch(text) is not None and "\n" not in text


def replace_matches(pattern: str, substitution: str, text: str) -> str:
    r"""A text with all matches of a pattern replaced, as RE2's GlobalReplace does.

    A text that is longer than what can be searched in good time, and one for a pattern that
    cannot be used, stay as they are.

    Args:
        pattern: see there.
        substitution: ``\1`` to ``\9`` stand for groups, ``\0`` for the match.
        text: without line breaks.
    """
    try:
        compiled, longest = _compile(pattern, ignore_case=False, anywhere=True)
    except UnsupportedRegexError:
        return text
    if len(text) > longest:
        return text

    def expand(match: re.Match[str]) -> str:
        return _REFERENCE.sub(lambda reference: _referred(match, reference[1]), substitution)

    return compiled.sub(expand, text)


def _referred(match: re.Match[str], reference: str) -> str:
    if reference == "\\":
        return reference
    number = int(reference)
    return (match[number] or "") if number <= match.re.groups else ""


@lru_cache(maxsize=4096)
def _compile(pattern: str, *, ignore_case: bool, anywhere: bool) -> tuple[re.Pattern[str], int]:
    longest = longest_text(pattern, anywhere=anywhere)
    try:
        compiled = re.compile(pattern, re.ASCII | (re.IGNORECASE if ignore_case else 0))
    except re.error as error:
        raise UnsupportedRegexError(f"is not valid: {error}") from None
    return compiled, longest
