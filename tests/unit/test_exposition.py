"""What Prometheus gets is what its own parser reads, whatever is in it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from edgemesh.observe.metrics.exposition import Family, FamilyType, counter, gauge, labels
from edgemesh.observe.metrics.histogram import HistogramTemplate

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))


def read(*families: Family) -> list[tuple[str, dict[str, str], float]]:
    """The samples that Prometheus' parser finds."""
    text = "".join(piece for family in families for piece in family.text())
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


@given(st.dictionaries(st.sampled_from(["service", "reason", "path"]), texts, min_size=1))
def test_a_label_comes_out_as_it_went_in(values: dict[str, str]) -> None:
    family = gauge("edgemesh_test", "Test.", [(labels(**values), 1)])
    assert read(family) == [("edgemesh_test", values, 1.0)]


def test_a_family_says_what_it_is() -> None:
    family = counter("edgemesh_test_total", "Back\\slash and\nnew line.", [("", 3)])
    assert "".join(family.text()) == (
        "# HELP edgemesh_test_total Back\\\\slash and\\nnew line.\n"
        "# TYPE edgemesh_test_total counter\n"
        "edgemesh_test_total 3\n"
    )


def test_a_family_without_samples_is_no_error() -> None:
    assert read(gauge("edgemesh_empty", "Nothing.", [])) == []


@pytest.mark.parametrize("value", [0, 2**62, 0.25, 1e-9, 1.5e300])
def test_a_number_keeps_its_value(value: float) -> None:
    assert read(gauge("edgemesh_test", "Test.", [("", value)])) == [("edgemesh_test", {}, value)]


bucket_counts = st.lists(st.integers(0, 1000), min_size=4, max_size=4)


@given(bucket_counts, st.floats(0, 1e9), st.sampled_from(["", labels(service='we"b')]))
def test_a_histogram_is_cumulative(buckets: list[int], total: float, labels_text: str) -> None:
    template = HistogramTemplate("edgemesh_test_seconds", (0.001, 0.25, 10.0))
    family = Family(
        "edgemesh_test_seconds",
        FamilyType.HISTOGRAM,
        "Test.",
        [template.text(labels_text, buckets, total)],
    )
    samples = read(family)
    expected = {"service": 'we"b'} if labels_text else {}
    assert [
        ({**expected, "le": mark}, float(sum(buckets[: number + 1])))
        for number, mark in enumerate(["0.001", "0.25", "10", "+Inf"])
    ] == [(found, value) for name, found, value in samples if name.endswith("_bucket")]
    assert ("edgemesh_test_seconds_count", expected, float(sum(buckets))) in samples
    assert ("edgemesh_test_seconds_sum", expected, total) in samples


def test_the_sum_of_a_histogram_keeps_its_value() -> None:
    template = HistogramTemplate("edgemesh_test_seconds", (1.0,))
    lines = template.text("", [1, 2], math.pi).splitlines()
    assert f"edgemesh_test_seconds_sum {math.pi!r}" in lines


def test_families_are_made_as_they_are_read() -> None:
    def values() -> Iterable[tuple[str, float]]:
        made.append("first")
        yield "", 1
        made.append("second")
        yield "", 2

    made: list[str] = []
    pieces = gauge("edgemesh_test", "Test.", values()).text()
    next(pieces)
    assert made == []
    next(pieces)
    assert made == ["first"]
