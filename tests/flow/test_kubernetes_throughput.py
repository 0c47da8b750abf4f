"""How fast an agent follows a large cluster, and what memory that takes."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from apiserver.server import run_apiserver

SERVICES = 5000
ROUNDS = 4
_PATH = "/api/v1/services"
_MEBIBYTE = 1 << 20


def service(number: int, generation: int) -> dict[str, Any]:
    address = f"10.{100 + number // 65536}.{number // 256 % 256}.{number % 256}"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": f"svc-{number}",
            "namespace": "default",
            "labels": {"app": f"app-{number}", "tier": "front"},
            "annotations": {"generation": str(generation)},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "selector": {"app": f"app-{number}"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    }


class Follower:
    """The process, and what it has told."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        self._lines = process.stdout
        self._rest = b""

    async def told(self) -> dict[str, Any]:
        while True:
            line = await self._line()
            # The log is there, too.
            if line.startswith(b"{"):
                found: dict[str, Any] = msgspec.json.decode(line)
                return found

    async def _line(self) -> bytes:
        while b"\n" not in self._rest:
            data = await self._lines.receive_some()
            assert data, "the follower has ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line


@pytest.mark.long
async def test_5000_services_and_20000_changes_are_served_for_10_s_of_one_processor_and_60_mib(
    tmp_path: Path,
) -> None:
    script = Path(__file__).with_name("kubernetes_follower.py")
    async with run_apiserver() as server, trio.open_nursery() as nursery:
        for number in range(SERVICES):
            server.put(_PATH, service(number, 0))
        command = [sys.executable, str(script), server.url, str(tmp_path), str(SERVICES)]
        run = partial(trio.run_process, [*command, str(ROUNDS)], stdout=subprocess.PIPE)
        process = await nursery.start(run)
        follower = Follower(process)
        with trio.fail_after(100):
            begins = await follower.told()
            listed = await follower.told()
            for generation in range(1, ROUNDS + 1):
                for number in range(SERVICES):
                    server.put(_PATH, service(number, generation))
            applied = await follower.told()
    seconds = applied["seconds"] - begins["seconds"]
    cpu = applied["cpu"] - begins["cpu"]
    more = (applied["resident"] - begins["resident"]) / _MEBIBYTE
    peak = (applied["peak"] - begins["resident"]) / _MEBIBYTE
    print(
        f"listed in {listed['seconds'] - begins['seconds']:.1f} s, all in {seconds:.1f} s"
        f" ({cpu:.1f} s of processor time), {more:.0f} MiB more, {peak:.0f} MiB at most"
    )
    # By the clock it takes as long on a machine that has nothing else to do.
    assert cpu < 10
    assert more < 60
    assert peak < 60
