"""Objects from above that cannot be stored: the log hears of each once, a status shows them."""

from __future__ import annotations

from typing import Generic, TypeVar

from edgemesh.observe.log import get_logger

# More names than anybody reads; the counts of who refuses them go on.
_REMEMBERED = 1000

_log = get_logger("sync")

NameT = TypeVar("NameT")


class RefusedObjects(Generic[NameT]):
    """Remembers the latest of them.

    Args:
        source: where they come from, for the log.

    Attributes:
        latest: why, by the object's name.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self.latest: dict[NameT, str] = {}

    def add(self, name: NameT, problem: str) -> None:
        """Note an object."""
        if self.latest.pop(name, None) != problem:
            what = f"object from the {self._source} is not stored"
            _log.warning(what, object=str(name), problem=problem)
        self.latest[name] = problem
        if len(self.latest) > _REMEMBERED:
            del self.latest[next(iter(self.latest))]

    def discard(self, name: NameT) -> None:
        """Note that an object was stored, or is gone."""
        self.latest.pop(name, None)
