"""Valid HTTP/1 messages for hypothesis: every framing, every shape of head that RFC 9112 allows.

What is drawn is small (a size and a seed rather than a content), so that thousands of messages
cost seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st

_TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_BEYOND_ASCII = "".join(map(chr, range(0x80, 0x100)))
_TARGET = _VISIBLE.replace("#", "").replace("?", "") + _BEYOND_ASCII
_VALUE = "\t " + _VISIBLE + _BEYOND_ASCII
_QUOTABLE = _VALUE.replace('"', "").replace("\\", "")

NO_BODY, LENGTH, CHUNKED, UNTIL_CLOSE = "none", "length", "chunked", "until_close"
BODILESS_STATUSES = (204, 304)
_STATUSES = (200, 200, 200, 201, 204, 206, 301, 304, 404, 418, 500, 503, 599, 999)
_COMMON_METHODS = ("GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "PURGE")
_METHODS = (*_COMMON_METHODS, "M-SEARCH", "get")
_NAMES = ("Accept", "Cookie", "Date", "ETag", "Server", "User-Agent", "Via", "X-Request-Id")
_HOSTS = (
    "web.example",
    "WEB.Example:8080",
    "web",
    "10.96.0.10:80",
    "[fd00:96::a]:80",
    "web.example.",
)


def _spell(number: int, alphabet: str, shortest: int, longest: int) -> str:
    """The text that a number stands for, at random if the number is."""
    number, extra = divmod(number, longest - shortest + 1)
    characters = []
    for _ in range(shortest + extra):
        number, index = divmod(number, len(alphabet))
        characters.append(alphabet[index])
    return "".join(characters)


def _text(alphabet: str, longest: int, *, shortest: int = 0) -> st.SearchStrategy[str]:
    """A text from one number, which is drawn ten times as fast as a text."""
    count = (longest - shortest + 1) * len(alphabet) ** longest
    return st.integers(0, count - 1).map(lambda number: _spell(number, alphabet, shortest, longest))


def _field(number: int) -> tuple[bytes, bytes]:
    number, kind = divmod(number, 2 * len(_NAMES))
    name = _NAMES[kind] if kind < len(_NAMES) else "X-" + _spell(number % 71**7, _TOKEN, 1, 6)
    return _encoded(name), _encoded(_spell(number >> 48, _VALUE, 0, 16).strip("\t "))


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
    """

    first: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    head: bytes
    framing: str
    body: bytes
    content: bytes
    minor: int

    @property
    def data(self) -> bytes:
        """All of it."""
        return self.head + self.body

    def value(self, name: bytes) -> bytes | None:
        """The first field of that name, in whatever case."""
        return next((value for found, value in self.fields if found.lower() == name), None)


@dataclass(frozen=True)
class Request(Message):
    """A request; ``keeps`` unless the client closes the connection behind the answer."""

    method: bytes
    target: bytes
    keeps: bool
    expects: bool


@dataclass(frozen=True)
class Response(Message):
    """An answer to ``method``, with the interim ones before it.

    Args:
        keeps: the connection stays open behind it.
    """

    status: int
    method: bytes
    interim: tuple[bytes, ...]
    keeps: bool


@dataclass(frozen=True)
class Exchange:
    """A request and what the server answers."""

    request: Request
    response: Response


@dataclass(frozen=True)
class _Body:
    framing: str
    lines: tuple[tuple[bytes, bytes], ...]
    wire: bytes
    content: bytes


def _content(size: int, seed: int) -> bytes:
    """Bytes that look like anything, line ends and heads among them."""
    unit = (
        bytes((seed + 37 * index) % 256 for index in range(53)) + b"\r\n0\r\n\r\nGET / HTTP/1.1\r\n"
    )
    return (unit * (size // len(unit) + 1))[:size]


contents = st.builds(
    _content,
    st.one_of(st.integers(0, 40), st.sampled_from([255, 256, 4095, 4096, 5000, 20000])),
    st.integers(0, 255),
)


def _encoded(text: str) -> bytes:
    return text.encode("latin-1")


tokens = _text(_TOKEN, 8, shortest=1)
fields = st.integers(0, 2**200).map(_field)
field_lists = st.lists(fields, max_size=5)
# Not every field may be a trailer (RFC 9110 section 6.5.1).
_trailers = field_lists.map(lambda fields: [(b"X-" + name, value) for name, value in fields])
_paths = _text(_TARGET, 12)
_queries = st.one_of(st.just(""), _text(_TARGET + "?", 8).map("?{}".format))
_ascii = _text(_TARGET[: -len(_BEYOND_ASCII)], 12)
_ascii_queries = st.one_of(st.just(""), _ascii.map("?{}".format))
_common_methods = st.sampled_from(_COMMON_METHODS)
_methods = st.one_of(st.sampled_from(_METHODS), tokens.filter(lambda token: token != "CONNECT"))
_extensions = st.one_of(
    st.just(""),
    st.just(""),
    st.builds(";{}={}".format, tokens, tokens),
    st.builds(';{}="{}"'.format, tokens, _text(_QUOTABLE, 8)),
    tokens.map(";{}".format),
)
_cuts = st.lists(st.integers(0, 2**20), max_size=4)
_sizes_spelled = st.sampled_from(("{:x}", "{:X}", "{:04x}"))
_last_chunks = st.sampled_from((b"0\r\n", b"0\r\n", b"000\r\n", b"0;last\r\n"))
_codings = st.sampled_from((b"chunked", b"chunked", b"Chunked", b"CHUNKED"))
_lengths_spelled = st.sampled_from(("{}", "{}", "{:05}"))
_hosts = st.sampled_from([host.encode() for host in _HOSTS])
_statuses = st.sampled_from(_STATUSES)
_reasons = st.sampled_from((" OK", " Not Found", " ", " caf\xe9", ""))
_booleans = st.booleans()
_fourths = st.integers(0, 3)
_numbers = st.integers(0, 2**20)
# How names that matter are spelled, and the blanks before and behind values.
_styles = st.sampled_from(
    [
        (spell, before, behind)
        for spell in (bytes, bytes.lower, bytes.upper, bytes.swapcase)
        for before in (b" ", b"", b"\t", b"  \t")
        for behind in (b"", b"", b" ", b"\t ")
    ]
)


@st.composite
def chunked(draw: st.DrawFn, content: bytes) -> bytes:
    """A chunked body of that content, cut anywhere, with extensions and trailers."""
    size = len(content)
    bounds = sorted({0, *(cut % (size + 1) for cut in draw(_cuts)), size})
    spelled = draw(_sizes_spelled)
    out = bytearray()
    for start, end in pairwise(bounds):
        line = spelled.format(end - start) + draw(_extensions)
        out += _encoded(line) + b"\r\n" + content[start:end] + b"\r\n"
    out += draw(_last_chunks)
    trailers = draw(_trailers) if draw(_booleans) else []
    return (
        bytes(out) + b"".join(name + b": " + value + b"\r\n" for name, value in trailers) + b"\r\n"
    )


@st.composite
def _bodies(draw: st.DrawFn, framings: tuple[str, ...], *, plain: bool = False) -> _Body:
    framing = draw(st.sampled_from(framings))
    if framing == NO_BODY:
        return _Body(framing, (), b"", b"")
    content = draw(contents)
    if framing == CHUNKED:
        coding = b"chunked" if plain else draw(_codings)
        announced = ((b"Transfer-Encoding", coding),)
        return _Body(framing, announced, draw(chunked(content)), content)
    if framing == UNTIL_CLOSE:
        return _Body(framing, (), content, content)
    length = ("{}" if plain else draw(_lengths_spelled)).format(len(content))
    return _Body(framing, ((b"Content-Length", _encoded(length)),), content, content)


@st.composite
def _heads(
    draw: st.DrawFn, first: bytes, special: list[tuple[bytes, bytes]], *, plain: bool = False
) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
    """Fields in any order, names in any case, blanks around values; and the head's bytes."""
    spell, before, behind = (bytes, b" ", b"") if plain else draw(_styles)
    fields = draw(field_lists)
    order = draw(_numbers)
    for name, value in special:
        order, place = divmod(order, len(fields) + 1)
        fields.insert(place, (spell(name), value))
    lines = [name + b":" + before + value + behind for name, value in fields]
    return tuple(fields), b"\r\n".join([first, *lines, b"", b""])


@st.composite
def requests(
    draw: st.DrawFn, *, keeps: bool | None = None, common: bool = False, plain: bool = False
) -> Request:
    """Any request.

    Args:
        draw: given by hypothesis.
        keeps: whether the connection shall stay open behind it; None for either.
        common: methods that every server knows, targets in ASCII.
        plain: what frames the body is spelled as everybody spells it.
    """
    minor = 1 if draw(_fourths) else 0
    stays = draw(_fourths) > 0 if keeps is None else keeps
    method = draw(_common_methods if common else _methods)
    target = "/" + draw(_ascii if common else _paths) + draw(_ascii_queries if common else _queries)
    if method == "OPTIONS" and draw(_booleans):
        target = "*"
    framings = (NO_BODY, LENGTH, CHUNKED) if minor else (NO_BODY, LENGTH)
    body = draw(_bodies(framings, plain=plain))
    special = list(body.lines)
    special += draw(_CONNECTIONS[stays, minor])
    if minor or draw(_booleans):
        special.append((b"Host", draw(_hosts)))
    expects = bool(minor) and body.framing != NO_BODY and draw(_fourths) == 0
    if expects:
        special.append((b"Expect", b"100-continue"))
    first = _encoded(f"{method} {target} HTTP/1.{minor}")
    fields, head = draw(_heads(first, special, plain=plain))
    return Request(
        first=first,
        fields=fields,
        head=head,
        framing=body.framing,
        body=body.wire,
        content=body.content,
        minor=minor,
        method=_encoded(method),
        target=_encoded(target),
        keeps=stays,
        expects=expects,
    )


_CONNECTIONS = {
    (stays, minor): st.sampled_from(
        [[] if value is None else [(b"Connection", value)] for value in values]
    )
    for stays, minor, values in [
        (True, 1, (None, None, b"keep-alive")),
        (True, 0, (b"keep-alive", b"Keep-Alive")),
        (False, 1, (b"close", b"Close")),
        (False, 0, (None, b"close")),
    ]
}


_interims = st.lists(
    st.one_of(_heads(b"HTTP/1.1 103 Early Hints", []), _heads(b"HTTP/1.1 102", [])), max_size=2
).map(lambda heads: tuple(head for _, head in heads))


@st.composite
def responses(
    draw: st.DrawFn, method: bytes = b"GET", minor: int = 1, *, keeps: bool | None = None
) -> Response:
    """Any answer to a request of that method and version."""
    status = draw(_statuses)
    stays = draw(_booleans) if keeps is None else keeps
    framings = [LENGTH, LENGTH]
    if minor:
        framings += [CHUNKED, CHUNKED]
    if not stays:
        framings.append(UNTIL_CLOSE)
    bodiless = status in BODILESS_STATUSES or method == b"HEAD"
    if status == 204:
        framings = [NO_BODY]
    elif bodiless:
        framings.append(NO_BODY)
    body = draw(_bodies(tuple(framings)))
    special = [*body.lines, *draw(_CONNECTIONS[stays, minor])]
    first = _encoded(f"HTTP/1.{minor} {status}{draw(_reasons)}")
    fields, head = draw(_heads(first, special))
    interim = draw(_interims) if minor and not draw(_fourths) else ()
    return Response(
        first=first,
        fields=fields,
        head=head,
        framing=NO_BODY if bodiless else body.framing,
        body=b"" if bodiless else body.wire,
        content=b"" if bodiless else body.content,
        minor=minor,
        status=status,
        method=method,
        interim=interim,
        keeps=stays,
    )


@st.composite
def exchanges(draw: st.DrawFn, *, keeps: bool | None = None, plain: bool = False) -> Exchange:
    """A request (arguments as there) and an answer to it, of the same version."""
    request = draw(requests(keeps=keeps, plain=plain))
    response = draw(responses(request.method, request.minor, keeps=request.keeps))
    return Exchange(request, response)


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The data, cut anywhere."""
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=12, unique=True))
    bounds = sorted({0, *cuts, len(data)})
    return [data[start:end] for start, end in pairwise(bounds)]
