"""What people do with HTTP every day, through a real agent: curl, httpx2, wrk, Python, nginx."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import httpx2
import pytest
from http_endpoint import PART_BYTES, digest, http_endpoint, parts
from http_programs import Nginx, nginx, no_request_fails
from interception_lab import PORT, SERVER, SERVICE, inside, output
from mesh import Mesh, endpoints, new_mesh, service

from edgemesh.lab.network import command_in

pytestmark = pytest.mark.root

Value = TypeVar("Value")

APP = f"http://{SERVICE[4]}"
FILES_ADDRESS = "10.96.0.11"
FILES = f"http://{FILES_ADDRESS}"
FILE_PARTS = 400
BIG_PARTS = 1600  # 100 MiB

Serving = tuple[Mesh, SimpleQueue[str], Nginx, Path]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Two Services: an application written in Python, and files that nginx serves."""
    directory = tmp_path_factory.mktemp("files")
    (directory / "file").write_bytes(b"".join(parts(FILE_PARTS)))
    with (
        new_mesh() as mesh,
        http_endpoint(mesh.network.server, (SERVER[4], 8080)) as events,
        nginx(mesh.network.server, directory, [(SERVER[4], 8081)]) as server,
    ):
        mesh.start()
        mesh.apply(
            service("web", [SERVICE[4]], [("TCP", PORT)], application_protocol="http"),
            *endpoints("web", [SERVER[4]], [("TCP", 8080)]),
            service("files", [FILES_ADDRESS], [("TCP", PORT)], application_protocol="http"),
            *endpoints("files", [SERVER[4]], [("TCP", 8081)]),
        )
        yield mesh, events, server, directory


@pytest.fixture
def mesh(serving: Serving) -> Mesh:
    return serving[0]


@pytest.fixture
def events(serving: Serving) -> SimpleQueue[str]:
    return serving[1]


@pytest.fixture
def server(serving: Serving) -> Nginx:
    return serving[2]


@pytest.fixture
def directory(serving: Serving) -> Path:
    return serving[3]


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.writelines(parts(BIG_PARTS))
    return path


def curl(mesh: Mesh, *words: str) -> str:
    return output(mesh.network.pod, ["curl", "-sS", "--max-time", "60", *words])


def in_pod(mesh: Mesh, function: Callable[[], Value]) -> Value:
    return inside(mesh.network.pod, function)


def test_one_connection_of_curl_serves_one_request_after_the_other(mesh: Mesh) -> None:
    told = ["-w", "%{num_connects} %{http_code}\n", "-o", "/dev/null"]
    first, head, last = [*told, f"{APP}/one"], [*told, "-I", f"{APP}/two"], [*told, f"{APP}/three"]
    assert curl(mesh, *first, "--next", *head, "--next", *last) == "1 200\n0 200\n0 200\n"


def test_a_head_tells_the_length_of_what_is_not_sent(mesh: Mesh) -> None:
    assert f"Content-Length: {3 * PART_BYTES}\n" in curl(mesh, "-I", f"{APP}/parts/3")


@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_an_upload_of_100_mib_arrives_whole_once_the_endpoint_has_said_go_on(
    mesh: Mesh, big_file: Path, framing: str
) -> None:
    chunked = ["-H", "Transfer-Encoding: chunked"] if framing == "chunked" else []
    told = json.loads(curl(mesh, "-T", str(big_file), *chunked, f"{APP}/upload"))
    assert (told["method"], told["length"]) == ("PUT", BIG_PARTS * PART_BYTES)
    assert told["digest"] == digest(BIG_PARTS)


def test_an_upload_that_is_refused_in_time_is_not_sent(mesh: Mesh, big_file: Path) -> None:
    words = ["-T", str(big_file), "-w", " %{http_code} %{size_upload}"]
    # As long as it takes: curl sends unasked after a second.
    patience = ["--expect100-timeout", "60"]
    assert curl(mesh, *words, *patience, f"{APP}/forbidden") == '{"asked": "first"} 403 0'


def test_a_slow_download_arrives_whole_and_does_not_pile_up_in_the_agent(mesh: Mesh) -> None:
    before = mesh.resident_bytes()
    argv = ["curl", "-sS", "--limit-rate", "40M", f"{APP}/parts/{BIG_PARTS}"]
    with subprocess.Popen(
        command_in(mesh.network.pod, argv), stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        told, most = hashlib.sha256(), before
        while part := process.stdout.read(1 << 20):
            told.update(part)
            most = max(most, mesh.resident_bytes())
    assert told.hexdigest() == digest(BIG_PARTS)
    assert most - before < 8 << 20


def test_a_body_that_ends_with_its_connection_arrives_whole(mesh: Mesh) -> None:
    answer = in_pod(mesh, lambda: httpx2.get(f"{APP}/until-close/100", timeout=30))
    assert hashlib.sha256(answer.content).hexdigest() == digest(100)


def test_events_arrive_one_by_one_when_they_happen(mesh: Mesh, events: SimpleQueue[str]) -> None:
    argv = ["curl", "-sSN", f"{APP}/events"]
    with subprocess.Popen(
        command_in(mesh.network.pod, argv), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for number in range(100):
            # The next one happens when this one was seen, so nothing can be waited for.
            events.put(f"event {number}")
            assert process.stdout.readline() == f"data: event {number}\n"
            assert process.stdout.readline() == "\n"
        events.put("")
        assert process.stdout.read() == ""
    assert process.returncode == 0


def test_clients_of_http_1_0_may_keep_their_connection(mesh: Mesh) -> None:
    told = ["-0", "-H", "Connection: keep-alive", "-w", "%{num_connects} %{http_version}\n"]
    each = [*told, "-o", "/dev/null", f"{FILES}/file"]
    assert curl(mesh, *each, "--next", *each) == "1 1.1\n0 1.1\n"


def test_a_download_is_resumed_where_it_was_broken_off(
    mesh: Mesh, directory: Path, tmp_path: Path
) -> None:
    whole = (directory / "file").read_bytes()
    resumed = tmp_path / "resumed"
    resumed.write_bytes(whole[:1_000_000])
    told = curl(mesh, "-C", "-", "-o", str(resumed), "-w", "%{http_code}", f"{FILES}/file")
    assert told == "206"
    assert resumed.read_bytes() == whole


def test_fifty_connections_at_once_get_what_each_has_asked_for(mesh: Mesh) -> None:
    told = ["-w", "%{http_code}\n", "-o", "/dev/null"]
    answers = curl(mesh, "-Z", "--parallel-max", "50", *told, f"{FILES}/file?n=[1-100]")
    assert answers.split().count("200") == 100


def test_a_session_of_httpx_has_cookies_redirects_forms_and_streams_on_one_connection(
    mesh: Mesh,
) -> None:
    def talk() -> list[dict[str, Any]]:
        with httpx2.Client(base_url=APP, timeout=30) as session:
            answers = [
                session.get("/first"),
                session.get("/redirect", follow_redirects=True),
                session.post("/json", json={"n": 1}),
                session.post("/form", files={"file": b"x" * 300_000}),
                session.put("/stream", content=parts(100)),
            ]
            return [answer.json() for answer in answers]

    first, landed, *_, streamed = told = in_pod(mesh, talk)
    assert (first["cookie"], landed["cookie"]) == ("", "seen=yes")
    assert landed["path"] == "/landed"
    assert streamed["digest"] == digest(100)
    assert len({answer["connection"] for answer in told}) == 1


def test_a_server_that_is_reloaded_again_and_again_costs_no_get(
    mesh: Mesh, server: Nginx, directory: Path
) -> None:
    (directory / "small").write_text("small")
    with no_request_fails(mesh.network.pod, f"{FILES}/small") as load:
        for _ in range(5):
            server.reload()
            load.goes_on(0.5)
