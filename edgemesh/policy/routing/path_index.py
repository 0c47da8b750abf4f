"""Finding the conditions on paths that can hold, among many, without trying each."""

from __future__ import annotations

from collections.abc import Sequence

from edgemesh.model.routes import Comparison, TextMatch


def is_looked_up(path: TextMatch | None) -> bool:
    """Whether a condition is found by the path alone, and so needs no test of its own."""
    return (
        path is not None
        and not path.ignore_case
        and path.comparison in (Comparison.EXACT, Comparison.PREFIX)
    )


class PathIndex:
    """Positions of conditions by what they compare with.

    Exact paths and prefixes of whole segments are looked up: a path has few leading parts, however
    many conditions there are. All others are always among the candidates.
    """

    __slots__ = ("_exact", "_others", "_prefixes", "_slashes")

    def __init__(self, paths: Sequence[TextMatch | None]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._prefixes: dict[str, list[int]] = {}
        self._others: list[int] = []
        self._slashes = -1  # the most that a prefix has
        for position, path in enumerate(paths):
            if path is None or not is_looked_up(path):
                self._others.append(position)
            elif path.comparison is Comparison.EXACT:
                self._exact.setdefault(path.value, []).append(position)
            else:
                prefix = path.value.rstrip("/")
                self._prefixes.setdefault(prefix, []).append(position)
                self._slashes = max(self._slashes, prefix.count("/"))

    def candidates(self, path: str) -> list[int]:
        """The positions, in order, of conditions that hold for a path or have to be tested."""
        found = self._others + self._exact.get(path, [])
        end = 0
        for _ in range(self._slashes + 1):
            end = path.find("/", end)
            if end < 0:
                found += self._prefixes.get(path, ())
                break
            found += self._prefixes.get(path[:end], ())
            end += 1
        found.sort()
        return found
