"""Valid HTTP/1 messages for hypothesis: every framing, every shape of head that RFC 9112 allows.

A message is made from a few hundred random bytes, one choice after the other, so that thousands
of messages cost seconds; zeros make the simplest message, which is what hypothesis shrinks to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from hypothesis import strategies as st

Value = TypeVar("Value")

_TOKEN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_BEYOND_ASCII = "".join(map(chr, range(0x80, 0x100)))
_ASCII_TARGET = _VISIBLE.replace("#", "").replace("?", "")
_TARGET = _ASCII_TARGET + _BEYOND_ASCII
_VALUE = _VISIBLE + _BEYOND_ASCII + "\t "
_QUOTABLE = _VALUE.replace('"', "").replace("\\", "")

NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE = "none", "length", "chunked", "until_close"
_BODILESS_STATUSES = (204, 304)
_STATUSES = (200, 200, 200, 201, 204, 206, 301, 304, 404, 418, 500, 503, 599, 999)
_COMMON_METHODS = ("GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "PURGE")
_METHODS = (*_COMMON_METHODS, "M-SEARCH", "get", "")
_NAMES = ("Accept", "Cookie", "Date", "ETag", "Server", "User-Agent", "Via", "X-Request-Id")
_HOSTS = ("web", "web.example", "WEB.Example:8080", "10.96.0.10:80", "[fd00:96::a]:80", "web.")
_CONNECTIONS = {
    (True, 1): (None, None, "keep-alive"),
    (True, 0): ("keep-alive", "Keep-Alive"),
    (False, 1): ("close", "Close"),
    (False, 0): (None, "close"),
}
_LARGE = (255, 256, 4095, 4096, 5000, 20000)

_Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Message:
    """A request or a response.

    Args:
        first: the request line or status line.
        fields: names as spelled and values without blanks around them, in order.
        head: first line, field lines and the empty line.
        framing: one of the four above.
        body: as it is sent.
        content: what it means.
        minor: of the version.
        keeps: the connection stays open behind it.
    """

    first: bytes
    fields: _Fields
    head: bytes
    framing: str
    body: bytes
    content: bytes
    minor: int
    keeps: bool

    @property
    def data(self) -> bytes:
        """All of it."""
        return self.head + self.body


@dataclass(frozen=True)
class Request(Message):
    """A request; ``expects`` if its client wants to wait for 100."""

    method: bytes
    target: bytes
    expects: bool


@dataclass(frozen=True)
class Response(Message):
    """An answer to ``method``, and the interim ones before it."""

    status: int
    method: bytes
    interim: tuple[bytes, ...]


@dataclass(frozen=True)
class Exchange:
    """A request and what the server answers."""

    request: Request
    response: Response


class Choices:
    """Choices made by random bytes; when those are used up it is the first one each time."""

    def __init__(self, entropy: bytes) -> None:
        self._left = int.from_bytes(entropy, "little")

    def below(self, bound: int) -> int:
        self._left, chosen = divmod(self._left, bound)
        return chosen

    def one_of(self, values: Sequence[Value]) -> Value:
        return values[self.below(len(values))]

    def once_in(self, times: int) -> bool:
        return self.below(times) == times - 1

    def text(self, alphabet: str, longest: int, *, shortest: int = 0) -> str:
        length = shortest + self.below(longest - shortest + 1)
        return "".join([self.one_of(alphabet) for _ in range(length)])

    def token(self) -> str:
        return self.text(_TOKEN, 8, shortest=1)


def _latin1(text: str) -> bytes:
    return text.encode("latin-1")


def _content(choices: Choices) -> bytes:
    """Bytes that look like anything, line ends and heads among them."""
    size = choices.one_of(_LARGE) if choices.once_in(4) else choices.below(40)
    seed = choices.below(256)
    unit = bytes((seed + 37 * index) % 256 for index in range(53))
    unit += b"\r\n0\r\n\r\nGET / HTTP/1.1\r\n"
    return (unit * (size // len(unit) + 1))[:size]


def _fields(choices: Choices, *, prefix: str = "") -> list[tuple[bytes, bytes]]:
    return [
        (
            _latin1(
                prefix + (f"X-{choices.token()}" if choices.below(2) else choices.one_of(_NAMES))
            ),
            _latin1(choices.text(_VALUE, 12).strip("\t ")),
        )
        for _ in range(choices.below(5))
    ]


def _extension(choices: Choices) -> str:
    kind = choices.below(6)
    if kind == 3:
        return f";{choices.token()}"
    if kind == 4:
        return f";{choices.token()}={choices.token()}"
    if kind == 5:
        return f';{choices.token()}="{choices.text(_QUOTABLE, 8)}"'
    return ""


def _chunked(choices: Choices, content: bytes) -> bytes:
    """A chunked body of that content, cut anywhere, with extensions and trailers."""
    size = len(content)
    cuts = [choices.below(size + 1) for _ in range(choices.below(4))]
    spelled = choices.one_of(("{:x}", "{:X}", "{:04x}"))
    out = bytearray()
    for start, end in pairwise(sorted({0, *cuts, size})):
        line = spelled.format(end - start) + _extension(choices)
        out += _latin1(line) + b"\r\n" + content[start:end] + b"\r\n"
    out += choices.one_of((b"0\r\n", b"0\r\n", b"000\r\n", b"0;last\r\n"))
    if choices.once_in(2):
        # Not every field may be a trailer (RFC 9110 section 6.5.1).
        for name, value in _fields(choices, prefix="X-"):
            out += name + b": " + value + b"\r\n"
    return bytes(out) + b"\r\n"


@dataclass(frozen=True)
class _Body:
    framing: str
    fields: _Fields
    wire: bytes
    content: bytes


def _body(choices: Choices, framings: Sequence[str], *, plain: bool) -> _Body:
    framing = choices.one_of(framings)
    if framing == NO_BODY:
        return _Body(framing, (), b"", b"")
    content = _content(choices)
    if framing == CHUNKED:
        coding = b"chunked" if plain else choices.one_of((b"chunked", b"Chunked", b"CHUNKED"))
        return _Body(
            framing, ((b"Transfer-Encoding", coding),), _chunked(choices, content), content
        )
    if framing == UNTIL_CLOSE:
        return _Body(framing, (), content, content)
    length = ("{}" if plain else choices.one_of(("{}", "{:05}"))).format(len(content))
    return _Body(framing, ((b"Content-Length", _latin1(length)),), content, content)


def _head(
    choices: Choices, first: bytes, special: Sequence[tuple[bytes, bytes]], *, plain: bool
) -> tuple[_Fields, bytes]:
    """Fields in any order, names in any case, blanks around values; and the head's bytes."""
    fields = _fields(choices)
    spell, before, behind = bytes, b" ", b""
    if not plain:
        spell = choices.one_of((bytes, bytes.lower, bytes.upper, bytes.swapcase))
        before = choices.one_of((b" ", b"", b"\t", b"  \t"))
        behind = choices.one_of((b"", b"", b" ", b"\t "))
    for name, value in special:
        fields.insert(choices.below(len(fields) + 1), (spell(name), value))
    lines = [name + b":" + before + value + behind for name, value in fields]
    return tuple(fields), b"\r\n".join([first, *lines, b"", b""])


def _connection(choices: Choices, minor: int, *, keeps: bool) -> list[tuple[bytes, bytes]]:
    value = choices.one_of(_CONNECTIONS[keeps, minor])
    return [] if value is None else [(b"Connection", value.encode())]


def _request(choices: Choices, *, keeps: bool | None, common: bool, plain: bool) -> Request:
    minor = 0 if choices.once_in(4) else 1
    stays = not choices.once_in(2) if keeps is None else keeps
    method = choices.one_of(_COMMON_METHODS if common else _METHODS) or f"X{choices.token()}"
    alphabet = _ASCII_TARGET if common else _TARGET
    target = "/" + choices.text(alphabet, 12)
    if choices.once_in(3):
        target += "?" + choices.text(alphabet + "?", 8)
    if method == "OPTIONS" and choices.once_in(2):
        target = "*"
    framings = (NO_BODY, LENGTH, CHUNKED) if minor else (NO_BODY, LENGTH)
    body = _body(choices, framings, plain=plain)
    special = [*body.fields, *_connection(choices, minor, keeps=stays)]
    if minor or choices.once_in(2):
        special.append((b"Host", choices.one_of(_HOSTS).encode()))
    expects = bool(minor) and body.framing != NO_BODY and choices.once_in(4)
    if expects:
        special.append((b"Expect", b"100-continue"))
    first = _latin1(f"{method} {target} HTTP/1.{minor}")
    fields, head = _head(choices, first, special, plain=plain)
    return Request(
        first=first,
        fields=fields,
        head=head,
        framing=body.framing,
        body=body.wire,
        content=body.content,
        minor=minor,
        keeps=stays,
        method=_latin1(method),
        target=_latin1(target),
        expects=expects,
    )


def _response(
    choices: Choices, method: bytes, minor: int, *, keeps: bool | None, plain: bool
) -> Response:
    status = choices.one_of(_STATUSES)
    stays = not choices.once_in(2) if keeps is None else keeps
    bodiless = status in _BODILESS_STATUSES or method == b"HEAD"
    framings = [LENGTH, CHUNKED] if minor else [LENGTH]
    if not stays:
        framings.append(UNTIL_CLOSE)
    if status == 204:
        framings = [NO_BODY]
    elif bodiless:
        framings.append(NO_BODY)
    body = _body(choices, framings, plain=plain)
    special = [*body.fields, *_connection(choices, minor, keeps=stays)]
    reason = choices.one_of((" OK", " Not Found", " ", " caf\xe9", ""))
    first = _latin1(f"HTTP/1.{minor} {status}{reason}")
    fields, head = _head(choices, first, special, plain=plain)
    interim = ()
    if minor and choices.once_in(5):
        firsts = (b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 102")[: 1 + choices.below(2)]
        interim = tuple(_head(choices, one, [], plain=plain)[1] for one in firsts)
    return Response(
        first=first,
        fields=fields,
        head=head,
        framing=NO_BODY if bodiless else body.framing,
        body=b"" if bodiless else body.wire,
        content=b"" if bodiless else body.content,
        minor=minor,
        keeps=stays,
        status=status,
        method=method,
        interim=interim,
    )


def _choices(size: int) -> st.SearchStrategy[Choices]:
    return st.binary(min_size=size, max_size=size).map(Choices)


contents = _choices(4).map(_content)


def chunked(content: bytes) -> st.SearchStrategy[bytes]:
    """A chunked body of that content, cut anywhere, with extensions and trailers."""
    return _choices(128).map(lambda choices: _chunked(choices, content))


def requests(
    *, keeps: bool | None = None, common: bool = False, plain: bool = False
) -> st.SearchStrategy[Request]:
    """Any request.

    Args:
        keeps: whether the connection stays open behind it; None for either.
        common: methods that every server knows, targets in ASCII.
        plain: what frames the body is spelled as everybody spells it.
    """
    return _choices(192).map(
        lambda choices: _request(choices, keeps=keeps, common=common, plain=plain)
    )


def responses(
    method: bytes = b"GET", *, keeps: bool | None = None, plain: bool = False
) -> st.SearchStrategy[Response]:
    """Any answer to a request of HTTP/1.1 and that method; else as above."""
    return _choices(192).map(
        lambda choices: _response(choices, method, 1, keeps=keeps, plain=plain)
    )


def exchanges(*, keeps: bool | None = None, plain: bool = False) -> st.SearchStrategy[Exchange]:
    """A request and an answer to it, of the same version; arguments as above."""

    def build(asks: Choices, answers: Choices) -> Exchange:
        request = _request(asks, keeps=keeps, common=False, plain=plain)
        response = _response(
            answers, request.method, request.minor, keeps=request.keeps, plain=plain
        )
        return Exchange(request, response)

    return st.builds(build, _choices(160), _choices(160))


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The data, cut anywhere."""
    choices = draw(_choices(48))
    cuts = [choices.below(len(data) + 1) for _ in range(choices.below(12))]
    return [data[start:end] for start, end in pairwise(sorted({0, *cuts, len(data)}))]
