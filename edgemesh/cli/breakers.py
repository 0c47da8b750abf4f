"""``edgemesh get breakers``: how the breakers of endpoints stand."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import msgspec

from edgemesh.app.ask import ask_agent
from edgemesh.cli.connection import AgentOptions
from edgemesh.cli.printing import Output, print_document
from edgemesh.model.errors import OperatorError
from edgemesh.model.status import BreakerPhase, BreakerStatus, ServicesQuestion

WORDS = frozenset({"breakers", "breaker"})
_GAP = "   "


async def get_breakers(
    services: Sequence[str], namespace: str, output: Output, agent: AgentOptions
) -> None:
    """Print them.

    Args:
        services: only theirs; empty for all.
        namespace: where, "" for all.
        output: the form.
        agent: which agent.

    Raises:
        OperatorError: no agent answers, or the form is none that breakers have.
    """
    if output is Output.NAME:
        raise OperatorError("breakers have no names", "use -o table, wide, yaml or json")
    settings = agent.settings()
    question = ServicesQuestion(namespace, tuple(services))
    found = await ask_agent(
        agent.path(settings), settings.meta, "null/breakers", list[BreakerStatus], question
    )
    if output in {Output.YAML, Output.JSON}:
        print_document(msgspec.to_builtins(found), output)
    elif found:
        print(breakers_table(found, namespaced=not namespace, wide=output is Output.WIDE))
    else:
        place = f" in {namespace} namespace" if namespace else ""
        print(f"No service with a circuit breaker or health check{place}.", file=sys.stderr)


def breakers_table(found: Sequence[BreakerStatus], *, namespaced: bool, wide: bool) -> str:
    """Rows under headings: those that take no calls first, then by Service port."""
    ordered = sorted(
        found, key=lambda one: (one.state is BreakerPhase.CLOSED, one.namespace, one.service)
    )
    rows = [[text for _, text in _cells(one, namespaced=namespaced, wide=wide)] for one in ordered]
    rows.insert(0, [name for name, _ in _cells(found[0], namespaced=namespaced, wide=wide)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cells(one: BreakerStatus, *, namespaced: bool, wide: bool) -> Iterator[tuple[str, str]]:
    if namespaced:
        yield "NAMESPACE", one.namespace
    yield "SERVICE", f"{one.service}:{one.port}" + ("/UDP" if one.transport == "UDP" else "")
    yield "ENDPOINT", one.endpoint
    yield "STATE", str(one.state)
    yield "FOR", f"{one.open_seconds:.1f}s" if one.open_seconds else "-"
    yield "FAILURES", str(one.failures_in_row)
    yield "EJECTIONS", str(one.ejections)
    yield "ACTIVE", str(one.active)
    yield "CALLS", str(one.calls)
    yield "SUCCESS", f"{100 * (1 - one.failures / one.calls):.1f}%" if one.calls else "-"
    if wide:
        yield "REASON", one.reason or "-"
        yield "POD", one.pod or "-"
