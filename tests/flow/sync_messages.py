"""Messages of a cloud that sends its objects down, as Seam "sync" of the bus writes them."""

from __future__ import annotations

import uuid
from typing import Any

from edgemesh.wire.message import Header, Message, Route, encode_content

Body = dict[str, Any]


def resource_of(body: Body) -> str:
    metadata = body["metadata"]
    return f"{metadata.get('namespace') or 'null'}/{body['kind'].lower()}/{metadata['name']}"


def message(operation: str, resource: str, content: Any, parent: str = "") -> Message:
    return Message(
        header=Header(msg_id=str(uuid.uuid4()), timestamp=1, parent_msg_id=parent),
        route=Route(
            source="edgecontroller", group="resource", operation=operation, resource=resource
        ),
        content=encode_content(content),
    )


def pushed(body: Body, operation: str = "update") -> Message:
    return message(operation, resource_of(body), body)


def begin(store: str, *, full: bool, revision: int = 1, answers: str = "") -> Message:
    content = {"store": store, "full": full, "revision": revision}
    return message("response", "all/sync", content, parent=answers)


def mark(revision: int, *, synced: bool = True) -> Message:
    return message("update", "all/sync", {"revision": revision, "synced": synced})


def with_uid(body: Body, uid: str) -> Body:
    return {**body, "metadata": {**body["metadata"], "uid": uid}}
