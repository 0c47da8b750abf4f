"""Who may do what: rules as in a ClusterRole (RBAC)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apiserver.answers import RefusedError, Request, failed
from apiserver.resources import Target

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
USER = "system:serviceaccount:edgemesh:edgemesh"


def check_rights(rules: Iterable[Mapping[str, Any]], request: Request, target: Target) -> None:
    """Whether one of the rules allows a request.

    Raises:
        RefusedError: none does (403 Forbidden).
    """
    verb = _verb(request, target)
    resource = "/".join(filter(None, (target.plural, target.subresource)))
    if any(_allows(rule, verb, target.group, resource) for rule in rules):
        return
    raise _forbidden(verb, resource, target)


def _verb(request: Request, target: Target) -> str:
    if request.method != "GET":
        return _VERBS.get(request.method, request.method.lower())
    if request.watches:
        return "watch"
    return "get" if target.name else "list"


def _allows(rule: Mapping[str, Any], verb: str, group: str, resource: str) -> bool:
    return (
        _names(rule, "verbs", verb)
        and _names(rule, "apiGroups", group)
        and _names(rule, "resources", resource)
    )


def _names(rule: Mapping[str, Any], field: str, value: str) -> bool:
    return value in rule.get(field, ()) or "*" in rule.get(field, ())


def _forbidden(verb: str, resource: str, target: Target) -> RefusedError:
    titled = f"{target.plural}.{target.group}" if target.group else target.plural
    named = f'{titled} "{target.name}"' if target.name else titled
    where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    message = (
        f'{named} is forbidden: User "{USER}" cannot {verb} resource "{resource}" in API group '
        f'"{target.group}" {where}'
    )
    group = {"group": target.group} if target.group else {}
    name = {"name": target.name} if target.name else {}
    return failed(403, message, "Forbidden", {**name, **group, "kind": target.plural})
