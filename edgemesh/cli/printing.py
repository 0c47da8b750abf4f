"""Objects on standard output, in the forms that ``get -o`` offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
import yaml

from edgemesh.cli.tables import Column, Table, columns_for
from edgemesh.cli.targets import Target, qualified_word
from edgemesh.model.kinds import Kind, find_kind

Body = Mapping[str, Any]

# libyaml's writer is ten times faster, where PyYAML was built with it.
_YAML_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Output(StrEnum):
    """The forms."""

    TABLE = "table"
    WIDE = "wide"
    YAML = "yaml"
    JSON = "json"
    NAME = "name"


class Printer:
    """Prints what was found.

    Args:
        output: the form.
        several: several kinds were asked for, so names carry their kind.
        namespaced: all namespaces were asked for, so rows carry theirs.

    Attributes:
        more: columns beyond those of the objects themselves, by kind.
    """

    def __init__(self, output: Output, *, several: bool, namespaced: bool) -> None:
        self.more: dict[str, Sequence[Column]] = {}
        self._output = output
        self._several = several
        self._namespaced = namespaced

    def print_found(self, found: Mapping[Target, Sequence[Body]]) -> None:
        """Print the answer to a ``get`` without ``--watch``."""
        bodies = [body for some in found.values() for body in some]
        match self._output:
            case Output.NAME:
                self.print_each(bodies)
            case Output.YAML | Output.JSON:
                alone = len(found) == 1 and next(iter(found)).name
                self._print_document(bodies[0] if alone else _list_of(bodies))
            case _:
                tables: dict[Kind, list[Body]] = {}
                for target, some in found.items():
                    tables.setdefault(target.kind, []).extend(some)
                shown = [self._table(kind, some) for kind, some in tables.items() if some]
                print("\n\n".join(shown))

    def print_each(self, bodies: Sequence[Body]) -> None:
        """Print objects one by one, in any form but a table."""
        for body in bodies:
            if self._output is Output.NAME:
                print(object_word(body), flush=True)
            else:
                self._print_document(body)

    def new_table(self, kind: Kind) -> Table | None:
        """An empty table for objects of a kind; None where the form is none."""
        if self._output not in {Output.TABLE, Output.WIDE}:
            return None
        return Table(
            columns_for(
                kind.name,
                wide=self._output is Output.WIDE,
                namespaced=self._namespaced and kind.namespaced,
                prefix=f"{qualified_word(kind)}/" if self._several else "",
                more=self.more.get(kind.name, ()),
            )
        )

    def _table(self, kind: Kind, bodies: Sequence[Body]) -> str:
        table = self.new_table(kind)
        assert table is not None
        return table.format(bodies, headings=True)

    def _print_document(self, value: Any) -> None:
        print_document(value, self._output)


def print_document(value: Any, output: Output) -> None:
    """Print one value as JSON or YAML, keys in order of the alphabet."""
    if output is Output.JSON:
        plain = msgspec.json.encode(value, order="deterministic")
        print(msgspec.json.format(plain, indent=4).decode(), flush=True)
    else:
        text = yaml.dump(value, Dumper=_YAML_DUMPER, allow_unicode=True)
        print(text, end="", flush=True)


def object_word(body: Body) -> str:
    """``service/web``."""
    kind = find_kind(body["kind"])
    word = qualified_word(kind) if kind else str(body["kind"]).lower()
    return f"{word}/{body['metadata']['name']}"


def _list_of(bodies: Sequence[Body]) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": list(bodies),
        "metadata": {"resourceVersion": ""},
    }
