"""What to ask an API server next, for all that can come of asking.

Theory of operation. There are three ways to ask:

* LIST: in pages. It ends LISTED, and shows every object of one revision.
* STREAM: a watch that begins with every object and marks their end ("WatchList", Kubernetes 1.27
  and later, https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists). What
  follows the mark is a watch, and ends as one.
* WATCH: the changes since a revision. Only a list, a bookmark or an event gives a revision, so a
  watch never comes first.

Behind one address there may be an API server, or KubeEdge's MetaServer, which differs so much
that it is followed differently (points 22 to 29 of the recordings' README, told where they
matter). Which it is shows in its answers; until then it is taken for a MetaServer, whose ways an
API server bears as well.

* An API server: STREAM, where it is known to be one and offers it, or else LIST; then WATCH after
  WATCH, each from where the last has ended. A new list only when the revision is too old (410), or
  watches keep failing, or bring nothing for a quarter of an hour: one from a revision that the
  server has not reached yet, as after a backup was restored, is granted and silent (point 40).
* A MetaServer: LIST, one short WATCH, LIST, and so on. Its watch goes deaf when CloudCore restarts,
  and tells of no deletion; a watch of a resource that the cluster does not have makes CloudCore
  exit, whence STREAM, which watches unseen, is never used, and every watch follows a list that
  showed the resource.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.policy.bus.reconnect import Reconnect

# A watch that lasted so long was good, however it has ended: what comes next is not delayed by
# failures before it. One that is ended sooner, again and again, must not be asked for in a loop.
_LASTING_SECONDS = 5.0
# Of a watch in a row; a list then finds out what is the matter.
_MOST_FAILURES = 3
# Watches in a row that bring nothing. A resource that has not changed since the server started
# has no bookmarks either.
_MOST_QUIET = 10
# The part of a watch's time that is left to the lot, so that not all watches end together.
_SPREAD = 0.2


class Server(Enum):
    """What is at the other end."""

    UNKNOWN = "unknown"
    API_SERVER = "API server"
    METASERVER = "MetaServer"


class Way(Enum):
    """A way to ask."""

    LIST = "list"
    STREAM = "stream"
    WATCH = "watch"


class Ending(Enum):
    """What has come of asking."""

    # LIST: everything was shown. (A STREAM that has shown everything goes on as a WATCH.)
    LISTED = "listed"
    # LIST: MetaServer does not know what there is.
    UNKNOWN = "unknown"
    # The server has no such resource.
    MISSING = "missing"
    # The revision, or the token for the next page, is too old or means nothing any more.
    EXPIRED = "expired"
    # STREAM: the server has no such thing.
    UNOFFERED = "unoffered"
    # WATCH: over, as asked.
    ENDED = "ended"
    # WATCH, STREAM: nothing came any more, and no end either.
    SILENT = "silent"
    # The server was not reached, has refused, has cut off or has said what cannot be read.
    FAILED = "failed"


# After these it is not by asking sooner that one learns more.
_NEWS_LATER = frozenset({Ending.MISSING, Ending.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next.

    Args:
        way: how to ask.
        pause: seconds to wait first.
        revision: to watch from; "" for LIST and STREAM.
        paged: LIST: whether to ask for pages. Not when the token for the next page has expired
            just now, for it might again.
        seconds: WATCH, STREAM: after which the server is to end it.
    """

    way: Way
    pause: float = 0.0
    revision: str = ""
    paged: bool = True
    seconds: float = 0.0

    def come_to(self, revision: str) -> Step:
        """The same, when everything up to a revision is known: a watch, if it was none."""
        return replace(self, way=Way.WATCH, revision=revision)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come of a step.

    Args:
        ending: in a word.
        revision: LISTED: that the list has shown.
        lasted: seconds for which the answer was good, 0 when there was none.
        events: that a watch has brought, bookmarks among them.
        retry_after: seconds that the server asks to be left alone for.
        problem: for people, "" when there is none.
    """

    ending: Ending
    revision: str = ""
    lasted: float = 0.0
    events: int = 0
    retry_after: float = 0.0
    problem: str = ""


class Course:
    """Decides step by step.

    Args:
        settings: times.
    """

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._backoff = _new_backoff(settings)
        self._streams_offered = True
        # Of streams and watches in a row, and watches in a row that brought nothing.
        self._failures = self._quiet = 0

    def begin(self, server: Server, chance: float) -> Step:
        """The first step.

        Args:
            server: what is at the other end, as far as it is known.
            chance: from 0 to 1, by lot.
        """
        return self._list(server, chance)

    def after(self, step: Step, outcome: Outcome, server: Server, chance: float) -> Step:
        """The step after one that has ended.

        Args:
            step: what was done; of a watch, with the revision that it has come to.
            outcome: what has come of it.
            server: what is at the other end, as its answer showed.
            chance: from 0 to 1, by lot: many that lose one server come back one by one.
        """
        ending = outcome.ending
        if ending is Ending.LISTED or (outcome.events and step.way is Way.WATCH):
            self._failures = self._quiet = 0
        if ending is Ending.LISTED:
            return self._watch(outcome.revision, server, chance)
        if ending in _NEWS_LATER and step.way is not Way.WATCH:
            return replace(self._list(server, chance), pause=self._wait(ending, chance))
        if ending is Ending.UNOFFERED or (ending is Ending.SILENT and step.way is Way.STREAM):
            self._streams_offered = False
            return self._list(server, chance)
        if ending is Ending.EXPIRED and step.way is Way.LIST and step.paged:
            return Step(Way.LIST, paged=False)
        if step.way is Way.STREAM or (step.way is Way.WATCH and ending is Ending.FAILED):
            self._failures += 1
        self._quiet += outcome.events == 0
        pause = self._pause(outcome, chance)
        if self._goes_on(step, ending, server):
            return replace(self._watch(step.revision, server, chance), pause=pause)
        return replace(self._list(server, chance), pause=pause)

    def _goes_on(self, step: Step, ending: Ending, server: Server) -> bool:
        """Whether a watch may be taken up where it has ended."""
        if step.way is not Way.WATCH or server is not Server.API_SERVER:
            return False
        if ending in {Ending.ENDED, Ending.SILENT}:
            return self._quiet < _MOST_QUIET
        return ending is Ending.FAILED and self._failures < _MOST_FAILURES

    def _list(self, server: Server, chance: float) -> Step:
        streams = self._streams_offered and self._failures < _MOST_FAILURES
        if server is Server.API_SERVER and streams:
            return Step(Way.STREAM, seconds=self._watch_seconds(server, chance))
        return Step(Way.LIST)

    def _watch(self, revision: str, server: Server, chance: float) -> Step:
        return Step(Way.WATCH, revision=revision, seconds=self._watch_seconds(server, chance))

    def _watch_seconds(self, server: Server, chance: float) -> float:
        settings = self._settings
        is_api_server = server is Server.API_SERVER
        most = settings.watch_seconds if is_api_server else settings.metaserver_seconds
        return most * (1.0 - _SPREAD * chance)

    def _wait(self, ending: Ending, chance: float) -> float:
        settings = self._settings
        is_missing = ending is Ending.MISSING
        most = settings.missing_seconds if is_missing else settings.metaserver_seconds
        return most * (1.0 - _SPREAD * chance)

    def _pause(self, outcome: Outcome, chance: float) -> float:
        settings = self._settings
        if outcome.lasted >= _LASTING_SECONDS:
            self._backoff = _new_backoff(settings)
            if outcome.ending is Ending.ENDED:
                return 0.0
        asked = min(outcome.retry_after, settings.max_retry_after_seconds)
        return max(self._backoff.pause(outcome.lasted, chance), asked)


def _new_backoff(settings: KubernetesSettings) -> Reconnect:
    return Reconnect(settings.first_retry_seconds, settings.max_retry_seconds)
