"""What a template is made of, once it is parsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias


class TemplateError(ValueError):
    """A template is wrong, or uses what is not understood here."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that the template names itself."""

    value: Any


@dataclass(frozen=True, slots=True)
class Field:
    """``.a.b``, ``$.a.b`` or ``$name.a.b``.

    Args:
        root: ``.`` for what is looked at, ``$`` for what the template was given, or a variable.
        names: from there on.
    """

    root: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function, or what a field holds, with arguments."""

    function: str | Field
    arguments: tuple[Expression, ...]


Expression: TypeAlias = Literal | Field | Call


@dataclass(frozen=True, slots=True)
class Text:
    """Itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Output:
    """The value of an expression."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class Assign:
    """``$name := expression``, until the block ends."""

    variable: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class If:
    """``if`` and every ``else if``, each with its body, and what ``else`` has."""

    branches: tuple[tuple[Expression, Body], ...]
    otherwise: Body


@dataclass(frozen=True, slots=True)
class With:
    """Looks at a value, unless it is empty."""

    expression: Expression
    body: Body


@dataclass(frozen=True, slots=True)
class Range:
    """Goes through a list, or through a mapping by its keys' order.

    Args:
        key: variable, "" for none.
        value: variable.
        expression: what is gone through.
        body: for each.
    """

    key: str
    value: str
    expression: Expression
    body: Body


@dataclass(frozen=True, slots=True)
class Define:
    """A template by name."""

    name: str
    body: Body


Node: TypeAlias = Text | Output | Assign | If | With | Range | Define
Body: TypeAlias = tuple[Node, ...]
