"""What a client must not do, whatever it is answered."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field

from apiserver.answers import Answer, Request

# meta.k8s.io/v1 ListOptions, and what writes take.
_PARAMETERS = frozenset(
    {
        "allowWatchBookmarks",
        "continue",
        "dryRun",
        "fieldManager",
        "fieldSelector",
        "fieldValidation",
        "labelSelector",
        "limit",
        "propagationPolicy",
        "resourceVersion",
        "resourceVersionMatch",
        "sendInitialEvents",
        "timeoutSeconds",
        "watch",
    }
)
_SAME_IN_A_SECOND = 20


@dataclass(eq=False)
class Manners:
    """Notes what is against them.

    Attributes:
        violations: in words.
    """

    violations: list[str] = field(default_factory=list)
    _not_before: dict[str, float] = field(default_factory=dict)
    _asked: defaultdict[tuple[str, bytes], deque[float]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=_SAME_IN_A_SECOND))
    )

    def see(self, request: Request) -> None:
        """Judge a request."""
        query = request.query
        said = f"{request.method} {request.target}"
        for name in sorted(query.keys() - _PARAMETERS):
            self.violations.append(f"there is no parameter {name}: {said}")
        if request.method == "GET" and request.body:
            self.violations.append(f"a GET with a body: {said}")
        if "continue" in query and query.get("resourceVersion", "0") != "0":
            self.violations.append(f"continue with a resourceVersion: {said}")
        if request.watches and "limit" in query:
            self.violations.append(f"a watch with a limit: {said}")
        if request.at < self._not_before.get(self._about(request), 0.0):
            self.violations.append(f"asks again before Retry-After: {said}")
        asked = self._asked[said, request.body]
        if len(asked) == _SAME_IN_A_SECOND and request.at - asked[0] < 1.0:
            self.violations.append(f"asks {_SAME_IN_A_SECOND} times in a second: {said}")
            asked.clear()
        asked.append(request.at)

    def answered(self, request: Request, answer: Answer, now: float) -> None:
        """Note what was forbidden, and how long the client has to wait, from ``now`` on."""
        if answer.status == 403:
            said = f"{request.method} {request.target}"
            self.violations.append(f"asks what it may not: {said}")
        for name, value in answer.headers:
            if name == "Retry-After":
                self._not_before[self._about(request)] = now + float(value)

    def begin_again(self) -> None:
        """Another client comes, or the same after a restart: it was told nothing."""
        self._not_before.clear()
        self._asked.clear()

    def _about(self, request: Request) -> str:
        return f"{request.method} {request.path}"
