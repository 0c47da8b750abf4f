"""Of several claims to one key the one that ranks highest holds, in whatever order they came."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.meta.claims import Claims


class Claim(NamedTuple):
    owner: str
    rank: int


def claims() -> Claims[str, Claim]:
    return Claims(owner=lambda claim: claim.owner, rank=lambda claim: (claim.rank, claim.owner))


def test_the_mapping_is_the_same_until_something_changes() -> None:
    table = claims()
    table.claim("a", Claim("x", 1))
    first = table.frozen()
    assert table.frozen() is first
    table.claim("b", Claim("x", 1))
    assert first == {"a": Claim("x", 1)}
    assert table.frozen() == {"a": Claim("x", 1), "b": Claim("x", 1)}


def test_the_next_holds_when_the_highest_is_released() -> None:
    table = claims()
    for claim in (Claim("x", 2), Claim("y", 3), Claim("z", 1)):
        table.claim("a", claim)
    assert table.frozen() == {"a": Claim("y", 3)}
    table.release("a", "y")
    assert table.frozen() == {"a": Claim("x", 2)}
    table.release("a", "z")
    table.release("a", "x")
    assert table.frozen() == {}


STEPS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from("xyz"), st.one_of(st.none(), st.integers(0, 3))
    )
)


@given(STEPS)
def test_what_holds_is_the_highest_of_the_claims_that_stand(
    steps: list[tuple[str, str, int | None]],
) -> None:
    table = claims()
    standing: dict[tuple[str, str], Claim] = {}
    for key, owner, rank in steps:
        if rank is not None:
            standing[key, owner] = Claim(owner, rank)
            table.claim(key, standing[key, owner])
        elif standing.pop((key, owner), None):
            table.release(key, owner)
        expected: dict[str, Claim] = {}
        for (place, _), claim in standing.items():
            best = expected.get(place, claim)
            expected[place] = max(best, claim, key=lambda found: (found.rank, found.owner))
        assert table.frozen() == expected
