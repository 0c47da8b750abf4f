"""What every way of intercepting promises."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from edgemesh.model.services import InboundAddress, NodePort, ServiceAddress

Target: TypeAlias = ServiceAddress | NodePort | InboundAddress


class HeldConnection(NamedTuple):
    """A TCP connection that the agent has accepted, to a destination not intercepted any more."""

    client: tuple[str, int]
    destination: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Installed:
    """What stands in the kernel, whoever put it there.

    Args:
        fingerprint: names the rule set; equal when nothing but addresses may differ.
        owned: whether it vanishes with the process that installed it.
        rules: as the kernel's own tool prints them, without the addresses.
    """

    fingerprint: str
    owned: bool
    rules: tuple[str, ...]

    @property
    def mode(self) -> str:
        """``tproxy`` or ``redirect``, "" when the rules are not ours."""
        return self._word(1)

    @property
    def family(self) -> str:
        """``ipv4``, ``ipv6`` or ``both``."""
        return self._word(2)

    @property
    def fail(self) -> str:
        """``open`` or ``closed``."""
        return self._word(3)

    def _word(self, place: int) -> str:
        # "edgemesh tproxy both open 0123456789ab", see ruleset.py
        words = self.fingerprint.split()
        return words[place] if len(words) > place else ""


class Interception(Protocol):
    """Rules that lead calls to the agent. Every method blocks: call it in a thread.

    Ownership: whoever opens one calls `close`. Rules act in the network namespace that the
    process was in when it was opened.
    """

    def install(self) -> None:
        """Put rules and policy routes in place, and put right what others moved.

        Nothing changes when all is there already. Where an older rule set stands, it is replaced
        and its addresses are kept: reconcile by the difference to `addresses`.

        Raises:
            OperatorError: the kernel or a tool refuses, or another process owns the rules.
        """

    def update(
        self,
        added: Collection[Target],
        removed: Collection[Target],
        held: Collection[HeldConnection] = (),
        callers: frozenset[str] = frozenset(),
    ) -> None:
        """Change what is intercepted, and whose calls are; rules stay as they are.

        Those added that are there, those removed that are not, and families that are not
        intercepted are passed over.

        Args:
            added: targets that are intercepted from now on.
            removed: targets that are not any more.
            held: all connections that go on to come to the agent although their destination
                is removed, or was before. Where connection tracking tells them, they need not
                be named.
            callers: addresses of all Pods whose calls are treated otherwise than those of others,
                as ``proxy.intercept_default`` says. It holds for connections that begin.

        Raises:
            OperatorError: nothing is installed, or the kernel refuses; then nothing changed.
        """

    def remove(self) -> None:
        """Take away what `install` added, and only that; nothing happens when it is gone.

        Raises:
            OperatorError: another process owns the rules.
        """

    def installed(self) -> bool:
        """Whether the rules stand as `install` would leave them."""

    def addresses(self) -> frozenset[Target]:
        """What is intercepted now, read from the kernel."""

    def describe(self) -> Installed | None:
        """What stands in the kernel, None when nothing of ours does."""

    def close(self) -> None:
        """End the agent's hold: rules go or stay as the fail mode says."""


def intercepted(targets: Iterable[Target], family: str) -> list[Target]:
    """Those that belong to the chosen family (``ipv4``, ``ipv6`` or ``both``), sorted."""
    unwanted = {"ipv4": True, "ipv6": False}.get(family)
    return sorted(
        (
            target
            for target in targets
            if isinstance(target, NodePort) or (":" in target.address) is not unwanted
        ),
        key=repr,
    )
