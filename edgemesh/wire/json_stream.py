"""JSON texts, one after the other, as documents."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from edgemesh.model.settings import ManifestLimits
from edgemesh.wire.documents import Document, DocumentError, parse_float, parse_integer
from edgemesh.wire.quoting import quote

_START = re.compile(rb"(\xef\xbb\xbf)?\s*\{\s*[\"}]")
_SPACE = (" ", "\t", "\r", "\n")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def looks_like_json(data: bytes) -> bool:
    """Whether a stream is to be read as JSON: it begins as an object does."""
    return _START.match(data) is not None


def read_json(data: bytes, limits: ManifestLimits) -> Iterator[Document]:
    """The documents of a stream, one after the other.

    Args:
        data: UTF-8.
        limits: the depth is held against them.

    Raises:
        DocumentError: with the document, and line and column where they are known.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"not UTF-8 text: {error.reason}", line=line) from None
    position = _skip_space(text, 0)
    number = 0
    while position < len(text):
        number += 1
        value, end = _decode(text, position, number, limits.max_depth)
        yield Document(number, value)
        position = _skip_space(text, end)


def _skip_space(text: str, position: int) -> int:
    while text[position : position + 1] in _SPACE:
        position += 1
    return position


def _decode(text: str, position: int, number: int, max_depth: int) -> tuple[Any, int]:
    try:
        value, end = _DECODER.raw_decode(text, position)
        if _SURROGATE.search(text, position, end):
            msgspec.json.encode(value)
    except json.JSONDecodeError as error:
        raise DocumentError(error.msg, number, error.lineno, error.colno) from None
    except RecursionError:
        raise DocumentError(f"more than {max_depth} levels deep", number) from None
    except UnicodeEncodeError:
        raise DocumentError("half of a surrogate pair", number) from None
    except ValueError as error:
        raise DocumentError(str(error), number) from None
    if _deeper_than(value, max_depth):
        raise DocumentError(f"more than {max_depth} levels deep", number)
    return value, end


def _deeper_than(value: Any, max_depth: int) -> bool:
    level = [value]
    for _ in range(max_depth):
        level = [child for item in level for child in _children(item)]
    return any(isinstance(item, dict | list) for item in level)


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"duplicate key {quote(key)}")
    return value


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON value")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=parse_integer,
    parse_float=parse_float,
    parse_constant=_constant,
)
