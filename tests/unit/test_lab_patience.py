"""How long a lab waits."""

from __future__ import annotations

import pytest

from edgemesh.lab.patience import patient, ready_seconds
from edgemesh.model.errors import OperatorError

VARIABLE = "EDGEMESH_LAB_PATIENCE"


def test_most_machines_need_no_more_than_the_usual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert patient(3.0) == 3.0


def test_on_a_machine_that_is_said_to_be_slow_everything_is_waited_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    usual = ready_seconds()
    monkeypatch.setenv(VARIABLE, "2.5")
    assert (patient(4.0), ready_seconds()) == (10.0, 2.5 * usual)


@pytest.mark.parametrize("told", ["", "long", "0", "0.5", "-2", "nan", "inf"])
def test_what_is_no_such_number_is_named(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv(VARIABLE, told)
    with pytest.raises(OperatorError, match=f"{VARIABLE}={told}:"):
        patient(1.0)
