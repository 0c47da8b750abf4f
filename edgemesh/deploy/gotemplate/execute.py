"""From nodes and values to text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgemesh.deploy.gotemplate.functions import FUNCTIONS, is_true
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


class Templates:
    """Templates that may include each other."""

    def __init__(self, bodies: Mapping[str, Body]) -> None:
        """Take the templates of files, and those that they define.

        Args:
            bodies: by the file's name.
        """
        self._bodies = dict(bodies)
        for body in bodies.values():
            self._bodies |= {node.name: node.body for node in body if isinstance(node, Define)}

    def render(self, name: str, given: Any) -> str:
        """The text that a template makes of what it is given.

        Raises:
            TemplateError: it asks for what there is not.
            OperatorError: it says that the values do not do.
        """
        if name not in self._bodies:
            raise TemplateError(f"there is no template {name!r}")
        return "".join(self._body(self._bodies[name], _Scope(given, {"$": given})))

    def _body(self, body: Body, scope: _Scope) -> Iterator[str]:
        inner = _Scope(scope.dot, dict(scope.variables))
        for node in body:
            yield from self._node(node, inner)

    def _node(self, node: Node, scope: _Scope) -> Iterator[str]:
        match node:
            case Text(text):
                yield text
            case Output(expression):
                yield _printed(self._value(expression, scope))
            case Assign(variable, expression):
                scope.variables[variable] = self._value(expression, scope)
            case If(branches, otherwise):
                for condition, body in branches:
                    if is_true(self._value(condition, scope)):
                        yield from self._body(body, scope)
                        return
                yield from self._body(otherwise, scope)
            case With(expression, body):
                value = self._value(expression, scope)
                if is_true(value):
                    yield from self._body(body, _Scope(value, scope.variables))
            case Range():
                yield from self._range(node, scope)
            case Define():
                pass

    def _range(self, node: Range, scope: _Scope) -> Iterator[str]:
        value = self._value(node.expression, scope)
        entries = sorted(value.items()) if isinstance(value, Mapping) else enumerate(value)
        for key, each in entries:
            variables = {**scope.variables, node.value: each}
            if node.key:
                variables[node.key] = key
            yield from self._body(node.body, _Scope(each, variables))

    def _value(self, expression: Expression, scope: _Scope) -> Any:
        match expression:
            case Literal(value):
                return value
            case Field():
                return scope.field(expression)
            case Call(Field() as field, arguments):
                return scope.field(field)(*(self._value(each, scope) for each in arguments))
            case Call("include", arguments):
                name, given = (self._value(each, scope) for each in arguments)
                return self.render(name, given)
            case Call(str() as name, arguments) if name in FUNCTIONS:
                return FUNCTIONS[name](*(self._value(each, scope) for each in arguments))
        raise TemplateError(f"there is no function {expression.function!r}")


class _Scope:
    """What an expression can see: ``.``, and variables with ``$`` among them."""

    def __init__(self, dot: Any, variables: dict[str, Any]) -> None:
        self.dot = dot
        self.variables = variables

    def field(self, field: Field) -> Any:
        value = self.dot if field.root == "." else self._variable(field.root)
        for name in field.names:
            if not isinstance(value, Mapping):
                raise TemplateError(f"{'.'.join(field.names)}: {value!r} has no {name!r}")
            value = value.get(name)
        return value

    def _variable(self, name: str) -> Any:
        if name not in self.variables:
            raise TemplateError(f"there is no variable {name}")
        return self.variables[name]


def _printed(value: Any) -> str:
    # Go prints numbers of values as float64: 1000000 is 1e+06. So the chart says toJson.
    if not isinstance(value, str):
        raise TemplateError(f"{value!r} is no text; use toJson or toYaml")
    return value
