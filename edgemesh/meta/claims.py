"""Who has an address when several may claim it, as they do while objects are replaced."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Claims(Generic[KeyT, ValueT]):
    """Values by key; of several claims to one key the one that ranks highest holds.

    What holds depends on the claims that stand, never on the order in which they came: an agent
    that was restarted comes to the same result as one that saw every change.

    Args:
        owner: who claims with a value; a later claim of the same owner replaces the earlier.
        rank: which value holds; owners that differ must rank differently.
    """

    def __init__(self, owner: Callable[[ValueT], Hashable], rank: Callable[[ValueT], Any]) -> None:
        self._owner = owner
        self._rank = rank
        self._held: dict[KeyT, ValueT] = {}
        # Every claim to a key, the one that holds included, where there are several.
        self._contested: dict[KeyT, dict[Hashable, ValueT]] = {}
        self._copy: Mapping[KeyT, ValueT] | None = None

    def claim(self, key: KeyT, value: ValueT) -> None:
        """Claim a key, or change one's claim."""
        self._copy = None
        owner = self._owner(value)
        claims = self._contested.get(key)
        if claims is None:
            holder = self._held.get(key)
            if holder is None or self._owner(holder) == owner:
                self._held[key] = value
                return
            claims = self._contested[key] = {self._owner(holder): holder}
        claims[owner] = value
        self._held[key] = max(claims.values(), key=self._rank)

    def release(self, key: KeyT, owner: Hashable) -> None:
        """Give up a claim that was made."""
        self._copy = None
        claims = self._contested.get(key)
        if claims is None:
            del self._held[key]
            return
        del claims[owner]
        self._held[key] = max(claims.values(), key=self._rank)
        if len(claims) == 1:
            del self._contested[key]

    def holder(self, key: KeyT) -> ValueT | None:
        """The value that holds now, None where nobody claims."""
        return self._held.get(key)

    def frozen(self) -> Mapping[KeyT, ValueT]:
        """What holds now; the same mapping as long as nothing changes, and never changed."""
        if self._copy is None:
            self._copy = self._held.copy()
        return self._copy
