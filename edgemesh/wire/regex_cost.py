r"""What the regular expression of a route can cost, and why some are refused.

Istio and the Gateway API mean RE2, which takes time in proportion to the text. Python's ``re``
backtracks: ``(a+)+b`` takes longer than the universe for a few dozen letters, and who calls
chooses the letters. So a pattern is read here before it is compiled. It must be in what RE2 and
``re`` have in common, and from its repetitions and choices follows a bound of the number of
steps, hence of the length of a text on which it is tried.

Not supported of RE2: ``\p{..}``, ``\pN``, ``[[:alpha:]]``, ``\z``, ``\C``, ``\Q..\E``,
``\x{..}``, the flag ``U``, flags in mid-pattern other than ``(?i:..)``, and repetitions of a group
that itself has a repetition or a choice. ``\d``, ``\w`` and ``\s`` are ASCII, as in RE2.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# A step of ``re`` takes about a nanosecond: 5 ms at worst, and far less for any honest text.
_STEPS: Final = 5_000_000
# A bound below this would turn away texts that people have in mind.
_SHORTEST_BOUND: Final = 128
_LONGEST_PATTERN: Final = 1024
# RE2's own bound of a counted repetition.
_LARGEST_COUNT: Final = 1000
# Counted repetitions with so many lengths count as choices, others as loops.
_FEW_LENGTHS: Final = 8

_ESCAPE: Final = r"\\(?:[dDwWsSbBAafnrtv]|x[0-9A-Fa-f]{2}|[^0-9A-Za-z])"
_TOKEN: Final = re.compile(
    rf"(?P<atom>{_ESCAPE}|[^\\()\[|*+?{{}}^$])"
    rf"|(?P<set>\[\^?\]?(?:{_ESCAPE}|[^\]\\])*\])"
    r"|(?P<open>\((?:\?(?:P<[A-Za-z_]\w*>|[ims]*(?:-[ims]+)?:))?(?!\?))"
    r"|(?P<close>\))"
    r"|(?P<bar>\|)"
    r"|(?P<repeat>(?:[*+?]|\{(?P<least>[0-9]+)(?P<comma>,(?P<most>[0-9]*))?\})\??)"
    r"|(?P<anchor>[\^$])"
    r"|(?P<brace>[{}])",
    re.ASCII,
)
_LEADING_FLAGS: Final = re.compile(r"\(\?[ims]+\)")
# What is ambiguous in a set of Python's, or a POSIX class.
_DOUBTFUL_IN_SET: Final = re.compile(r"\[|--|&&|\|\||~~")
# The end of the pattern, with groups that end or may be left out.
_ENDING: Final = re.compile(r"[)?$]*")
# A plain character that has to come next, groups may end before.
_NEXT_LITERAL: Final = re.compile(
    r"\)*(?:\\([^0-9A-Za-z])|([^\\()\[|*+?{}^$.]))(?![*?{])", re.ASCII
)


class UnsupportedRegexError(ValueError):
    """A pattern that is not used; its text says why, for the operator who wrote it."""


class _Cost(NamedTuple):
    """How a part of a pattern can match: ``ways * length ** loops`` paths lead through a text.

    ``runs`` says whether there are repetitions that end where the next character begins: they
    open no further path, but each path takes their time.
    """

    ways: int = 1
    loops: int = 0
    runs: bool = False

    def then(self, other: _Cost) -> _Cost:
        return _Cost(self.ways * other.ways, self.loops + other.loops, self.runs or other.runs)

    def or_else(self, other: _Cost) -> _Cost:
        return _Cost(self.ways + other.ways, max(self.loops, other.loops), self.runs or other.runs)


_NOTHING: Final = _Cost()


class _Frame:
    """A group that is being read: its finished alternatives, the present one, its last item."""

    __slots__ = ("done", "item", "item_text", "sequence")

    def __init__(self) -> None:
        self.done: _Cost | None = None
        self.sequence = _NOTHING
        self.item: _Cost | None = None
        self.item_text = ""

    def add(self, item: _Cost | None, text: str = "") -> None:
        if self.item is not None:
            self.sequence = self.sequence.then(self.item)
        self.item, self.item_text = item, text

    def end_alternative(self) -> _Cost:
        self.add(None)
        self.done = self.done.or_else(self.sequence) if self.done else self.sequence
        self.sequence = _NOTHING
        return self.done


def longest_text(pattern: str, *, anywhere: bool = False) -> int:
    """The length up to which a text may be matched against a pattern.

    Args:
        pattern: as its object has it.
        anywhere: it is searched in the text, and not matched against the whole of it.

    Raises:
        UnsupportedRegexError: It must not be used, or on short texts only.
    """
    if len(pattern) > _LONGEST_PATTERN:
        raise UnsupportedRegexError(f"is longer than {_LONGEST_PATTERN} characters")
    cost = _read(pattern)
    exponent = cost.loops + cost.runs + (anywhere and not pattern.startswith("^"))
    longest = int((_STEPS / cost.ways) ** (1 / max(exponent, 1)))
    if longest < _SHORTEST_BOUND:
        raise UnsupportedRegexError(
            "has so many repetitions or choices, one after the other, that matching could take"
            " too long"
        )
    return longest


def _read(pattern: str) -> _Cost:
    flags = _LEADING_FLAGS.match(pattern)
    position = flags.end() if flags else 0
    frames = [_Frame()]
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:
            raise UnsupportedRegexError(f"has {pattern[position : position + 4]!r}: not supported")
        position = token.end()
        _take(frames, token)
    if len(frames) > 1:
        raise UnsupportedRegexError("has a ( without its )")
    return frames[0].end_alternative()


def _take(frames: list[_Frame], token: re.Match[str]) -> None:
    frame, kind, text = frames[-1], token.lastgroup, token[0]
    if token["repeat"]:
        if frame.item is None:
            raise UnsupportedRegexError(f"has {text!r} where there is nothing to repeat")
        frame.item = _repeated(frame.item, frame.item_text, token)
        frame.add(None)
    elif kind == "open":
        frames.append(_Frame())
    elif kind == "close":
        if len(frames) == 1:
            raise UnsupportedRegexError("has a ) without its (")
        frames.pop()
        frames[-1].add(frame.end_alternative())
    elif kind == "bar":
        frame.end_alternative()
    elif kind == "anchor":
        frame.add(None)
    elif kind == "brace":
        raise UnsupportedRegexError(f"has {text!r} as a plain character: put \\ before it")
    else:
        if kind == "set" and _DOUBTFUL_IN_SET.search(text, 1):
            raise UnsupportedRegexError(f"has {text!r}: put \\ before [ and before --, &&, ||, ~~")
        frame.add(_NOTHING, text)


def _repeated(item: _Cost, item_text: str, token: re.Match[str]) -> _Cost:
    least, most = _counts(token)
    if most == 1:
        return item.or_else(_NOTHING) if least == 0 else item
    if least == most and item != _NOTHING:
        return _Cost(min(item.ways**least, _STEPS), item.loops * least, item.runs)
    if item.ways > 1 or item.loops:
        raise UnsupportedRegexError("repeats a group that has a repetition or a choice")
    if item.runs:
        return _Cost(loops=1, runs=True)
    if most is not None and most - least < _FEW_LENGTHS:
        return _Cost(most - least + 1)
    rest = token.string[token.end() :]
    if item_text == "." and _ENDING.fullmatch(rest):
        return _NOTHING
    follows = _NEXT_LITERAL.match(rest)
    if follows and item_text and not _can_be(item_text, follows[1] or follows[2]):
        return _Cost(runs=True)
    return _Cost(loops=1)


def _counts(token: re.Match[str]) -> tuple[int, int | None]:
    """How often at least and at most; None for no end."""
    if token["least"] is None:
        symbol = token[0][0]
        return (1 if symbol == "+" else 0), (1 if symbol == "?" else None)
    least = int(token["least"])
    most = least if token["comma"] is None else int(token["most"]) if token["most"] else None
    if max(least, most or 0) > _LARGEST_COUNT:
        raise UnsupportedRegexError(f"repeats something more than {_LARGEST_COUNT} times")
    return least, most


def _can_be(item: str, character: str) -> bool:
    return re.fullmatch(item, character, re.IGNORECASE | re.ASCII) is not None
