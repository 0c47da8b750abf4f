"""``edgemesh apply``, ``get`` and ``delete`` as an operator runs them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import PIPE, CompletedProcess

import pytest
import trio
import yaml
from metamanager_fixtures import Served, config_map, pod, served, service

from edgemesh.model.paths import PathStatus

EDGEMESH = (sys.executable, "-m", "edgemesh.cli.main")


async def edgemesh(
    world: Served, *arguments: str | Path, stdin: bytes = b""
) -> CompletedProcess[str]:
    """Run a command against the agent; its output as text."""
    command = [*EDGEMESH, *map(str, arguments), "--socket", str(world.path)]
    done = await trio.run_process(
        command, stdin=stdin, capture_stdout=True, capture_stderr=True, check=False
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    return CompletedProcess(command, done.returncode, out, err)


def manifest(*bodies: object) -> bytes:
    return yaml.safe_dump_all(bodies).encode()


async def test_apply_says_what_became_of_each_object(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    async with served(tmp_path / "run") as world:
        path.write_bytes(manifest(service("web"), config_map("a")))
        assert (await edgemesh(world, "apply", "-f", path)).stdout.splitlines() == [
            "service/web created",
            "configmap/a created",
        ]
        path.write_bytes(manifest(service("web"), config_map("a", x="1")))
        assert (await edgemesh(world, "apply", "-f", path)).stdout.splitlines() == [
            "service/web unchanged",
            "configmap/a configured",
        ]
        done = await edgemesh(world, "apply", "-f", path, "--json")
        assert [one["result"] for one in json.loads(done.stdout)] == ["unchanged", "unchanged"]


async def test_apply_reads_directories_and_standard_input(tmp_path: Path) -> None:
    below = tmp_path / "manifests" / "below"
    below.mkdir(parents=True)
    (below / "a.yml").write_bytes(manifest(config_map("a")))
    (below.parent / "b.json").write_text(json.dumps(config_map("b")))
    (below.parent / "README.md").write_text("no manifest")
    piped = config_map("c")
    del piped["metadata"]["namespace"]
    async with served(tmp_path / "run") as world:
        done = await edgemesh(
            world, "apply", "-f", below.parent, "-f", "-", "-n", "two", stdin=manifest(piped)
        )
        assert done.returncode == 0, done.stderr
        assert await world.names("default/configmap") == ["a", "b"]
        assert await world.names("two/configmap") == ["c"]


def broken_yaml(path: Path) -> None:
    path.write_bytes(manifest(config_map("a")) + b"---\nkind: {\n")


def port_too_high(path: Path) -> None:
    path.write_bytes(manifest(config_map("a"), service("web", ports=[{"port": 70000}])))


def wrong_type(path: Path) -> None:
    path.write_bytes(manifest(config_map("a"), service("web", ports="eighty")))


def unknown_kind(path: Path) -> None:
    path.write_bytes(manifest(config_map("a"), {**config_map("b"), "kind": "Gadget"}))


def hundred_megabytes(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)


def missing(_path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (broken_yaml, ["document 2", "line"]),
        (port_too_high, ["document 2", "spec.ports[0].port", "70000"]),
        (wrong_type, ["document 2", "spec.ports"]),
        (unknown_kind, ["document 2", "kind", "Gadget"]),
        (hundred_megabytes, ["104857600 bytes"]),
        (missing, ["No such file"]),
    ],
)
async def test_a_bad_manifest_is_one_line_that_names_it_and_changes_nothing(
    tmp_path: Path, write: Callable[[Path], None], named: list[str]
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_bytes(manifest(config_map("good")))
    write(bad)
    async with served(tmp_path / "run") as world:
        done = await edgemesh(world, "apply", "-f", good, "-f", bad)
        assert (done.returncode, done.stdout) == (2, "")
        [line] = done.stderr.splitlines()
        for word in [str(bad), *named]:
            assert word in line
        assert world.store.revision == 0


async def test_get_prints_tables_and_lists(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await world.update(
            service("web", clusterIP="10.96.0.20"), service("db", "two"), pod("p", "10.1.0.1")
        )
        table = (await edgemesh(world, "get", "svc")).stdout.splitlines()
        assert table[0].split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
        assert table[1].split()[:5] == ["web", "ClusterIP", "10.96.0.20", "<none>", "80/TCP"]
        assert len(table) == 2
        everywhere = (await edgemesh(world, "get", "services", "-A")).stdout.splitlines()
        assert [line.split()[:2] for line in everywhere[1:]] == [["default", "web"], ["two", "db"]]
        names = await edgemesh(world, "get", "all", "-o", "name")
        assert names.stdout.splitlines() == ["pod/p", "service/web"]
        both = await edgemesh(world, "get", "po,svc")
        assert "pod/p" in both.stdout
        assert "service/web" in both.stdout


async def test_get_prints_an_object_with_its_identity(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await world.update(service("web"))
        shown = yaml.safe_load((await edgemesh(world, "get", "svc/web", "-o", "yaml")).stdout)
        assert shown == await world.query("default/service/web")
        assert {"uid", "resourceVersion", "creationTimestamp"} <= shown["metadata"].keys()
        listed = json.loads((await edgemesh(world, "get", "svc", "-o", "json")).stdout)
        assert (listed["kind"], listed["items"]) == ("List", [shown])


async def test_get_selects_by_label_and_says_when_there_is_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await world.update(pod("a", "10.1.0.1", app="web"), pod("b", "10.1.0.2", app="db"))
        found = await edgemesh(world, "get", "pods", "-l", "app in (web)", "-o", "name")
        assert found.stdout == "pod/a\n"
        nothing = await edgemesh(world, "get", "svc")
        assert (nothing.returncode, nothing.stdout) == (0, "")
        assert nothing.stderr == "No resources found in default namespace.\n"
        absent = await edgemesh(world, "get", "po/x")
        assert (absent.returncode, absent.stderr) == (2, "edgemesh: Pod default/x not found\n")


async def test_delete_takes_names_and_manifests(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_bytes(manifest(service("web"), config_map("a"), config_map("b")))
    async with served(tmp_path / "run") as world:
        await edgemesh(world, "apply", "-f", path)
        assert (await edgemesh(world, "delete", "cm", "a")).stdout == 'configmap "a" deleted\n'
        partly = await edgemesh(world, "delete", "-f", path)
        assert partly.stdout.splitlines() == ['service "web" deleted', 'configmap "b" deleted']
        assert (partly.returncode, partly.stderr) == (
            2,
            "edgemesh: ConfigMap default/a not found\n",
        )
        assert await world.names("all/all") == []
        quiet = await edgemesh(world, "delete", "svc/web", "--ignore-not-found")
        assert (quiet.returncode, quiet.stderr) == (0, "")


async def test_a_watch_prints_the_table_and_then_each_change(tmp_path: Path) -> None:
    async with served(tmp_path) as world, trio.open_nursery() as nursery:
        await world.update(config_map("a"))
        command = [*EDGEMESH, "get", "cm", "-w", "--socket", str(world.path)]
        run = partial(trio.run_process, stdin=PIPE, stdout=PIPE, check=False)
        process: trio.Process = await nursery.start(run, command)
        assert process.stdout
        output = LineReader(process.stdout)
        assert [(await output.next()).split()[0] for _ in range(2)] == ["NAME", "a"]
        await world.update(config_map("b"))
        assert (await output.next()).split()[0] == "b"
        await world.delete("default/configmap/a")
        assert await output.next() == "configmap/a deleted"
        process.terminate()


class LineReader:
    """Lines of a process's output."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._held = b""

    async def next(self) -> str:
        with trio.fail_after(20):
            while b"\n" not in self._held:
                data = await self._stream.receive_some()
                assert data
                self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return line.decode()


@pytest.mark.parametrize("command", [["apply", "-f", "-"], ["get", "svc"], ["delete", "svc", "a"]])
async def test_without_an_agent_the_socket_is_named_and_how_to_start_it(
    tmp_path: Path, command: list[str]
) -> None:
    async with served(tmp_path) as world:
        pass
    done = await edgemesh(world, *command, stdin=manifest(config_map("a")))
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert str(world.path) in line
    assert "edgemesh run" in line


async def test_the_socket_is_found_by_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "edgemesh.toml"
    config.write_text(f'run_dir = "{tmp_path}"\n')
    async with served(tmp_path) as world:
        await world.update(config_map("a"))
        done = await trio.run_process(
            [*EDGEMESH, "get", "cm", "-o", "name", "--config", str(config)], capture_stdout=True
        )
        assert done.stdout == b"configmap/a\n"


async def test_get_services_wide_names_the_path_and_why(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await world.update(service("web"))
        without = await edgemesh(world, "get", "services", "-o", "wide")
        headings, row = without.stdout.splitlines()
        assert headings.split()[-2:] == ["PATH", "WHY"]
        assert row.split()[-1] == "<none>"

        relayed = PathStatus("default", "web", 80, "TCP", "relay", "its policy asks for it")
        world.manager.add_query("paths", lambda _: [relayed])
        shown = await edgemesh(world, "get", "services", "-o", "wide")
        assert shown.stdout.splitlines()[1].endswith("   relay   its policy asks for it")
        plain = await edgemesh(world, "get", "services")
        assert "PATH" not in plain.stdout
