"""What is told about the process is what the kernel says."""

from __future__ import annotations

import os
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgemesh.observe.metrics.process import process_families


def told() -> dict[str, float]:
    text = "".join(piece for family in process_families() for piece in family.text())
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_descriptors_are_counted() -> None:
    before = told()["process_open_fds"]
    read, write = os.pipe()
    try:
        assert told()["process_open_fds"] == before + 2
        assert told()["process_max_fds"] >= before + 2
    finally:
        os.close(read)
        os.close(write)


def test_the_process_began_in_the_past_and_has_used_time_and_memory() -> None:
    found = told()
    assert time.time() - 86400 < found["process_start_time_seconds"] < time.time()
    assert found["process_cpu_seconds_total"] == pytest.approx(time.process_time(), abs=0.5)
    assert 5e6 < found["process_resident_memory_bytes"] < found["process_virtual_memory_bytes"]
