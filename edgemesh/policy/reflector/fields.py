"""Field selectors, for what a server sends beyond one.

MetaServer answers from its own rows without a look at field selectors other than by name.
https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgemesh.model.errors import OperatorError


class FieldSelector:
    """Comparisons for equality that must all hold.

    Args:
        text: ``spec.nodeName=edge-1,metadata.namespace=shop``, "" for none.

    Raises:
        OperatorError: it has something else.
    """

    def __init__(self, text: str) -> None:
        self._wanted: list[tuple[list[str], str]] = []
        for part in filter(None, text.split(",")):
            field, equals, value = part.partition("=")
            if not equals or not field or field.endswith("!"):
                raise OperatorError(
                    f"field selector {part!r:.100} is not FIELD=VALUE",
                    "write for example spec.nodeName=edge-1",
                )
            self._wanted.append((field.split("."), value.removeprefix("=")))

    def matches(self, body: Mapping[str, Any]) -> bool:
        """Whether it chooses an object; a field that is not there is as good as empty."""
        return all(_read(body, path) == value for path, value in self._wanted)


def _read(body: Mapping[str, Any], path: list[str]) -> str:
    value: Any = body
    for step in path:
        value = value.get(step, "") if isinstance(value, Mapping) else ""
    return value if isinstance(value, str) else ""
