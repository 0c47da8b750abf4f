"""The metamanager's socket: requests, refusals and who may do what."""

from __future__ import annotations

import json
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
from metamanager_fixtures import Served, config_map, pod, served, service

from edgemesh.meta.client import AgentGoneError, Client, connect
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import MetaSettings
from edgemesh.wire.message import Operation


async def refusal(client: Client, operation: str, resource: str, content: Any = None) -> Any:
    with pytest.raises(RefusedError) as caught:
        await client.request(operation, resource, content)
    return caught.value


async def exchange(world: Served, *lines: bytes) -> list[dict[str, Any]]:
    """Send raw lines; return the answer to each."""
    stream = await trio.open_unix_socket(world.path)
    answers = b""
    async with stream:
        for number, line in enumerate(lines, start=1):
            await stream.send_all(line + b"\n")
            while answers.count(b"\n") < number:
                answers += await stream.receive_some()
    return [json.loads(line) for line in answers.splitlines()]


async def test_an_object_is_inserted_queried_updated_and_deleted(tmp_path: Path) -> None:
    async with served(tmp_path) as world, world.connect() as client:
        resource = "default/configmap/a"
        created = await client.request(Operation.INSERT, resource, config_map("a", x="1"))
        assert created == {
            "kind": "ConfigMap",
            "namespace": "default",
            "name": "a",
            "result": "created",
            "resourceVersion": "1",
        }
        changed = await client.request(Operation.UPDATE, resource, config_map("a", x="2"))
        assert (changed["result"], changed["resourceVersion"]) == ("configured", "2")
        again = await client.request(Operation.INSERT, resource, config_map("a", x="2"))
        assert (again["result"], again["resourceVersion"]) == ("unchanged", "2")
        assert (await client.request(Operation.QUERY, resource))["data"] == {"x": "2"}
        gone = await client.request(Operation.DELETE, resource)
        assert gone["result"] == "deleted"
        assert (await refusal(client, Operation.QUERY, resource)).code is Code.NOT_FOUND


async def test_an_answer_carries_the_id_of_its_request(tmp_path: Path) -> None:
    line = (
        b'{"header":{"msg_id":"m1","timestamp":1},"route":{"operation":"query",'
        b'"resource":"all/service"},"content":null}'
    )
    async with served(tmp_path) as world:
        [answer] = await exchange(world, line)
    assert list(answer) == ["header", "route", "content"]
    assert answer["header"]["parent_msg_id"] == "m1"
    assert answer["route"] == {
        "source": "metamanager",
        "group": "meta",
        "operation": "response",
        "resource": "all/service",
    }
    assert answer["content"] == []


async def test_lists_are_of_one_namespace_or_all_of_one_kind_or_all(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
        labelled = config_map("c", "two")
        labelled["metadata"]["labels"] = {"app": "web"}
        await world.update(config_map("a"), config_map("b", "two"), labelled, node)
        assert await world.names("default/configmap") == ["a"]
        assert await world.names("all/configmap") == ["a", "b", "c"]
        assert await world.names("two/all") == ["b", "c"]
        assert await world.names("null/node") == ["n"]
        assert await world.names("all/all") == ["a", "b", "c", "n"]
        assert await world.names("all/configmap", "app=web") == ["c"]


async def test_an_array_is_applied_whole_or_not_at_all(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        with pytest.raises(RefusedError, match=r"Service/default/web: spec\.ports\[0\]\.port"):
            await world.update(config_map("a"), service("web", ports=[{"port": 70000}]))
        assert await world.names("all/all") == []
        assert await world.update(config_map("a"), config_map("b")) == ["created", "created"]


async def test_an_array_is_deleted_whole_or_not_at_all(tmp_path: Path) -> None:
    async with served(tmp_path) as world, world.connect() as client:
        await world.update(config_map("a"), config_map("b"))
        items = [{"kind": "ConfigMap", "namespace": "default", "name": name} for name in "axb"]
        refused = await refusal(client, Operation.DELETE, "all/all", items)
        assert refused.code is Code.NOT_FOUND
        assert refused.objects == ("ConfigMap default/x",)
        assert await world.names("all/all") == ["a", "b"]
        await client.request(Operation.DELETE, "all/all", [items[0], items[2]])
        assert await world.names("all/all") == []


def invalid(**changes: Any) -> dict[str, Any]:
    return {**config_map("a"), **changes}


@pytest.mark.parametrize(
    ("request_parts", "code", "named"),
    [
        (("fetch", "all/service", None), Code.BAD_REQUEST, "operation 'fetch' is unknown"),
        (("query", "service", None), Code.BAD_REQUEST, "resource 'service'"),
        (("query", "all/gadget", None), Code.BAD_REQUEST, "'gadget'"),
        (("query", "all/service/web", None), Code.BAD_REQUEST, "has a namespace"),
        (("query", "all/service", {"labelSelector": 3}), Code.BAD_REQUEST, "labelSelector"),
        (("query", "all/service", {"labelSelector": "a b"}), Code.INVALID, "label selector 'a b'"),
        (("update", "all/all", {}), Code.BAD_REQUEST, "not an array"),
        (("update", "all/all", ["text"]), Code.INVALID, "not a JSON object"),
        (("update", "all/all", [{}]), Code.INVALID, "without kind and name: kind"),
        (("update", "all/all", [invalid(kind="Gadget")]), Code.INVALID, "Gadget/default/a: kind"),
        (("update", "all/all", [invalid(apiVersion="v2")]), Code.INVALID, "apiVersion"),
        (("update", "all/all", [invalid(metadata=[])]), Code.INVALID, "metadata"),
        (("update", "all/all", [invalid(metadata={"name": "A/b"})]), Code.INVALID, "metadata.name"),
        (("update", "default/configmap/b", config_map("a")), Code.INVALID, "resource says"),
        (("delete", "all/all", None), Code.BAD_REQUEST, "not an array"),
        (("delete", "all/all", [{"kind": "Service"}]), Code.BAD_REQUEST, "an item of delete"),
        (("delete", "all/all", [{"kind": "Pod", "name": "x"}]), Code.BAD_REQUEST, "namespace"),
        (("delete", "default/service/web", None), Code.NOT_FOUND, "Service default/web not found"),
        (("unsubscribe", "all/service", None), Code.NOT_FOUND, "names no subscription"),
    ],
)
async def test_bad_requests_are_refused_by_name_and_change_nothing(
    tmp_path: Path, request_parts: tuple[str, str, Any], code: Code, named: str
) -> None:
    async with served(tmp_path) as world, world.connect() as client:
        refused = await refusal(client, *request_parts)
        assert refused.code is code
        assert named in refused.problem
        assert await client.request(Operation.QUERY, "all/all") == []


async def test_a_bad_line_is_named_and_the_next_one_answered(tmp_path: Path) -> None:
    route = b'{"operation":"query","resource":"all/all"}'
    good = b'{"header":{"msg_id":"m","timestamp":1},"route":' + route + b"}"
    async with served(tmp_path) as world:
        bad, deep, answer = await exchange(world, b"not json", b"[" * 100_000, good)
    assert bad["route"]["operation"] == deep["route"]["operation"] == "error"
    assert "not a Message" in bad["content"]["problem"]
    assert answer["content"] == []


async def test_a_line_above_the_limit_is_named_and_nobody_else_harmed(tmp_path: Path) -> None:
    settings = MetaSettings(max_message_bytes=10_000)
    async with served(tmp_path, settings) as world, world.connect() as other:
        [error] = await exchange(world, b"x" * 200_000)
        assert "longer than the 10000 bytes" in error["content"]["problem"]
        assert await other.request(Operation.QUERY, "all/all") == []


async def test_an_answer_above_the_limit_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path, MetaSettings(max_message_bytes=10_000)) as world:
        for number in range(20):
            await world.update(config_map(f"n{number}", x="y" * 1000))
        async with world.connect() as client:
            refused = await refusal(client, Operation.QUERY, "all/configmap")
            assert refused.code is Code.TOO_LARGE
            assert await client.request(Operation.QUERY, "default/configmap/n0")


async def test_more_clients_than_allowed_are_turned_away_with_a_reason(tmp_path: Path) -> None:
    async with (
        served(tmp_path, MetaSettings(max_clients=2)) as world,
        world.connect() as first,
        world.connect() as second,
    ):
        for client in (first, second):
            await client.request(Operation.QUERY, "all/all")
        async with world.connect() as third:
            with pytest.raises(RefusedError, match="2 clients are connected already"):
                await third.receive()


READ_AND_WRITE = """
import json, socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    stream = client.makefile("rwb")
    for operation, resource in (("query", "all/all"), ("delete", "default/configmap/a")):
        route = {"operation": operation, "resource": resource}
        message = {"header": {"msg_id": "m", "timestamp": 1}, "route": route, "content": None}
        stream.write(json.dumps(message).encode() + b"\\n")
        stream.flush()
        print(stream.readline().decode(), end="")
    stream.write(b"x" * 100_000 + b"\\n")
    stream.flush()
    print(stream.readline().decode(), end="")
"""


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody may enter; pytest's own are root's alone."""
    with TemporaryDirectory(prefix="edgemesh-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.root
async def test_a_user_that_is_not_the_agents_may_read_and_not_write(open_directory: Path) -> None:
    nobody = 65534
    async with served(open_directory) as world:
        await world.update(config_map("a"))
        # As if an administrator had let somebody in.
        world.path.chmod(0o666)
        command = ["/usr/bin/python3", "-c", READ_AND_WRITE, str(world.path)]
        done = await trio.run_process(command, user=nobody, capture_stdout=True)
        read, write, long = map(json.loads, done.stdout.splitlines())
        assert [body["metadata"]["name"] for body in read["content"]] == ["a"]
        assert write["content"]["code"] == "Forbidden"
        assert f"uid {nobody} may only read" in write["content"]["problem"]
        assert long["content"]["code"] == "RequestEntityTooLarge"
        assert await world.names("all/all") == ["a"]


async def test_the_socket_is_for_owner_and_group_and_goes_with_the_agent(tmp_path: Path) -> None:
    async with served(tmp_path / "run") as world:
        assert stat.S_IMODE(world.path.stat().st_mode) == 0o660
        assert stat.S_IMODE(world.path.parent.stat().st_mode) == 0o750
    assert not world.path.exists()


async def test_a_socket_that_nobody_answers_on_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "meta.sock"))
    async with served(tmp_path) as world:
        assert await world.names("all/all") == []


async def test_a_second_agent_on_a_live_socket_does_not_start(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        with pytest.raises(OperatorError, match="another edgemesh agent answers"):
            await world.manager.serve(world.path)
        assert await world.names("all/all") == []


async def test_without_an_agent_the_socket_that_was_tried_is_named(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        pass
    with pytest.raises(AgentGoneError, match=re.escape(str(world.path))):
        async with world.connect():
            pass


async def test_an_agent_that_is_silent_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "meta.sock"
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(path))
        stopped.listen()
        async with connect(path, MetaSettings(client_timeout_seconds=0.05)) as client:
            with pytest.raises(AgentGoneError, match=r"not answered within 0\.05 s"):
                await client.request(Operation.QUERY, "all/all")


async def test_queries_that_the_agent_answers_itself_are_passed_to_it(tmp_path: Path) -> None:
    async with served(tmp_path) as world, world.connect() as client:
        world.manager.add_query("status", lambda request: {"asked": request.value()})

        async def trace(_request: object) -> str:
            await trio.lowlevel.checkpoint()
            raise OperatorError("no such service", "name another")

        world.manager.add_query("trace", trace)
        assert await client.request(Operation.QUERY, "null/status", 7) == {"asked": 7}
        refused = await refusal(client, Operation.QUERY, "null/trace")
        assert (refused.problem, refused.remedy) == ("no such service", "name another")


async def test_a_client_that_breaks_off_harms_nobody(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        for _ in range(20):
            stream = await trio.open_unix_socket(world.path)
            await stream.send_all(b'{"header":{"msg_id":"m","timest')
            await stream.aclose()
        assert await world.update(pod("p", "10.1.0.1")) == ["created"]
