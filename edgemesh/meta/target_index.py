"""Which objects are about a Service."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from edgemesh.model.objects import ObjectKey
from edgemesh.model.services import ServiceName

ViewT = TypeVar("ViewT")


class TargetIndex(Generic[ViewT]):
    """Objects of one kind, by the Services that they are about."""

    def __init__(self) -> None:
        self._by_service: dict[ServiceName, dict[ObjectKey, ViewT]] = {}
        self._services: dict[ObjectKey, frozenset[ServiceName]] = {}
        self._views: dict[ObjectKey, ViewT] = {}

    def put(
        self, key: ObjectKey, view: ViewT | None, services: Iterable[ServiceName] = ()
    ) -> frozenset[ServiceName]:
        """Take an object, or its absence.

        Args:
            key: its name.
            view: None when it is gone.
            services: that it is about.

        Returns:
            The Services that it is, or was, about.
        """
        before = self._services.pop(key, frozenset())
        for service in before:
            objects = self._by_service[service]
            del objects[key]
            if not objects:
                del self._by_service[service]
        self._views.pop(key, None)
        if view is None:
            return before
        self._views[key] = view
        after = self._services[key] = frozenset(services)
        for service in after:
            self._by_service.setdefault(service, {})[key] = view
        return before | after

    def about(self, service: ServiceName) -> tuple[ViewT, ...]:
        """The objects that are about a Service, by name."""
        objects = self._by_service.get(service)
        if objects is None:
            return ()
        return tuple(objects[key] for key in sorted(objects))

    def find(self, key: ObjectKey) -> tuple[ViewT, frozenset[ServiceName]] | None:
        """An object and the Services that it is about, None when there is no such object."""
        view = self._views.get(key)
        return None if view is None else (view, self._services[key])

    def services(self) -> Iterable[ServiceName]:
        """Those that anything is about."""
        return self._by_service.keys()
