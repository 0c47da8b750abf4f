"""``edgemesh lab`` as a user types it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from lab_homes import unique_home

from edgemesh.lab import cluster
from edgemesh.lab.state import Home, load

pytestmark = pytest.mark.root

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: serve_hostname
        env: [{name: COLOUR, value: green}]
"""


@pytest.fixture
def lab() -> Iterator[Home]:
    with unique_home() as place:
        yield place


@pytest.fixture
def lab_with_pods(lab: Home, tmp_path: Path) -> Home:
    trio.run(lambda: cluster.up(lab, 1, with_agents=False))
    (tmp_path / "web.yaml").write_text(WEB)
    assert command(lab, "apply", "-f", str(tmp_path / "web.yaml")).returncode == 0
    return lab


def argv(lab: Home, *words: str) -> list[str]:
    verb, *rest = words
    program = [sys.executable, "-m", "edgemesh.cli.main", "lab", verb, "--name", lab.lab]
    return [*program, *rest]


def command(lab: Home, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv(lab, *words), capture_output=True, text=True, check=False)


def test_a_lab_comes_up_and_goes_down(lab: Home) -> None:
    up = command(lab, "up", "--nodes", "1", "--no-agents")
    assert (up.returncode, up.stdout) == (0, f"lab {lab.lab} is up: edge-1, cloud\n")
    down = command(lab, "down")
    assert (down.returncode, down.stdout) == (0, f"lab {lab.lab} is down\n")
    again = command(lab, "down")
    assert (again.returncode, again.stdout) == (0, f"there is no lab {lab.lab}\n")


def test_ls_shows_nodes_and_pods_to_people_and_to_programs(lab_with_pods: Home) -> None:
    shown = command(lab_with_pods, "ls").stdout
    pods = load(lab_with_pods).pods
    assert all(f"{pod.key.name}" in shown and pod.addresses[1] in shown for pod in pods)
    seen = json.loads(command(lab_with_pods, "ls", "--json").stdout)
    assert [node["name"] for node in seen["nodes"]] == ["edge-1", "cloud"]
    assert {pod["pid"] for pod in seen["pods"]} == {pod.process.pid for pod in pods}
    assert all(pod["running"] for pod in seen["pods"])


@pytest.mark.parametrize("word", ["web", "shop/web"])
def test_exec_takes_a_deployment_for_the_first_of_its_pods(lab_with_pods: Home, word: str) -> None:
    script = "echo $HOSTNAME $COLOUR; grep search /etc/resolv.conf; exit 7"
    done = command(lab_with_pods, "exec", word, "--", "sh", "-c", script)
    first = load(lab_with_pods).pods[0].key.name
    search = "search shop.svc.cluster.local svc.cluster.local cluster.local"
    assert (done.returncode, done.stdout) == (7, f"{first} green\n{search}\n")


def test_exec_on_a_node_has_the_nodes_network(lab_with_pods: Home) -> None:
    done = command(lab_with_pods, "exec", "edge-1", "--", "ip", "-j", "address", "show", "eth0")
    (interface,) = json.loads(done.stdout)
    assert "10.10.0.11" in {address["local"] for address in interface["addr_info"]}


def test_exec_passes_the_terminal_through(lab_with_pods: Home) -> None:
    ours, theirs = pty.openpty()
    words = argv(lab_with_pods, "exec", "web", "--", "sh", "-c", "read line; tty; echo $line")
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        name = os.ttyname(theirs)
        os.close(theirs)
        os.write(ours, b"typed\n")
        said = b""
        while process.poll() is None or b"typed\r\ntyped" not in said.replace(name.encode(), b""):
            try:
                said += os.read(ours, 4096)
            except OSError:  # EIO: the last one on the terminal has gone (pty(7))
                break
    os.close(ours)
    assert name.encode() in said
    assert process.returncode == 0


def test_logs_show_what_an_app_wrote(lab_with_pods: Home) -> None:
    pod = load(lab_with_pods).pods[0]
    lab_with_pods.pod_log(pod.key).write_text("one\ntwo\n")
    assert command(lab_with_pods, "logs", pod.key.name).stdout == "one\ntwo\n"


def test_delete_stops_the_pods_of_a_manifest(lab_with_pods: Home, tmp_path: Path) -> None:
    done = command(lab_with_pods, "delete", "-f", str(tmp_path / "web.yaml"))
    assert done.returncode == 0
    assert load(lab_with_pods).pods == ()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["exec", "moon", "--", "true"], "no node, pod or Deployment 'moon' (nodes edge-1, cloud"),
        (["exec", "web"], "no command to execute (put it after --)"),
        (["logs", "edge-1"], "edge-1 has written no log"),
        (["apply", "-f", "/nowhere.yaml"], "/nowhere.yaml"),
        (["up"], "is up already"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(
    lab_with_pods: Home, words: list[str], told: str
) -> None:
    done = command(lab_with_pods, *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("edgemesh: ")
    assert told in done.stderr


@pytest.mark.parametrize("words", [["ls"], ["exec", "web", "--", "true"], ["apply", "-f", "-"]])
def test_without_a_lab_commands_say_how_to_make_one(lab: Home, words: list[str]) -> None:
    done = subprocess.run(argv(lab, *words), input=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"edgemesh: there is no lab {lab.lab} (edgemesh lab up --name {lab.lab})\n"
    )
