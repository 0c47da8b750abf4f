"""YAML streams as documents of JSON values, the way Kubernetes reads them.

Works on parser events, not on PyYAML's nodes: one pass, no recursion, so a hostile file can
neither exhaust the stack nor stand for more than it says. Types follow Kubernetes' YAML (1.1
without base 60): dates stay text, ``yes`` and ``on`` are true, keys are text. Merge keys
(``<<``) are honoured; tags other than those of plain JSON values are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from edgemesh.model.settings import ManifestLimits
from edgemesh.wire.documents import Document, DocumentError, parse_float, parse_integer
from edgemesh.wire.quoting import quote

# libyaml's parser, when PyYAML was built with it, is some twenty times faster.
_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_STRING_TAGS = ("!", f"{_TAG}str")
_COLLECTION_TAGS = (None, "!", f"{_TAG}map", f"{_TAG}seq")
_WORDS: dict[str, Any] = {
    word: value
    for value, words in (
        (None, ("", "~", "null")),
        (True, ("true", "yes", "on")),
        (False, ("false", "no", "off")),
    )
    for plain in words
    for word in (plain, plain.capitalize(), plain.upper())
}
_NUMBER_START = frozenset("+-.0123456789")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MERGE: Any = object()
_NO_KEY: Any = object()


class _Frame:
    """A mapping or list that is being filled.

    ``weight`` counts its text, ``height`` how deep it goes below itself, both with aliases
    spelled out.
    """

    __slots__ = ("anchor", "container", "height", "key", "merged", "weight")

    def __init__(self, container: Any, anchor: str | None) -> None:
        self.container = container
        self.anchor = anchor
        self.key: Any = _NO_KEY
        self.merged: list[dict[str, Any]] = []
        self.weight = 1
        self.height = 1


def read_yaml(data: bytes, limits: ManifestLimits) -> Iterator[Document]:
    """The documents of a stream, one after the other; empty ones have the value None.

    Args:
        data: UTF-8, or UTF-16 with a byte order mark.
        limits: depth and aliases are held against them.

    Raises:
        DocumentError: with document, line and column.
    """
    number = 0
    try:
        parser = _Parser(data)
        builder = _Builder(limits)
        while parser.check_event():
            event = parser.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                number += 1
                builder = _Builder(limits, builder.alias_bytes)
            elif isinstance(event, yaml.DocumentEndEvent):
                yield Document(number, builder.value)
            else:
                builder.take(event)
    except _EventError as error:
        mark = error.event.start_mark
        raise DocumentError(str(error), number, mark.line + 1, mark.column + 1) from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, number) from None
    except yaml.reader.ReaderError as error:
        line = data.count(b"\n", 0, error.position) + 1
        raise DocumentError(f"not YAML text: {error.reason}", number, line) from None


def _syntax_error(error: yaml.MarkedYAMLError, number: int) -> DocumentError:
    problem = f"{error.context}: {error.problem}" if error.context else str(error.problem)
    mark = error.problem_mark
    assert mark is not None, "scanner and parser always tell where"
    return DocumentError(problem, number, mark.line + 1, mark.column + 1)


class _EventError(ValueError):
    """An event that is not accepted, with the reason."""

    def __init__(self, event: Any, problem: str) -> None:
        super().__init__(problem)
        self.event = event


class _Builder:
    """Puts the events of one document together.

    Theory of operation: the stack holds the open mappings and lists, outermost first. A value
    that is complete goes into the top one; a scalar where a mapping waits for a key is a key.
    An anchor's value is known once it is complete, with its weight and height, so that an
    alias, which only adds a reference, is charged for all that it stands for.
    """

    def __init__(self, limits: ManifestLimits, alias_bytes: int = 0) -> None:
        self.value: Any = None
        self.alias_bytes = alias_bytes
        self._limits = limits
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self._takers = {
            yaml.ScalarEvent: self._take_scalar,
            yaml.MappingStartEvent: self._open,
            yaml.SequenceStartEvent: self._open,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._take_alias,
        }

    def take(self, event: Any) -> None:
        """Take the next event; those of the stream itself carry nothing."""
        taker = self._takers.get(type(event))
        if taker is not None:
            taker(event)

    def _take_scalar(self, event: Any) -> None:
        value = _scalar(event)
        weight = 1 + len(event.value)
        if event.anchor:
            self._anchors[event.anchor] = (value, weight, 0)
        if self._stack:
            frame = self._stack[-1]
            if frame.key is _NO_KEY and type(frame.container) is dict:
                _take_key(frame, event)
                return
        self._add(event, value, weight, 0)

    def _take_alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise _EventError(event, f"alias {quote(event.anchor)} stands for nothing complete")
        value, weight, height = self._anchors[event.anchor]
        self.alias_bytes += weight
        if self.alias_bytes > self._limits.max_alias_bytes:
            limit = self._limits.max_alias_bytes
            raise _EventError(event, f"aliases repeat more than {limit} bytes")
        self._check_depth(event, height)
        self._add(event, value, weight, height)

    def _open(self, event: Any) -> None:
        if event.tag not in _COLLECTION_TAGS:
            raise _EventError(event, f"tag {quote(event.tag)} is not supported")
        self._check_depth(event, 1)
        container: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._stack.append(_Frame(container, event.anchor))

    def _close(self, event: Any) -> None:
        frame = self._stack.pop()
        for mapping in frame.merged:
            for key, value in mapping.items():
                frame.container.setdefault(key, value)
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.container, frame.weight, frame.height)
        self._add(event, frame.container, frame.weight, frame.height)

    def _check_depth(self, event: Any, height: int) -> None:
        if len(self._stack) + height > self._limits.max_depth:
            raise _EventError(event, f"more than {self._limits.max_depth} levels deep")

    def _add(self, event: Any, value: Any, weight: int, height: int) -> None:
        if not self._stack:
            self.value = value
            return
        frame = self._stack[-1]
        frame.weight += weight
        frame.height = max(frame.height, height + 1)
        if type(frame.container) is list:
            frame.container.append(value)
        elif frame.key is _NO_KEY:
            raise _EventError(event, "a key has to be plain text")
        elif frame.key is _MERGE:
            frame.merged += _mappings(event, value)
            frame.key = _NO_KEY
        else:
            frame.container[frame.key] = value
            frame.key = _NO_KEY


def _take_key(frame: _Frame, event: Any) -> None:
    key = event.value
    if key == "<<" and event.implicit[0]:
        frame.key = _MERGE
    elif key in frame.container:
        raise _EventError(event, f"duplicate key {quote(key)}")
    else:
        frame.key = key
        frame.weight += 1 + len(key)


def _mappings(event: Any, value: Any) -> list[dict[str, Any]]:
    """What a merge key takes over: one mapping, or a list of them."""
    mappings = value if isinstance(value, list) else [value]
    if not all(isinstance(mapping, dict) for mapping in mappings):
        raise _EventError(event, "<< takes a mapping or a list of mappings")
    return mappings


def _scalar(event: Any) -> Any:
    if event.tag is not None:
        if event.tag not in _STRING_TAGS:
            raise _EventError(event, f"tag {quote(event.tag)} is not supported")
        return event.value
    if not event.implicit[0]:
        return event.value
    try:
        return _resolve(event.value)
    except ValueError as error:
        raise _EventError(event, f"{error}: {quote(event.value)}") from None


def _resolve(text: str) -> Any:
    """The JSON value of a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START:
        return text
    integer = parse_integer(text)
    if integer is not None:
        return integer
    if _FLOAT.fullmatch(text):
        return parse_float(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("a number that JSON cannot carry")
    return text
