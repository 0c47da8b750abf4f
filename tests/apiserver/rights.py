"""Who may do what: ClusterRoles and Roles that are all bound to the one client (RBAC)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from apiserver.answers import RefusedError, Request, failed
from apiserver.resources import Target

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
USER = "system:serviceaccount:edgemesh:edgemesh"


class Asked(NamedTuple):
    """What a request is about, as rules name it; ``resource`` is ``httproutes/status``."""

    verb: str
    group: str
    resource: str
    name: str


def check_rights(roles: Iterable[Mapping[str, Any]], request: Request, target: Target) -> None:
    """Whether one of the roles allows a request.

    Raises:
        RefusedError: none does (403 Forbidden).
    """
    resource = "/".join(filter(None, (target.plural, target.subresource)))
    asked = Asked(_verb(request, target), target.group, resource, target.name)
    for role in roles:
        namespace = role["metadata"].get("namespace", target.namespace)
        if namespace == target.namespace and any(_allows(rule, asked) for rule in role["rules"]):
            return
    raise _forbidden(asked, target)


def _verb(request: Request, target: Target) -> str:
    if request.method != "GET":
        return _VERBS.get(request.method, request.method.lower())
    if request.watches:
        return "watch"
    return "get" if target.name else "list"


def _allows(rule: Mapping[str, Any], asked: Asked) -> bool:
    return (
        _names(rule, "verbs", asked.verb)
        and _names(rule, "apiGroups", asked.group)
        and _names(rule, "resources", asked.resource)
        and ("resourceNames" not in rule or asked.name in rule["resourceNames"])
    )


def _names(rule: Mapping[str, Any], field: str, value: str) -> bool:
    return value in rule.get(field, ()) or "*" in rule.get(field, ())


def _forbidden(asked: Asked, target: Target) -> RefusedError:
    titled = f"{target.plural}.{target.group}" if target.group else target.plural
    named = f'{titled} "{target.name}"' if target.name else titled
    where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    message = (
        f'{named} is forbidden: User "{USER}" cannot {asked.verb} resource "{asked.resource}" '
        f'in API group "{target.group}" {where}'
    )
    group = {"group": target.group} if target.group else {}
    name = {"name": target.name} if target.name else {}
    return failed(403, message, "Forbidden", {**name, **group, "kind": target.plural})
