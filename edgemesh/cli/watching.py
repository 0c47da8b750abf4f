"""``edgemesh get --watch``: the list, then each change as it comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from edgemesh.cli.printing import Printer, object_word
from edgemesh.cli.tables import Table
from edgemesh.meta.client import WatchEvent, WatchEventType, watch
from edgemesh.model.kinds import find_kind
from edgemesh.model.settings import MetaSettings
from edgemesh.wire.labelselector import parse_selector, selects
from edgemesh.wire.message import ResourcePath


async def watch_objects(
    path: Path, settings: MetaSettings, resource: ResourcePath, selector: str, printer: Printer
) -> NoReturn:
    """Print objects and their changes until interrupted.

    Args:
        path: of the agent's socket.
        settings: limits.
        resource: what to follow.
        selector: labels of the objects to print.
        printer: how.

    Raises:
        OperatorError: the agent does not answer, or refuses.
    """
    kind = find_kind(resource.type)
    assert kind is not None
    view = _View(printer, printer.new_table(kind), selector, resource.name)
    await watch(path, settings, str(resource._replace(name="")), view.take)


class _View:
    """What has been printed, so that a list that comes again prints only what is new."""

    def __init__(self, printer: Printer, table: Table | None, selector: str, name: str) -> None:
        self._printer = printer
        self._table = table
        self._selector = parse_selector(selector)
        self._name = name
        self._printed: dict[tuple[str, str], str] = {}
        self._first: list[Any] | None = []

    async def take(self, event: WatchEvent) -> None:
        match event.type:
            case WatchEventType.RESET:
                pass
            case WatchEventType.SYNCED:
                if self._first:
                    self._print(self._first, headings=True)
                self._first = None
            case WatchEventType.DELETE:
                if self._printed.pop(_identity(event.body), None):
                    print(f"{object_word(event.body)} deleted", flush=True)
            case _:
                self._take_object(event.body)

    def _take_object(self, body: Any) -> None:
        metadata = body["metadata"]
        if self._name not in {"", metadata["name"]}:
            return
        if not selects(self._selector, metadata.get("labels") or {}):
            return
        version = metadata["resourceVersion"]
        if self._printed.get(_identity(body)) == version:
            return
        headings = not self._printed
        self._printed[_identity(body)] = version
        if self._first is not None:
            self._first.append(body)
        else:
            self._print([body], headings=headings)

    def _print(self, bodies: list[Any], *, headings: bool) -> None:
        if self._table is None:
            self._printer.print_each(bodies)
        else:
            print(self._table.format(bodies, headings=headings), flush=True)


def _identity(body: Any) -> tuple[str, str]:
    return body["metadata"].get("namespace", ""), body["metadata"]["name"]
