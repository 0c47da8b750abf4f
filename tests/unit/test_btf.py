"""Where members of structs lie, from BTF."""

from __future__ import annotations

import struct
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.btf import Btf, BtfError

INT, PTR, STRUCT, UNION, TYPEDEF, CONST = 1, 2, 4, 5, 8, 10


class Writer:
    """BTF in the making; types are numbered from 1 in the order in which they are added."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.strings = b"\0"
        self.types: list[bytes] = []

    def name(self, text: str) -> int:
        if not text:
            return 0
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def add(self, kind: int, name: str = "", type_id: int = 0, rest: bytes = b"") -> int:
        self.types.append(self.pack("III", self.name(name), kind << 24, type_id) + rest)
        return len(self.types)

    def composite(
        self,
        name: str,
        members: list[tuple[str, int, int]],
        kind: int = STRUCT,
        flag: int = 0,
    ) -> int:
        """Members are names, types and bits from the beginning."""
        packed = b"".join(self.pack("III", self.name(n), t, bits) for n, t, bits in members)
        info = flag << 31 | kind << 24 | len(members)
        self.types.append(self.pack("III", self.name(name), info, 0) + packed)
        return len(self.types)

    def number(self) -> int:
        return self.add(INT, "int", 4, self.pack("I", 32))

    def pack(self, layout: str, *values: int) -> bytes:
        return struct.pack(self.order + layout, *values)

    def data(self) -> bytes:
        types = b"".join(self.types)
        sizes = (0, len(types), len(types), len(self.strings))
        return self.pack("HBBIIIII", 0xEB9F, 1, 0, 24, *sizes) + types + self.strings


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_member_is_found_in_either_byte_order(order: str) -> None:
    writer = Writer(order)
    number = writer.number()
    writer.composite("other", [("b", number, 0)])
    writer.composite("thing", [("a", number, 0), ("b", number, 32)])
    assert Btf(writer.data()).offset("thing.b") == 4


def test_types_of_all_kinds_are_passed_over() -> None:
    writer = Writer()
    number = writer.number()
    writer.add(PTR, type_id=number)
    writer.add(3, rest=bytes(12))  # ARRAY
    writer.types.append(writer.pack("III", 0, 6 << 24 | 2, 4) + bytes(16))  # ENUM of two
    writer.add(17, rest=bytes(4))  # DECL_TAG
    writer.composite("thing", [("a", number, 64)])
    assert Btf(writer.data()).offset("thing.a") == 8


def test_a_member_of_a_member_is_found_through_its_typedef() -> None:
    writer = Writer()
    inner = writer.composite("inner", [("x", writer.number(), 32)])
    named = writer.add(TYPEDEF, "inner_t", writer.add(CONST, type_id=inner))
    writer.composite("outer", [("first", inner, 0), ("second", named, 64)])
    assert Btf(writer.data()).offset("outer.second.x") == 12


def test_members_of_anonymous_unions_count_as_the_outer_ones() -> None:
    writer = Writer()
    number = writer.number()
    empty = writer.composite("", [("z", number, 0)])
    inside = writer.composite("", [("x", number, 0), ("y", number, 32)], UNION)
    writer.composite("outer", [("a", number, 0), ("", empty, 32), ("", inside, 64)])
    assert Btf(writer.data()).offset("outer.y") == 12


def test_a_bit_field_at_a_byte_is_found_without_its_width() -> None:
    writer = Writer()
    writer.composite("flags", [("a", writer.number(), 3 << 24 | 16)], flag=1)
    assert Btf(writer.data()).offset("flags.a") == 2


def test_a_bit_field_within_a_byte_is_refused() -> None:
    writer = Writer()
    writer.composite("flags", [("a", writer.number(), 3 << 24 | 17)], flag=1)
    with pytest.raises(BtfError, match=r"flags\.a: begins within a byte"):
        Btf(writer.data()).offset("flags.a")


def test_a_struct_that_is_not_there_is_named() -> None:
    with pytest.raises(BtfError, match=r"thing\.a: there is no struct thing"):
        Btf(Writer().data()).offset("thing.a")


@pytest.mark.parametrize("path", ["thing.b", "thing.a.b"])
def test_a_member_that_is_not_there_is_named(path: str) -> None:
    writer = Writer()
    writer.composite("thing", [("a", writer.number(), 0)])
    with pytest.raises(BtfError, match="there is no member b"):
        Btf(writer.data()).offset(path)


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb", bytes(24)])
def test_what_is_no_btf_is_refused(data: bytes) -> None:
    with pytest.raises(BtfError):
        Btf(data)


def test_a_kind_from_the_future_is_refused() -> None:
    writer = Writer()
    writer.add(20)
    with pytest.raises(BtfError, match="unknown kind 20"):
        Btf(writer.data())


def test_a_type_that_is_its_own_alias_is_refused() -> None:
    writer = Writer()
    writer.composite("thing", [("a", 2, 0)])
    writer.add(TYPEDEF, "me", 2)
    with pytest.raises(BtfError, match="its own alias"):
        Btf(writer.data()).offset("thing.a.b")


def test_a_struct_that_contains_itself_is_refused() -> None:
    writer = Writer()
    writer.composite("thing", [("", 1, 0)])
    with pytest.raises(BtfError, match="contains itself"):
        Btf(writer.data()).offset("thing.b")


def test_a_member_of_a_type_that_is_not_there_is_refused() -> None:
    writer = Writer()
    writer.composite("thing", [("a", 9, 0)])
    with pytest.raises(BtfError, match=r"thing\.a\.b: BTF is broken"):
        Btf(writer.data()).offset("thing.a.b")


@given(
    st.lists(st.lists(st.integers(0, 500), max_size=5), min_size=1, max_size=8),
    st.data(),
)
def test_any_member_is_where_it_was_put(shapes: list[list[int]], draw: st.DataObject) -> None:
    writer = Writer()
    number = writer.number()
    expected: dict[str, int] = {}
    for at, offsets in enumerate(shapes):
        members = [(f"m{i}", number, 8 * offset) for i, offset in enumerate(offsets)]
        writer.composite(f"s{at}", members)
        expected |= {f"s{at}.m{i}": offset for i, offset in enumerate(offsets)}
    for one, two in pairwise(range(2, len(shapes) + 2)):
        offset = draw.draw(st.integers(0, 500))
        writer.composite(f"n{one}", [("of", two, 8 * offset)])
        expected |= {f"n{one}.of.m{i}": offset + inner for i, inner in enumerate(shapes[two - 2])}
    btf = Btf(writer.data())
    assert {path: btf.offset(path) for path in expected} == expected


@given(st.data())
def test_broken_btf_is_refused_or_answers(draw: st.DataObject) -> None:
    writer = Writer()
    number = writer.number()
    inner = writer.composite("", [("x", number, 0)])
    writer.composite("thing", [("a", number, 0), ("", inner, 32), ("n", inner, 64)])
    data = bytearray(writer.data())
    for _ in range(draw.draw(st.integers(0, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    length = len(data) - draw.draw(st.sampled_from([0, 0, 1, 40]))
    with suppress(BtfError):
        assert Btf(bytes(data[:length])).offset("thing.n.x") >= 0
