"""The cgroups of a lab: who runs in which, and that nothing is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from lab_homes import unique_home, wait_for

from edgemesh.lab import cluster, rollout
from edgemesh.lab.state import Home, load
from edgemesh.model.settings import ManifestLimits
from edgemesh.wire.manifest import read_manifest

pytestmark = pytest.mark.root

# Of BPF, for two agents at the same time.
LOADING_SECONDS = 90.0
POD = b"""
apiVersion: v1
kind: Pod
metadata: {name: quiet}
spec:
  nodeName: edge-1
  containers: [{name: quiet, image: idle}]
"""


@pytest.fixture
def lab() -> Iterator[Home]:
    with unique_home() as place:
        yield place


def up(lab: Home, *, with_bpf: bool) -> None:
    async def bring_up() -> None:
        await cluster.up(lab, 1, with_agents=False, with_bpf=with_bpf)
        await rollout.apply(lab, read_manifest(POD, "pod.yaml", ManifestLimits()))

    trio.run(bring_up)


def cgroup_of(pid: int | str) -> str:
    """The cgroup of a process within the hierarchy of version 2."""
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        if line.startswith("0::")
    ]
    return line.removeprefix("0::")


def executed(lab: Home, target: str, *command: str) -> str:
    program = [sys.executable, "-m", "edgemesh.cli.main", "lab", "exec", "--name", lab.lab]
    done = subprocess.run(
        [*program, target, "--", *command], capture_output=True, text=True, check=True
    )
    return done.stdout


def bpf_settings(lab: Home, node: str) -> dict[str, object]:
    settings: dict[str, object] = tomllib.loads(lab.agent_config(node).read_text())["bpf"]
    return settings


def test_pods_and_what_is_executed_run_in_the_cgroup_of_their_node(lab: Home) -> None:
    up(lab, with_bpf=True)
    (pod,) = load(lab).pods
    of_node = f"/edgemesh-lab-{lab.lab}/edge-1"
    assert cgroup_of(pod.process.pid) == of_node
    for target, node in (("quiet", "edge-1"), ("edge-1", "edge-1"), ("cloud", "cloud")):
        shown = executed(lab, target, "grep", "^0::", "/proc/self/cgroup")
        assert shown == f"0::/edgemesh-lab-{lab.lab}/{node}\n"


def test_agents_are_told_of_their_nodes_cgroup_and_of_a_place_of_their_own(lab: Home) -> None:
    up(lab, with_bpf=True)
    edge, cloud = (bpf_settings(lab, node) for node in ("edge-1", "cloud"))
    assert edge["enabled"]
    assert cloud["enabled"]
    assert str(edge["cgroup"]).endswith(f"/edgemesh-lab-{lab.lab}/edge-1")
    assert Path(str(edge["cgroup"])).is_dir()
    assert edge["directory"] != cloud["directory"]


def test_what_is_executed_sees_the_cgroups(lab: Home) -> None:
    up(lab, with_bpf=True)
    cgroup = str(bpf_settings(lab, "edge-1")["cgroup"])
    assert executed(lab, "edge-1", "sh", "-c", f"cat {cgroup}/cgroup.procs") != ""


def test_a_lab_is_without_bpf_unless_it_is_asked_for(lab: Home) -> None:
    up(lab, with_bpf=False)
    assert bpf_settings(lab, "edge-1") == {"enabled": False}
    (pod,) = load(lab).pods
    assert cgroup_of(pod.process.pid) == cgroup_of("self")


def test_down_removes_the_cgroups_and_whoever_is_left_in_them(lab: Home) -> None:
    up(lab, with_bpf=True)
    cgroup = Path(str(bpf_settings(lab, "edge-1")["cgroup"]))
    # Outside of the lab's namespaces, and beyond any wish to end.
    stubborn = subprocess.Popen(["sh", "-c", "trap '' TERM; read forever"], stdin=subprocess.PIPE)
    with stubborn:
        (cgroup / "cgroup.procs").write_text(str(stubborn.pid))
        trio.run(cluster.down, lab)
        assert stubborn.wait() < 0
    assert not cgroup.parent.exists()


@pytest.mark.timeout(180)
def test_down_removes_what_a_killed_agent_has_pinned(lab: Home) -> None:
    state = trio.run(partial(cluster.up, lab, 1, with_bpf=True))
    pins = Path(str(bpf_settings(lab, "edge-1")["directory"]))
    wait_for((pins / "current").exists, "programs are pinned", LOADING_SECONDS)
    os.kill(state.agents["edge-1"].pid, signal.SIGKILL)
    trio.run(cluster.down, lab)
    assert not pins.exists()


def test_labs_come_up_with_bpf_by_an_option(lab: Home) -> None:
    program = [sys.executable, "-m", "edgemesh.cli.main", "lab"]
    words = ["up", "--bpf", "--nodes", "1", "--no-agents", "--name", lab.lab]
    subprocess.run([*program, *words], check=True, capture_output=True)
    assert bpf_settings(lab, "edge-1")["enabled"]
    listed = subprocess.run(
        [*program, "ls", "--json", "--name", lab.lab], check=True, capture_output=True
    )
    assert len(json.loads(listed.stdout)["nodes"]) == 2
