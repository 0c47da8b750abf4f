"""The agent itself, as an operator runs it: its own rules, its own store, flow reports on."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.processes import started
from bench.subjects import Running, Site, at_service_addresses

_COMMAND = str(Path(sys.executable).with_name("edgemesh"))

_CONFIG = """\
node = "bench"
state_dir = "{directory}/state"
run_dir = "{directory}/run"
[netfilter]
family = "ipv4"
[dns]
enabled = false
[log]
file = "{directory}/flows.log"
"""


@asynccontextmanager
async def edgemesh(site: Site) -> AsyncIterator[Running]:
    """Run an agent and apply the Services to it."""
    config = site.directory / "edgemesh.toml"
    config.write_text(_CONFIG.format(directory=site.directory))
    command = [_COMMAND, "run", "--config", str(config)]
    async with started(site.topology.node, command, site.log) as process:
        yield at_service_addresses("edgemesh", site, process)
