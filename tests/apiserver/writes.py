"""Create, update, patch and delete."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from apiserver.answers import (
    JSON,
    Answer,
    Request,
    already_exists,
    bad_request,
    conflict,
    details_of,
    failed,
    invalid,
    method_not_allowed,
    not_found,
    ok,
)
from apiserver.defaults import created, merged, updated
from apiserver.history import History
from apiserver.resources import BUILT_IN, Body, ResourceType, Target

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_PATCH_MEDIA = "application/json-patch+json, application/merge-patch+json"
_MERGE = "application/merge-patch+json"
_NAMESPACES = BUILT_IN[0]


class Media(NamedTuple):
    """How a server speaks of bodies that it cannot read.

    Attributes:
        accepted: media types.
        malformed: of the kind and the body that is no JSON.
    """

    accepted: str
    malformed: Callable[[str, str], str]


def _malformed(kind: str, body: str) -> str:
    return (
        f"the object provided is unrecognized (must be of type {kind}): couldn't get "
        f"version/kind; json parse error: unexpected end of JSON input ({body})"
    )


_MEDIA = Media(
    "application/json, application/yaml, application/vnd.kubernetes.protobuf", _malformed
)


@dataclass(eq=False)
class Writer:
    """Applies writes to the history.

    Attributes:
        serial: counts up with each new object.
    """

    history: History
    serial: int = 0

    def answer(
        self, request: Request, type_: ResourceType, target: Target, media: Media = _MEDIA
    ) -> Answer:
        """What a write is answered with, after it is done.

        Raises:
            RefusedError: it is not done.
        """
        if request.method == "POST" and not target.name:
            return self._create(type_, target, _read(request, type_, media))
        if not target.name:
            raise method_not_allowed()
        if request.method == "PUT":
            return self._update(type_, target, _read(request, type_, media))
        if request.method == "PATCH":
            return self._patch(request, type_, target)
        if request.method == "DELETE" and not target.subresource:
            return self._delete(type_, target)
        raise method_not_allowed()

    def put(self, type_: ResourceType, target: Target, body: Body) -> Body:
        """Create the object, or make it what ``body`` says, status included."""
        self.serial += 1
        before = self.history.objects(type_).get(target.key)
        if before is None:
            new = created(type_, target, body, self.serial)
        else:
            new = updated(type_, target._replace(subresource=""), before, body, self.serial)
        if "status" in body:
            new = {**new, "status": body["status"]}
        if before == new:
            return before
        return self.history.write(type_, target.key, new)

    def _create(self, type_: ResourceType, target: Target, body: Body) -> Answer:
        metadata = body["metadata"]
        named = metadata.get("namespace") or target.namespace
        if type_.namespaced and (not target.namespace or named != target.namespace):
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on "
                "the request"
            )
        if ("", target.namespace) not in self.history.objects(_NAMESPACES) and target.namespace:
            raise not_found(_NAMESPACES, target.namespace)
        if not metadata.get("name") and not metadata.get("generateName"):
            words = "Required value: name or generateName is required"
            raise invalid(
                type_.kind, "", type_.group, [("FieldValueRequired", "metadata.name", words)]
            )
        _check(type_, body)
        name = metadata.get("name", "")
        if name and (target.namespace, name) in self.history.objects(type_):
            raise already_exists(type_, name)
        self.serial += 1
        new = created(type_, target, body, self.serial)
        key = (target.namespace, new["metadata"]["name"])
        return ok(self.history.write(type_, key, new), 201)

    def _update(self, type_: ResourceType, target: Target, body: Body) -> Answer:
        before = self._before(type_, target)
        asked = body["metadata"].get("resourceVersion", "")
        if not asked and not type_.unconditional:
            words = "Invalid value: 0x0: must be specified for an update"
            cause = ("FieldValueInvalid", "metadata.resourceVersion", words)
            raise invalid(type_.kind, target.name, type_.group, [cause])
        if body["metadata"].get("name") != target.name:
            raise bad_request(
                f"the name of the object ({body['metadata'].get('name')}) does not match the "
                f"name on the URL ({target.name})"
            )
        return ok(self._store(type_, target, before, body))

    def _patch(self, request: Request, type_: ResourceType, target: Target) -> Answer:
        before = self._before(type_, target)
        if request.headers.get("content-type", "").split(";")[0] != _MERGE:
            raise failed(
                415,
                "the body of the request was in an unknown format - accepted media types "
                f"include: {_PATCH_MEDIA}",
                "UnsupportedMediaType",
            )
        try:
            patch = msgspec.json.decode(request.body, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise bad_request(f"error decoding patch: {error}") from error
        body = merged(before, patch)
        if "resourceVersion" not in (patch.get("metadata") or {}):
            metadata = body["metadata"]
            kept = {name: metadata[name] for name in metadata if name != "resourceVersion"}
            body = {**body, "metadata": kept}
        return ok(self._store(type_, target, before, body))

    def _store(self, type_: ResourceType, target: Target, before: Body, body: Body) -> Body:
        asked = body["metadata"].get("resourceVersion", "")
        if asked and asked != before["metadata"]["resourceVersion"]:
            raise conflict(type_, target.name)
        uid = body["metadata"].get("uid", "")
        if uid and uid != before["metadata"]["uid"]:
            raise conflict(
                type_,
                target.name,
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
                f"{before['metadata']['uid']}",
            )
        _check(type_, body)
        new = updated(type_, target, before, body, self.serial)
        if new == before:
            return before
        return self.history.write(type_, target.key, new)

    def _delete(self, type_: ResourceType, target: Target) -> Answer:
        before = self._before(type_, target)
        told = self.history.write(type_, target.key, None)
        if type_.kind in {"Service", "Pod", "Namespace"}:
            return ok(told)
        details = details_of(type_, target.name, uid=before["metadata"]["uid"])
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return ok({**status, "details": details})

    def _before(self, type_: ResourceType, target: Target) -> Body:
        before = self.history.objects(type_).get(target.key)
        if before is None:
            raise not_found(type_, target.name)
        return before


def _read(request: Request, type_: ResourceType, media: Media) -> Body:
    if request.headers.get("content-type", JSON).split(";")[0] != JSON:
        raise failed(
            415,
            "the body of the request was in an unknown format - accepted media types include: "
            f"{media.accepted}",
            "UnsupportedMediaType",
        )
    try:
        body: Body = msgspec.json.decode(request.body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        words = media.malformed(type_.kind, request.body.decode(errors="replace"))
        raise bad_request(words) from error
    if body.get("kind") != type_.kind or body.get("apiVersion") not in type_.api_versions:
        raise bad_request(
            f"{body.get('kind')} in version {body.get('apiVersion')!r} cannot be handled as a "
            f"{type_.kind}"
        )
    body.setdefault("metadata", {})
    return body


def _check(type_: ResourceType, body: Body) -> None:
    causes = []
    name = body["metadata"].get("name", "")
    if name and not _NAME.fullmatch(name):
        words = (
            f'Invalid value: "{name}": a lowercase RFC 1123 label must consist of lower case '
            "alphanumeric characters or '-', and must start and end with an alphanumeric "
            "character (e.g. 'my-name',  or '123-abc', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        )
        causes.append(("FieldValueInvalid", "metadata.name", words))
    if type_.kind == "Service":
        for at, port in enumerate((body.get("spec") or {}).get("ports") or []):
            for field in ("port", "targetPort"):
                number = port.get(field, port.get("port"))
                if isinstance(number, int) and not 0 < number < 65536:
                    words = f"Invalid value: {number}: must be between 1 and 65535, inclusive"
                    causes.append(("FieldValueInvalid", f"spec.ports[{at}].{field}", words))
    if causes:
        raise invalid(type_.kind, name, type_.group, causes)
