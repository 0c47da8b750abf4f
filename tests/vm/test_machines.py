"""The lab on virtual machines of this host, once for each kernel: ``scripts/test --vm``.

What it says is what an operator would do by hand: scripts/vm starts the machines, vagrant/provision
makes them what they are, vagrant/run plays the scenarios.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_EDGE = "edge-1"
_MACHINES = ("cloud", _EDGE, "edge-2")
# Emulated machines on processors that are shared.
_HOUR_SECONDS = 3600

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.timeout(4 * _HOUR_SECONDS)]


class Lab:
    """Machines that run.

    Args:
        environment: says where they are kept, and how ssh reaches them.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    def call(self, *argv: str) -> None:
        """Run a script of the project; what it says is seen as it comes."""
        subprocess.run(argv, cwd=_ROOT, env=self.environment, check=True, timeout=2 * _HOUR_SECONDS)

    def on(self, machine: str, command: str) -> str:
        """Run a line of shell on a machine; return what it printed."""
        done = subprocess.run(
            ["scripts/vm", "ssh", machine, command],
            cwd=_ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=_HOUR_SECONDS,
        )
        return done.stdout


@pytest.fixture(scope="module", params=["6.1", "6.12"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("machines") / "lab"
    config = home.with_name("ssh-config")
    started = Lab({**os.environ, "EDGEMESH_VM_HOME": str(home), "EDGEMESH_SSH_CONFIG": str(config)})
    try:
        started.call("scripts/vm", "up", "--kernel", request.param)
        config.write_bytes((home / "ssh-config").read_bytes())
        for machine in _MACHINES:
            started.on(machine, f"/opt/edgemesh/vagrant/provision {machine}")
        started.call("vagrant/join")
        yield started
    finally:
        started.call("scripts/vm", "down")


def test_the_machine_has_the_kernel_and_lacks_nothing(lab: Lab) -> None:
    page = lab.on(_EDGE, "uname -r; edgemesh doctor")
    assert "  lacking  " not in page, page


def test_all_paths_pass_their_trial_on_this_kernel(lab: Lab) -> None:
    wait = "until edgemesh status | grep -q '^path connect *available'; do sleep 5; done"
    page = lab.on(_EDGE, f'timeout {_HOUR_SECONDS // 2} bash -c "{wait}"; edgemesh status')
    paths = [line for line in page.splitlines() if line.startswith("path ")]
    assert len(paths) >= 3, page
    # What works only in part says for what, and why not for the rest.
    assert not [line for line in paths if not line.endswith(" available")], page


@pytest.mark.parametrize("scenario", ["journeys", "cloud-cut", "upgrade", "reboot"])
def test_the_scenario_goes_as_promised(lab: Lab, scenario: str) -> None:
    lab.call("vagrant/run", scenario)


@pytest.mark.parametrize("scenario", ["services", "paths"])
def test_the_demo_runs_in_a_machine(lab: Lab, scenario: str) -> None:
    # The processor is the demo's alone meanwhile.
    lab.on(_EDGE, "systemctl stop edgemesh edgemesh-pods")
    try:
        page = lab.on(_EDGE, f"cd /opt/edgemesh && EDGEMESH_LAB_PATIENCE=8 scripts/demo {scenario}")
    finally:
        lab.on(_EDGE, "systemctl start edgemesh edgemesh-pods")
    assert "Everything was answered as promised." in page, page
