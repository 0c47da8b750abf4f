"""``edgemesh apply``, ``get`` and ``delete``: the objects in the agent's store."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from edgemesh.cli import breakers
from edgemesh.cli.callers import ask_callers, caller_columns
from edgemesh.cli.connection import NO_OPTIONS, AgentOptions
from edgemesh.cli.manifests import read_manifests
from edgemesh.cli.paths import ask_paths, path_columns
from edgemesh.cli.peers import ask_peers, peer_columns
from edgemesh.cli.printing import Output, Printer
from edgemesh.cli.targets import Target, namespace_word, parse_targets, qualified_word
from edgemesh.cli.watching import watch_objects
from edgemesh.meta.client import Client
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.model.errors import OperatorError
from edgemesh.model.kinds import find_kind
from edgemesh.wire.manifest import ManifestObject
from edgemesh.wire.message import ALL_NAMESPACES, ALL_TYPES, Operation, ResourcePath

_EVERYTHING = str(ResourcePath(ALL_NAMESPACES, ALL_TYPES))
# One transaction each: small enough that no other writer waits long, large enough that the
# fixed costs of one do not count.
_BATCH_OBJECTS = 500
_BATCH_BYTES = 1024 * 1024

# A lone - is standard input, not an option.
Files = Annotated[
    list[str], Parameter(name=["--filename", "-f"], negative="", allow_leading_hyphen=True)
]
Namespace = Annotated[str, Parameter(name=["--namespace", "-n"])]
AsJson = Annotated[bool, Parameter(name="--json", negative="")]


async def apply(
    *,
    filename: Files,
    namespace: Namespace = "default",
    as_json: AsJson = False,
    agent: AgentOptions = NO_OPTIONS,
) -> None:
    """Create or replace the objects of manifests.

    Every file is checked before anything is sent; one mistake and nothing is applied. In a
    policy a wrong field is passed over with a warning, and the rest of the object applies.

    Args:
        filename: a file, a directory (with all that is below it) or - for standard input.
        namespace: for objects that name none.
        as_json: print results as JSON.
        agent: which agent.
    """
    settings = agent.settings()
    objects = read_manifests(filename, settings.manifest, namespace)
    _print_warnings(objects)
    results: list[dict[str, Any]] = []
    async with agent.connect(settings) as client:
        for batch in _batches(objects):
            applied = await client.request(Operation.UPDATE, _EVERYTHING, batch)
            results += applied
            if not as_json:
                _print_results(applied)
    if as_json:
        print(msgspec.json.encode(results).decode())


async def get(
    *words: str,
    namespace: Namespace = "default",
    all_namespaces: Annotated[
        bool, Parameter(name=["--all-namespaces", "-A"], negative="")
    ] = False,
    selector: Annotated[str, Parameter(name=["--selector", "-l"])] = "",
    output: Annotated[
        Literal["table", "wide", "yaml", "json", "name"], Parameter(name=["--output", "-o"])
    ] = "table",
    watch: Annotated[bool, Parameter(name=["--watch", "-w"], negative="")] = False,
    agent: AgentOptions = NO_OPTIONS,
) -> None:
    """Show objects: KIND[,KIND] [NAME...] or KIND/NAME...; or breakers [SERVICE...].

    Args:
        words: service, svc, pods,services, svc web, po/web-1, all, breakers.
        namespace: where to look.
        all_namespaces: look everywhere.
        selector: only objects with these labels: app=web,tier in (a,b),!old.
        output: how to print them.
        watch: go on printing what changes, until interrupted.
        agent: which agent.
    """
    if words and words[0] in breakers.WORDS:
        if watch or selector:
            raise OperatorError("breakers can neither be watched nor selected by labels")
        where = "" if all_namespaces else namespace
        await breakers.get_breakers(words[1:], where, Output(output), agent)
        return
    settings = agent.settings()
    targets = parse_targets(words)
    where = namespace_word(namespace, all_namespaces=all_namespaces)
    printer = Printer(
        Output(output),
        several=len({target.kind for target in targets}) > 1,
        namespaced=all_namespaces,
    )
    if watch:
        if len(targets) > 1:
            raise OperatorError("--watch follows one kind or one object")
        await watch_objects(
            agent.path(settings), settings.meta, targets[0].resource(where), selector, printer
        )
    async with agent.connect(settings) as client:
        found = {target: await _query(client, target, where, selector) for target in targets}
        if output == "wide" and any(target.kind.name == "Service" for target in targets):
            paths = await ask_paths(client, "" if all_namespaces else namespace)
            printer.more["Service"] = path_columns(paths)
        if output == "wide" and any(target.kind.name == "Pod" for target in targets):
            callers = await ask_callers(client, "" if all_namespaces else namespace)
            printer.more["Pod"] = caller_columns(callers) if callers else ()
        if output == "wide" and any(target.kind.name == "Node" for target in targets):
            peers = await ask_peers(client)
            printer.more["Node"] = peer_columns(peers) if peers else ()
    if not any(found.values()) and output in {"table", "wide"}:
        place = "" if all_namespaces else f" in {namespace} namespace"
        print(f"No resources found{place}.", file=sys.stderr)
        return
    printer.print_found(found)


async def delete(
    *words: str,
    filename: Files | None = None,
    namespace: Namespace = "default",
    ignore_not_found: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
    agent: AgentOptions = NO_OPTIONS,
) -> None:
    """Delete objects: KIND NAME... or KIND/NAME... or those of manifests.

    Args:
        words: svc web, po/web-1 po/web-2.
        filename: delete what is named in a file, a directory or - for standard input.
        namespace: where they are.
        ignore_not_found: what is not there counts as deleted.
        as_json: print results as JSON.
        agent: which agent.
    """
    settings = agent.settings()
    if bool(words) == bool(filename):
        raise OperatorError("name objects, or a manifest with -f, and not both")
    if filename:
        keys = [one.key for one in read_manifests(filename, settings.manifest, namespace)]
        wanted = [_delete_item(key.kind, key.namespace, key.name) for key in keys]
    else:
        wanted = [_named_item(target, namespace) for target in parse_targets(words)]
    async with agent.connect(settings) as client:
        deleted, missing = await _delete(client, wanted)
    if as_json:
        print(msgspec.json.encode(deleted).decode())
    else:
        for one in deleted:
            print(f'{_word(one["kind"])} "{one["name"]}" deleted')
    if missing and not ignore_not_found:
        raise OperatorError(f"{', '.join(missing)} not found")


def _batches(objects: Sequence[ManifestObject]) -> Iterator[list[msgspec.Raw]]:
    """Bodies, encoded, in portions of one transaction each."""
    batch: list[msgspec.Raw] = []
    size = 0
    for one in objects:
        body = msgspec.json.encode(one.body)
        if batch and (len(batch) == _BATCH_OBJECTS or size + len(body) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(msgspec.Raw(body))
        size += len(body)
    yield batch


async def _query(
    client: Client, target: Target, namespace: str, selector: str
) -> list[Mapping[str, Any]]:
    resource = str(target.resource(namespace))
    if target.name:
        return [await client.request(Operation.QUERY, resource)]
    options = {"labelSelector": selector}
    found: list[Mapping[str, Any]] = await client.request(Operation.QUERY, resource, options)
    return found


async def _delete(
    client: Client, wanted: list[dict[str, str]]
) -> tuple[list[dict[str, Any]], Sequence[str]]:
    """Delete what is there; return that, and what was not."""
    try:
        return await client.request(Operation.DELETE, _EVERYTHING, wanted), ()
    except RefusedError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        missing = set(error.objects)
    present = [one for one in wanted if _described(one) not in missing]
    if not present:
        return [], sorted(missing)
    deleted, more = await _delete(client, present)
    return deleted, sorted({*missing, *more})


def _named_item(target: Target, namespace: str) -> dict[str, str]:
    if not target.name:
        raise OperatorError(f"which {target.kind.word}?", "name it, or use -f")
    where = namespace if target.kind.namespaced else ""
    return _delete_item(target.kind.name, where, target.name)


def _delete_item(kind: str, namespace: str, name: str) -> dict[str, str]:
    return {"kind": kind, "namespace": namespace, "name": name}


def _described(item: Mapping[str, str]) -> str:
    """As the metamanager names it in ``objects``."""
    where = f"{item['namespace']}/" if item["namespace"] else ""
    return f"{item['kind']} {where}{item['name']}"


def _print_warnings(objects: Iterable[ManifestObject]) -> None:
    for one in objects:
        for problem in one.problems:
            where = f"{one.file} document {one.document}: {one.key}"
            print(f"warning: {where}: {problem}", file=sys.stderr)


def _print_results(results: Sequence[Mapping[str, Any]]) -> None:
    for one in results:
        print(f"{_word(one['kind'])}/{one['name']} {one['result']}")


def _word(kind_name: str) -> str:
    kind = find_kind(kind_name)
    return qualified_word(kind) if kind else kind_name.lower()
