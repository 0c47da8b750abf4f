"""BTF, the kernel's own type information: where members of its structs lie.

Source: Documentation/bpf/btf.rst, sections "BTF Type and String Encoding".
"""

from __future__ import annotations

import struct
from array import array

_MAGIC = 0xEB9F
_STRUCT, _UNION, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG = 4, 5, 8, 9, 10, 11, 18
_COMPOSITE = {_STRUCT, _UNION}
_WRAPPERS = {_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG}
_HEAD_BYTES = 12
_MEMBER_BYTES = 12
# What follows the head of a type: bytes altogether, and bytes for each of its `vlen` parts.
_FIXED = {1: 4, 3: 12, 14: 4, 17: 4}  # INT, ARRAY, VAR, DECL_TAG
_PARTS = {_STRUCT: 12, _UNION: 12, 6: 8, 13: 8, 15: 12, 19: 12}  # ENUM, FUNC_PROTO, DATASEC, ENUM64
_LAST_KIND = 19


class BtfError(Exception):
    """The bytes are no BTF that can be read, or what was asked for is not in them."""


class Btf:
    """Type information that can be asked for members.

    Args:
        data: as in /sys/kernel/btf/vmlinux; about 5 MB, read through once in some 0.1 s.

    Raises:
        BtfError: it is not BTF, is cut off, or has kinds of types that are unknown.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data[:2] == _MAGIC.to_bytes(2, "little") else ">"
        try:
            self._index()
        except struct.error as error:
            raise BtfError(f"BTF is cut off: {error}") from error

    def offset(self, path: str) -> int:
        """Where a member lies in its struct.

        Args:
            path: ``tcp_sock.write_seq``; ``sock.__sk_common.skc_num`` for a member of a member.
                Members of anonymous structs and unions count as the outer one's, as in C.

        Returns:
            Bytes from the struct's beginning.

        Raises:
            BtfError: naming what there is not, or that it is a bit field.
        """
        name, *members = path.split(".")
        try:
            type_id = self._structs[name]
            bits = 0
            for member in members:
                found = self._find(type_id, member.encode(), frozenset())
                if found is None:
                    raise BtfError(f"{path}: there is no member {member}")
                bits += found[0]
                type_id = found[1]
        except KeyError:
            raise BtfError(f"{path}: there is no struct {name}") from None
        except (struct.error, IndexError) as error:
            raise BtfError(f"{path}: BTF is broken: {error}") from error
        if bits % 8:
            raise BtfError(f"{path}: begins within a byte")
        return bits // 8

    def _index(self) -> None:
        """Read through all types once: they are found only one after the other."""
        magic, _, _, head, types, types_length, strings, strings_length = struct.unpack_from(
            self._order + "HBBIIIII", self._data
        )
        if magic != _MAGIC:
            raise BtfError("it does not begin as BTF does")
        self._strings = self._data[head + strings : head + strings + strings_length]
        read = struct.Struct(self._order + "II").unpack_from
        at, end = head + types, head + types + types_length
        self._places = array("Q", [0])  # type 0 is void
        self._structs: dict[str, int] = {}
        while at < end:
            name, info = read(self._data, at)
            kind = info >> 24 & 0x1F
            if not 0 < kind <= _LAST_KIND:
                raise BtfError(f"BTF has a type of the unknown kind {kind}")
            if kind == _STRUCT and name:
                self._structs.setdefault(
                    self._text(name).decode("ascii", "replace"), len(self._places)
                )
            self._places.append(at)
            at += _HEAD_BYTES + _FIXED.get(kind, 0) + _PARTS.get(kind, 0) * (info & 0xFFFF)

    def _find(self, type_id: int, wanted: bytes, around: frozenset[int]) -> tuple[int, int] | None:
        """A member by name: bits from the type's beginning, and the member's type.

        Args:
            type_id: of a struct or union; others have no members.
            wanted: the name.
            around: the structs that this one is an anonymous member of.
        """
        place = self._place_of_composite(type_id)
        if place is None:
            return None
        if place in around:
            raise BtfError("BTF has a struct that contains itself")
        (info,) = self._read("I", place + 4)
        for number in range(info & 0xFFFF):
            at = place + _HEAD_BYTES + number * _MEMBER_BYTES
            name, member_type, offset = self._read("III", at)
            # With kind_flag the upper 8 bits are the width of a bit field.
            bits = offset & 0xFFFFFF if info >> 31 else offset
            if name and self._text(name) == wanted:
                return bits, member_type
            if not name:
                inner = self._find(member_type, wanted, around | {place})
                if inner is not None:
                    return bits + inner[0], inner[1]
        return None

    def _place_of_composite(self, type_id: int) -> int | None:
        """Where the struct or union begins that a type is, by whatever names; None for others."""
        for _ in range(len(self._places)):
            place = self._places[type_id]
            info, following = self._read("II", place + 4)
            kind = info >> 24 & 0x1F
            if kind in _COMPOSITE:
                return place
            if kind not in _WRAPPERS:
                return None
            type_id = following
        raise BtfError("BTF has a type that is its own alias")

    def _read(self, layout: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + layout, self._data, at)

    def _text(self, offset: int) -> bytes:
        return self._strings[offset : self._strings.find(b"\0", offset)]
