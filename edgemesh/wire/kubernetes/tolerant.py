"""Policy objects, read field by field: what is wrong is told and passed over, the rest counts.

Theory of operation: the types of a view drive the reading. A value that does not fit its field
is left out, and so is a field that the view does not have; both become a `FieldProblem`. Three
rules say how far a mistake reaches:

- An entry of a list or mapping that is wrong is left out alone.
- A field that is required, or `BINDING`, takes what it stands in with it.
- In a view that is ``whole`` every mistake takes the view with it, and in an `EXACT` field
  what it stands in. Conditions of routes are so: a condition that is left out would let more
  requests through than its author meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from edgemesh.wire.kubernetes.conversion import convert
from edgemesh.wire.kubernetes.fields import FieldError
from edgemesh.wire.kubernetes.metadata import ObjectView, View
from edgemesh.wire.quoting import quote


class PolicyView(View, frozen=True, kw_only=True):
    """Base of the views of policy objects.

    Attributes:
        whole: see the module.
        unsupported: fields that the object may have and edgemesh has nothing for.
        one_of: fields of which one may be given; the first of them counts.
    """

    whole: ClassVar[bool] = False
    unsupported: ClassVar[frozenset[str]] = frozenset()
    one_of: ClassVar[tuple[str, ...]] = ()

    def check(self) -> str:
        """What is wrong with the view as a whole, "" when nothing is."""
        return ""


class PolicyObject(ObjectView, PolicyView, frozen=True, kw_only=True):
    """Base of the views of whole policy objects."""


ViewT = TypeVar("ViewT", bound=PolicyView)

# For Annotated. A list or mapping of which nothing can be used takes what it stands in with it.
BINDING = Meta(extra={"binding": True})
# A list or mapping of which one entry is wrong does so, too.
EXACT = Meta(extra={"exact": True})


class FieldProblem(NamedTuple):
    """A mistake in an object that counts all the same.

    Args:
        field: its path.
        problem: what was expected and what stands there.
        ignored: the path of what was left out because of it, the field itself or what it
            stands in.
    """

    field: str
    problem: str
    ignored: str

    def __str__(self) -> str:
        """``spec.path: expected a string, got 5; ignored``, for messages to people."""
        where = "" if self.ignored == self.field else f"{self.ignored} is "
        return f"{self.field}: {self.problem}; {where}ignored"


def read_tolerantly(
    value: Any, view: type[ViewT], path: str = ""
) -> tuple[ViewT, tuple[FieldProblem, ...]]:
    """Read a view, and tell what was passed over.

    Args:
        value: JSON values; null counts as absent, as in the Kubernetes API.
        view: what it is to be.
        path: where it stands in the object.

    Raises:
        FieldError: the view cannot do without what is wrong or missing.
    """
    reader = _Reader()
    read = reader.struct(value, view, path, whole=False)
    return read, tuple(reader.problems)


class _Field(NamedTuple):
    """One field of a view: its name there, its type, and whether the view needs it."""

    name: str
    kind: Any
    binding: bool
    required: bool


class _Reader:
    """Collects problems on its way through an object."""

    def __init__(self) -> None:
        self.problems: list[FieldProblem] = []

    def struct(self, value: Any, view: type[ViewT], path: str, *, whole: bool) -> ViewT:
        if not isinstance(value, Mapping):
            raise FieldError(path, f"expected a mapping, got {quote(value)}")
        whole = whole or view.whole
        fields = _fields_of(view)
        found: dict[str, Any] = {}
        for name, item in value.items():
            if item is None:
                continue
            where = join(path, name)
            field = fields.get(name)
            try:
                if field is None:
                    raise _unknown(view, name, item, where)
                found[field.name] = self.value(item, field.kind, where, whole=whole)
            except FieldError as error:
                if whole or (field is not None and field.binding):
                    raise
                self._pass_over(error, where)
        self._keep_one(view, found, path, whole=whole)
        for name, field in fields.items():
            if field.required and field.name not in found:
                raise FieldError(join(path, name), "required, but missing")
        read = view(**found)
        problem = read.check()
        if problem:
            raise FieldError(path, problem)
        return read

    def value(self, value: Any, kind: Any, path: str, *, whole: bool) -> Any:
        """A value of any type that a view may have."""
        origin = get_origin(kind)
        if _is_marked(kind):
            exact = EXACT in get_args(kind)
            entries = self.value(value, get_args(kind)[0], path, whole=whole or exact)
            if value and not entries:
                raise FieldError(path, "expected an entry that can be used, got none")
            return entries
        if origin is tuple:
            return self._entries(value, get_args(kind)[0], path, whole=whole)
        if origin is dict:
            names, kinds = get_args(kind)
            return self._mapping(value, names, kinds, path, whole=whole)
        if isinstance(kind, type) and issubclass(kind, PolicyView):
            return self.struct(value, kind, path, whole=whole)
        return convert(value, kind, path)

    def _entries(self, value: Any, kind: Any, path: str, *, whole: bool) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise FieldError(path, f"expected a list, got {quote(value)}")
        found = []
        for index, item in enumerate(value):
            where = f"{path}[{index}]"
            try:
                found.append(self.value(item, kind, where, whole=whole))
            except FieldError as error:
                if whole:
                    raise
                self._pass_over(error, where)
        return tuple(found)

    def _mapping(
        self, value: Any, names: Any, kind: Any, path: str, *, whole: bool
    ) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise FieldError(path, f"expected a mapping, got {quote(value)}")
        found: dict[str, Any] = {}
        for name, item in value.items():
            where = f"{path}[{quote(name)}]"
            try:
                found[convert(name, names, where)] = self.value(item, kind, where, whole=whole)
            except FieldError as error:
                if whole:
                    raise
                self._pass_over(error, where)
        return found

    def _keep_one(
        self, view: type[PolicyView], found: dict[str, Any], path: str, *, whole: bool
    ) -> None:
        first, *others = [name for name in view.one_of if name in found] or [""]
        for name in others:
            words = {field.name: word for word, field in _fields_of(view).items()}
            where = join(path, words[name])
            error = FieldError(where, f"expected to stand alone, but {words[first]} is given, too")
            if whole:
                raise error
            del found[name]
            self._pass_over(error, where)

    def _pass_over(self, error: FieldError, ignored: str) -> None:
        self.problems.append(FieldProblem(error.field, error.problem, ignored))


def join(path: str, name: Any) -> str:
    """The path of a field; what is no name at all, such as a number, is quoted."""
    step = name if isinstance(name, str) and name.isidentifier() else f"[{quote(name)}]"
    return f"{path}.{step}" if path and not step.startswith("[") else f"{path}{step}"


@cache
def _fields_of(view: type[PolicyView]) -> Mapping[str, _Field]:
    return {info.encode_name: _field_of(info) for info in msgspec.structs.fields(view)}


def _field_of(info: FieldInfo) -> _Field:
    kind = _without_none(info.type)
    return _Field(info.name, kind, info.required or _is_marked(kind), info.required)


def _is_marked(kind: Any) -> bool:
    return get_origin(kind) is Annotated and not {BINDING, EXACT}.isdisjoint(get_args(kind))


def _without_none(kind: Any) -> Any:
    """The type of a field that is given; the views' only unions are those with None."""
    kinds = [each for each in get_args(kind) if each is not type(None)]
    return kinds[0] if type(None) in get_args(kind) else kind


def _unknown(view: type[PolicyView], name: Any, value: Any, path: str) -> FieldError:
    known = name in view.unsupported
    return FieldError(path, f"{'not supported' if known else 'unknown field'}, got {quote(value)}")
