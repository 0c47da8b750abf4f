"""How long a lab waits for what takes a moment on most machines.

On one that is emulated it takes much longer: EDGEMESH_LAB_PATIENCE says how many times as long.
"""

from __future__ import annotations

import os

from edgemesh.model.errors import OperatorError

_VARIABLE = "EDGEMESH_LAB_PATIENCE"
# For a program to start; a processor that is emulated needs most of it.
_READY_SECONDS = 120.0


def patient(seconds: float) -> float:
    """What is to be waited for at most where ``seconds`` are enough on most machines.

    Raises:
        OperatorError: the variable says no number, or one below 1.
    """
    told = os.environ.get(_VARIABLE, "1")
    try:
        times = float(told)
    except ValueError:
        times = 0.0
    if not 1 <= times < float("inf"):
        raise OperatorError(f"{_VARIABLE}={told}: it has to be a number, and at least 1")
    return seconds * times


def ready_seconds() -> float:
    """For a program to be ready that was started.

    Raises:
        OperatorError: see `patient`.
    """
    return patient(_READY_SECONDS)
