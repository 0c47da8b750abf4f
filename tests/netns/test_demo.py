"""The demo: it tells what it saw, fails when that is not what was promised, and leaves nothing."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgemesh.lab import topology
from edgemesh.lab.demo import journeys, paths, policies, services
from edgemesh.lab.demo.script import Step

pytestmark = pytest.mark.root

DEMO = [sys.executable, "-m", "edgemesh.lab.demo"]


def run(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path} if path else None
    return subprocess.run(
        [*DEMO, *arguments], capture_output=True, text=True, check=False, env=environment
    )


def lab_of(output: str) -> str:
    found = re.search(r"lab (demo-[0-9a-f]+)", output)
    assert found, output
    return found[1]


# They take up to a minute where others run beside.
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("arguments", "steps", "more"),
    [
        ((), services.STEPS, 1),
        (("policies",), policies.STEPS, 0),
        (("paths",), paths.steps(), 0),
        (("journeys",), journeys.STEPS, 0),
    ],
    ids=["services", "policies", "paths", "journeys"],
)
def test_every_step_is_shown_and_answered_as_promised(
    arguments: tuple[str, ...], steps: tuple[Step, ...], more: int
) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    for number, step in enumerate(steps, start=1):
        assert f"{number:>2}  {step.title}" in done.stdout
    assert done.stdout.count("    asked ") == len(steps) + more
    assert done.stdout.count("    answered ") == len(steps) + more
    assert topology.present(lab_of(done.stdout)) == []


def test_a_step_that_fails_is_named_and_the_lab_is_gone(tmp_path: Path) -> None:
    for tool in ("ip", "nsenter", "unshare", "mount", "sh", "sysctl", "nft"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)
    done = run(path=str(tmp_path))
    assert done.returncode == 1
    assert "FAILED in step 1, HTTP by name: curl -sS http://web" in done.stderr
    assert topology.present(lab_of(done.stdout)) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_leaves_no_lab(number: signal.Signals) -> None:
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        lab = lab_of(demo.stdout.readline())
        while "over" not in demo.stdout.readline():
            assert demo.poll() is None
        assert topology.present(lab)
        demo.send_signal(number)
        _, complaint = demo.communicate()
    assert demo.returncode == 128 + number
    assert complaint == f"demo: ended by {number.name}; the lab is gone\n"
    assert topology.present(lab) == []


def test_scenarios_are_listed_and_their_names_are_checked() -> None:
    assert re.findall(r"^\w+", run("--list").stdout, re.MULTILINE) == [
        "services",
        "policies",
        "paths",
        "journeys",
    ]
    done = run("nothing")
    assert done.returncode == 2
    assert "invalid choice: 'nothing'" in done.stderr
