"""The bench ``scrape`` measures every subject, and says what it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.benches import Options
from bench.benches.scrape import BENCH
from bench.loads import Timing
from edgemesh.model.errors import OperatorError


def options(directory: Path, *, cases: tuple[str, ...], subjects: tuple[str, ...] = ()) -> Options:
    # Two bytes at least have to come back in it, however busy the machine is.
    return Options(1, Timing(0, 1.0), cases, subjects, directory)


async def test_every_subject_is_measured_and_all_scrapes_tell_the_same(tmp_path: Path) -> None:
    results = await BENCH.run(options(tmp_path, cases=("endpoints-12",)))
    assert results.subjects("endpoints-12") == ["edgemesh", "idle", "thread"]
    for subject in ("edgemesh", "thread"):
        for metric in ("latency_p99", "latency_max", "scrape_seconds"):
            assert all(value > 0 for value in results.get("endpoints-12", subject, metric))
        assert results.get("endpoints-12", subject, "scrape_bytes")[0] > 12 * 1000
    assert results.get("endpoints-12", "idle", "latency_max")
    assert not results.get("endpoints-12", "idle", "scrape_seconds")
    assert "longest wait of a call" in BENCH.tell(results)


@pytest.mark.parametrize(
    ("cases", "subjects"), [(("services-1",), ()), (("endpoints-0",), ()), ((), ("envoy",))]
)
async def test_what_there_is_not_is_named(
    tmp_path: Path, cases: tuple[str, ...], subjects: tuple[str, ...]
) -> None:
    with pytest.raises(OperatorError, match="there is no"):
        await BENCH.run(options(tmp_path, cases=cases, subjects=subjects))
