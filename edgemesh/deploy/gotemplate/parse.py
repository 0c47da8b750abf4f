"""From a template's text to its nodes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from edgemesh.deploy.gotemplate.nodes import (
    Assign,
    Body,
    Call,
    Define,
    Expression,
    Field,
    If,
    Literal,
    Node,
    Output,
    Range,
    TemplateError,
    Text,
    With,
)

_ACTION = re.compile(
    r"\{\{(- )?\s*(/\*.*?\*/|(?:\"(?:\\.|[^\"\\])*\"|[^\"])*?)\s*( -)?\}\}", re.DOTALL
)
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:\\.|[^"\\])*")
        | (?P<number>-?[0-9]+)
        | (?P<field>(?:\$[A-Za-z]\w*|\$)?(?:\.[A-Za-z]\w*)+|\$[A-Za-z]\w*|\$|\.)
        | (?P<word>[A-Za-z]\w*)
        | (?P<sign>:=|[(),|])
    )""",
    re.VERBOSE,
)
_VALUES = {"true": True, "false": False}


class _Token(NamedTuple):
    kind: str
    text: str


class _Piece(NamedTuple):
    """Text, or the inside of an action."""

    is_action: bool
    text: str


def parse(text: str) -> Body:
    """Read a template.

    Raises:
        TemplateError: it is none, or uses what is not understood here.
    """
    reader = _Reader(list(_pieces(text)))
    body, end = reader.body()
    if end:
        raise TemplateError(f"{{{{ {end} }}}} ends nothing")
    return body


def _pieces(text: str) -> Iterator[_Piece]:
    at = 0
    trim = False
    for found in _ACTION.finditer(text):
        before = text[at : found.start()]
        before = before.lstrip() if trim else before
        yield _Piece(is_action=False, text=before.rstrip() if found[1] else before)
        if not found[2].startswith("/*"):
            yield _Piece(is_action=True, text=found[2])
        at = found.end()
        trim = bool(found[3])
    yield _Piece(is_action=False, text=text[at:].lstrip() if trim else text[at:])


class _Reader:
    """Goes through the pieces once."""

    def __init__(self, pieces: list[_Piece]) -> None:
        self._pieces = pieces
        self._at = 0

    def body(self) -> tuple[Body, str]:
        """Nodes up to an action that ends them: ``end``, ``else``, ``else if ...``, or ""."""
        nodes: list[Node] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if not piece.is_action:
                if piece.text:
                    nodes.append(Text(piece.text))
                continue
            word, _, rest = piece.text.partition(" ")
            if word in {"end", "else"}:
                return tuple(nodes), piece.text
            nodes.append(self._node(word, rest.strip(), piece.text))
        return tuple(nodes), ""

    def _node(self, word: str, rest: str, whole: str) -> Node:
        if word == "if":
            return self._if(rest)
        if word == "with":
            return With(_expression(rest), self._block(whole))
        if word == "range":
            names, _, expression = rest.rpartition(":=")
            key, _, value = ("", "", names) if "," not in names else names.partition(",")
            if not value.strip():
                raise TemplateError(f"{{{{ {whole} }}}}: a range needs a variable")
            return Range(key.strip(), value.strip(), _expression(expression), self._block(whole))
        if word == "define":
            return Define(json.loads(rest), self._block(whole))
        variable, assigned, expression = whole.partition(":=")
        if assigned:
            return Assign(variable.strip(), _expression(expression))
        return Output(_expression(whole))

    def _block(self, opening: str) -> Body:
        body, end = self.body()
        if end != "end":
            raise TemplateError(f"{{{{ {opening} }}}} is ended by {{{{ {end} }}}}")
        return body

    def _if(self, condition: str) -> If:
        branches: list[tuple[Expression, Body]] = []
        while True:
            body, end = self.body()
            branches.append((_expression(condition), body))
            word, _, condition = end.partition(" if ")
            if not condition:
                otherwise = self._block("else") if word == "else" else ()
                if word not in {"else", "end"}:
                    raise TemplateError("an if without an end")
                return If(tuple(branches), otherwise)


def _expression(text: str) -> Expression:
    tokens = list(_tokens(text))
    expression, at = _pipeline(tokens, 0)
    if at != len(tokens):
        raise TemplateError(f"{text.strip()!r}: {tokens[at].text!r} is not expected")
    return expression


def _tokens(text: str) -> Iterator[_Token]:
    at, text = 0, text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise TemplateError(f"{text!r}: {text[at:]!r} is not understood")
        assert found.lastgroup is not None
        yield _Token(found.lastgroup, found[found.lastgroup])
        at = found.end()


def _pipeline(tokens: list[_Token], at: int) -> tuple[Expression, int]:
    """Commands that are each given the value of the one before as their last argument."""
    expression, at = _command(tokens, at, ())
    while at < len(tokens) and tokens[at].text == "|":
        expression, at = _command(tokens, at + 1, (expression,))
    return expression, at


def _command(
    tokens: list[_Token], at: int, piped: tuple[Expression, ...]
) -> tuple[Expression, int]:
    operands: list[Expression] = []
    function: str | Field | None = None
    if at < len(tokens) and tokens[at].kind == "word" and tokens[at].text not in _VALUES:
        function = tokens[at].text
        at += 1
    while at < len(tokens) and tokens[at].text not in {"|", ")"}:
        operand, at = _operand(tokens, at)
        operands.append(operand)
    if function is not None:
        return Call(function, (*operands, *piped)), at
    match operands:
        case [operand] if not piped:
            return operand, at
        case [Field() as field, *arguments] if arguments or piped:
            return Call(field, (*arguments, *piped)), at
        case _:
            raise TemplateError("a value where a function is expected")


def _operand(tokens: list[_Token], at: int) -> tuple[Expression, int]:
    token = tokens[at]
    match token.kind:
        case "string":
            return Literal(json.loads(token.text)), at + 1
        case "number":
            return Literal(int(token.text)), at + 1
        case "field":
            return _field(token.text), at + 1
        case "word" if token.text in _VALUES:
            return Literal(_VALUES[token.text]), at + 1
        case "word":
            return Call(token.text, ()), at + 1
    if token.text != "(":
        raise TemplateError(f"{token.text!r} is not expected")
    expression, at = _pipeline(tokens, at + 1)
    if at >= len(tokens) or tokens[at].text != ")":
        raise TemplateError("a parenthesis is not closed")
    return expression, at + 1


def _field(text: str) -> Field:
    root, *names = text.split(".")
    return Field(root or ".", tuple(name for name in names if name))
