"""The cluster that a server answers for: its objects, and which types there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from apiserver.history import History
from apiserver.resources import (
    BUILT_IN,
    Body,
    Key,
    ResourceType,
    Target,
    defined_type,
    definition_of,
    find_type,
    parse_path,
)
from apiserver.writes import Writer

_DEFINITIONS = next(type_ for type_ in BUILT_IN if type_.kind == "CustomResourceDefinition")
_DEFINITIONS_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_OWN_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


@dataclass(eq=False)
class Cluster:
    """Objects, as everybody in the cluster but the tested client changes them."""

    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self.writer = Writer(self.history)
        for name in _OWN_NAMESPACES:
            self.put("/api/v1/namespaces", {"metadata": {"name": name}})

    def put(self, path: str, body: Body) -> Body:
        """Create or replace one object, with its status.

        Args:
            path: of its type, ``/api/v1/services``.
            body: apiVersion and kind may be left out; the namespace is ``default`` unless told.

        Returns:
            The object as it is stored; nobody changes it.
        """
        type_, target = self.found(path)
        namespace = body["metadata"].get("namespace", "default") if type_.namespaced else ""
        name = body["metadata"]["name"]
        return self.writer.put(type_, target._replace(namespace=namespace, name=name), body)

    def restore(self, path: str, body: Body) -> None:
        """Store an object as it was recorded, with its uid and resourceVersion."""
        type_, _ = self.found(path)
        namespace = body["metadata"].get("namespace", "")
        self.history.restore(type_, (namespace, body["metadata"]["name"]), body)

    def delete(self, path: str, namespace: str, name: str) -> None:
        """Delete one object; ``namespace`` is "" for objects of the cluster."""
        type_, _ = self.found(path)
        self.history.write(type_, (namespace, name), None)

    def objects(self, path: str) -> dict[Key, Body]:
        """All objects of a type by namespace and name; nobody changes them."""
        return dict(self.history.objects(self.found(path)[0]))

    def install_crd(self, definition: str | Body) -> None:
        """Let a type come: by its definition, or by the plural of a kind that edgemesh reads."""
        body = definition_of(definition) if isinstance(definition, str) else definition
        self.put(_DEFINITIONS_PATH, body)

    def remove_crd(self, name: str) -> None:
        """Let a type go, with all its objects: ``rules.rules.kubeedge.io``."""
        type_ = defined_type(self.history.objects(_DEFINITIONS)["", name])
        for key in list(self.history.objects(type_)):
            self.history.write(type_, key, None)
        self.delete(_DEFINITIONS_PATH, "", name)

    def compact(self) -> None:
        """Forget the past: older resourceVersions and ``continue`` tokens get 410."""
        self.history.forget()

    def types(self) -> Iterator[ResourceType]:
        """All that is served now."""
        yield from BUILT_IN
        for definition in self.history.objects(_DEFINITIONS).values():
            yield defined_type(definition)

    def found(self, path: str) -> tuple[ResourceType, Target]:
        """The type behind a path.

        Raises:
            KeyError: there is none.
        """
        target = parse_path(path)
        type_ = None if target is None else find_type(self.types(), target)
        if target is None or type_ is None:
            raise KeyError(f"the server has no {path}")
        return type_, target
