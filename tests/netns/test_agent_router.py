"""The router between a real cloud, a real agent, an application on its loopback and a broker."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cloud_process import ADDRESS, CloudProcess, bus, cloud_of, wait_until_synced
from lab_homes import wait_for
from mesh import Mesh
from requirement import unmet
from router_fixtures import real_bodies, rule_body

from edgemesh.lab.network import command_in

pytestmark = pytest.mark.root

BROKER = "mqtt://127.0.0.1:1883"
REST = f"http://{ADDRESS}:9443/node/default"
APPLICATION = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = json.dumps([self.command, self.path, body.decode()]).encode()
        self.send_response(404 if "missing" in self.path else 201)
        self.send_header("X-Edge", "a")
        self.send_header("X-Edge", "b")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    do_GET = do_POST = answer
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 6666), Handler).serve_forever()
"""


@contextmanager
def running(namespace: str, argv: list[str]) -> Iterator[None]:
    with subprocess.Popen(
        command_in(namespace, argv), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()


def run(namespace: str, *argv: str) -> str:
    done = subprocess.run(
        command_in(namespace, list(argv)), capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout


def curl(mesh: Mesh, *argv: str) -> tuple[int, dict[str, list[str]], str]:
    """Status, fields and body of one request, made where the cloud is; status 0 for no answer."""
    text = run(mesh.network.server, "curl", "-sS", "-i", "-m", "20", *argv)
    if not text:
        return 0, {}, ""
    head, _, body = text.partition("\n\n")
    first, *lines = head.splitlines()
    fields: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        fields.setdefault(name.lower(), []).append(value)
    return int(first.split()[1]), fields, body


@pytest.fixture
def cloud(mesh: Mesh) -> Iterator[CloudProcess]:
    with cloud_of(mesh) as made:
        made.start()
        made.write_token("node")
        yield made


def join(mesh: Mesh, cloud: CloudProcess, *bodies: dict[str, Any], **settings: Any) -> None:
    cloud.apply(*bodies)
    mesh.start(bus=bus(cloud, **settings))
    wait_until_synced(mesh)


def test_a_request_at_the_cloud_is_answered_by_an_application_of_the_node(
    mesh: Mesh, cloud: CloudProcess
) -> None:
    with running(mesh.network.node, [sys.executable, "-c", APPLICATION]):
        join(mesh, cloud, *real_bodies())
        posted = ("-d", "hello", f"{REST}/source/a?x=1")
        wait_for(lambda: curl(mesh, *posted)[0] == 201, f"it is answered: {cloud.log}")
        _, fields, body = curl(mesh, *posted)
        assert json.loads(body) == ["POST", "/target/a?x=1", "hello"]
        assert fields["x-edge"] == ["a", "b"]
        assert curl(mesh, f"{REST}/source/missing")[0] == 404


def test_what_fails_at_the_node_is_told_at_once(mesh: Mesh, cloud: CloudProcess) -> None:
    join(mesh, cloud, *real_bodies())

    def refused(url: str) -> tuple[int, list[str]]:
        status, fields, _ = curl(mesh, url)
        return status, fields.get("x-edgemesh-reason", [])

    # What is stored at either end is followed there a moment later.
    reached = (502, ["not_reached"])
    wait_for(lambda: refused(f"{REST}/source") == reached, f"the node answers: {cloud.log}")
    began = time.monotonic()
    assert refused(f"{REST}/source") == reached
    assert "6666" in curl(mesh, f"{REST}/source")[2]
    assert refused(f"http://{ADDRESS}:9443/nobody/default/source") == (503, ["node_away"])
    # A request may take 30 seconds, and this is three.
    assert time.monotonic() - began < 20


def test_an_application_of_the_node_asks_the_cloud(mesh: Mesh, cloud: CloudProcess) -> None:
    url = f"http://{ADDRESS}:8088/in"
    rule = rule_body(
        "calls",
        "my-servicebus",
        "my-rest",
        {"target_url": "http://shop/buy", "node_name": "node"},
        {"resource": url},
    )
    target = APPLICATION.replace('"127.0.0.1", 6666', f'"{ADDRESS}", 8088')
    with running(mesh.network.server, [sys.executable, "-c", target]):
        join(mesh, cloud, *real_bodies(), rule)
        asked = json.dumps({"method": "POST", "targetURL": "http://shop/buy", "payload": 1})
        argv = ["curl", "-sS", "-m", "20", "-d", asked, "http://127.0.0.1:9060"]

        def said() -> dict[str, Any]:
            answer: dict[str, Any] = json.loads(run(mesh.network.node, *argv) or "{}")
            return answer

        wait_for(lambda: said().get("code") == 200, f"it is answered: {mesh.log}")
        method, path, body = json.loads(said()["body"])
        assert (method, path, json.loads(body)) == ("POST", "/in", json.loads(asked))


def test_topics_of_a_broker_and_the_cloud_reach_each_other(
    mesh: Mesh, cloud: CloudProcess, tmp_path: Path
) -> None:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin")
    if program is None:
        unmet("mosquitto is not installed")
    config = tmp_path / "mosquitto.conf"
    config.write_text("listener 1883 127.0.0.1\nallow_anonymous true\nuser root\n")
    received = tmp_path / "received"
    target = APPLICATION.replace('"127.0.0.1", 6666', f'"{ADDRESS}", 8088').replace(
        "said = json", f"open({str(received)!r}, 'ab').write(body + b'|'); said = json"
    )
    rules = [
        rule_body(
            "up",
            "my-eventbus",
            "my-rest",
            {"topic": "up", "node_name": "node"},
            {"resource": f"http://{ADDRESS}:8088/in"},
        ),
        # What is published at the node's topic "up" comes back to the cloud by the rule above.
        rule_body("down", "my-rest", "my-eventbus", {"path": "/down"}, {"topic": "up"}),
    ]
    with (
        running(mesh.network.node, [program, "-c", str(config)]),
        running(mesh.network.server, [sys.executable, "-c", target]),
    ):
        join(mesh, cloud, *real_bodies(), *rules, eventbus=BROKER)

        def went_round() -> bool:
            curl(mesh, "-d", "hello", f"{REST}/down")
            return received.exists() and b"hello|" in received.read_bytes()

        wait_for(went_round, f"it went round: {mesh.log}\n{cloud.log}")
