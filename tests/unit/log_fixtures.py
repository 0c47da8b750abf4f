"""What the logs of flows and of requests have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

# Who called whom, as both reports say it.
CALL: dict[str, Any] = {
    "client": "10.244.1.5:43210",
    "client_pod": "default/client",
    "service": "default/web:80",
    "endpoint": "[fd00::7]:8080",
    "endpoint_pod": "default/web-1",
    "attempts": 1,
}


def lines(file: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
