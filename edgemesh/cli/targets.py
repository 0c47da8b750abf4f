"""The words by which a user names objects: ``svc``, ``pods,services``, ``po/web-1``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgemesh.model.errors import OperatorError
from edgemesh.model.kinds import KINDS, Kind, find_kind
from edgemesh.wire.message import ALL_NAMESPACES, NO_NAMESPACE, ResourcePath


class Target(NamedTuple):
    """Objects of one kind; ``name`` "" means all of them."""

    kind: Kind
    name: str = ""

    def resource(self, namespace: str) -> ResourcePath:
        """What a Message calls it; the namespace counts for kinds that have one."""
        where = namespace if self.kind.namespaced else NO_NAMESPACE
        return ResourcePath(where, self.kind.word, self.name)


def parse_targets(words: Sequence[str]) -> list[Target]:
    """What the words after a verb mean: ``KIND[,KIND] [NAME...]`` or ``KIND/NAME...``.

    ``all`` stands for every kind that lives in a namespace.

    Raises:
        OperatorError: a kind is unknown, or the two forms are mixed.
    """
    if not words:
        raise OperatorError("which kind?", "for example: service, pod, or all")
    if "/" in words[0]:
        return [_one(word) for word in words]
    kinds = _kinds(words[0])
    names = words[1:]
    if any("/" in name for name in names):
        raise OperatorError(f"{words[0]!r} and KIND/NAME do not go together")
    return [Target(kind, name) for kind in kinds for name in names or ("",)]


def qualified_word(kind: Kind) -> str:
    """A kind as ``kubectl`` prints it: ``service``, ``deployment.apps``."""
    group, slash, _ = kind.api_versions[0].partition("/")
    return f"{kind.word}.{group}" if slash else kind.word


def namespace_word(namespace: str, *, all_namespaces: bool) -> str:
    """The namespace of a resource path."""
    return ALL_NAMESPACES if all_namespaces else namespace


def _one(word: str) -> Target:
    kind, slash, name = word.partition("/")
    if not slash or not name or "/" in name:
        raise OperatorError(f"{word!r} is not KIND/NAME")
    return Target(_kind(kind), name)


def _kinds(word: str) -> list[Kind]:
    if word == "all":
        return [kind for kind in KINDS if kind.namespaced]
    return [_kind(part) for part in word.split(",")]


def _kind(word: str) -> Kind:
    # kubectl's users write services.v1 or deployments.apps too.
    kind = find_kind(word.partition(".")[0])
    if kind is None:
        known = ", ".join(kind.plural for kind in KINDS)
        raise OperatorError(f"kind {word!r} is unknown", f"known are {known}")
    return kind
