"""The way of a request before an endpoint is chosen: its route, its quota, what it is hashed by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import HashKey, QuotaScope
from edgemesh.model.routes import Route
from edgemesh.policy.routing.backends import pick_backend
from edgemesh.policy.routing.cookies import set_cookie
from edgemesh.policy.routing.hashing import hash_text, wants_cookie
from edgemesh.policy.routing.request import Caller
from edgemesh.policy.routing.rewrite import redirect_location
from edgemesh.policy.routing.table import RouteTable
from edgemesh.proxy.context import Context
from edgemesh.proxy.http.answers import Answer, direct, redirect, refuse
from edgemesh.proxy.http.plans import PortPlan

if TYPE_CHECKING:
    from edgemesh.proxy.http.exchange import Exchange

# Members of an enum are looked up slowly.
_SERVICE = QuotaScope.SERVICE


def enter(exchange: Exchange, context: Context) -> Answer | None:
    """Let a request in: find its target and deadline, and take its tokens.

    Returns:
        An answer to give instead of forwarding it, None to forward it.
    """
    plan = exchange.plan
    if plan.table is not None:
        answer = _take_route(exchange, context, plan.table)
        if answer is not None:
            return answer
    target = exchange.target
    if plan.client_quota is not None:
        wait = _take_token(exchange, plan)
        if wait:
            return refuse(Refusal.QUOTA, wait_seconds=wait)
    # A subset has the quota of its port, which is taken already.
    if target is not plan and target.client_quota not in (None, plan.client_quota):
        wait = _take_token(exchange, target)
        if wait:
            return refuse(Refusal.QUOTA, wait_seconds=wait)
    seconds = target.request_seconds
    if exchange.route is not None and exchange.route.request_seconds is not None:
        seconds = exchange.route.request_seconds
    if seconds:
        exchange.deadline = exchange.begun + seconds
    hash_key = target.policy.balancing.hash_key
    if hash_key is not None:
        _take_hash(exchange, context, hash_key)
    return None


def _take_route(exchange: Exchange, context: Context, table: RouteTable) -> Answer | None:
    caller = None
    if table.needs_caller:
        called_here = exchange.flow.stream is None
        pod = context.decider.snapshot.pods.get(exchange.call.client) if called_here else None
        caller = Caller(pod.namespace, pod.labels) if pod else None
    route = exchange.route = table.match(exchange.request, caller)
    if route is None:
        return refuse(Refusal.NO_ROUTE)
    if route.redirect is not None:
        port = exchange.plan.port.port
        return redirect(
            route.redirect.status, redirect_location(route, exchange.request, "http", port)
        )
    if route.direct is not None:
        return direct(route.direct)
    return _take_backend(exchange, context, route)


def _take_backend(exchange: Exchange, context: Context, route: Route) -> Answer | None:
    backend = exchange.backend = pick_backend(route, context.http.random)
    if backend is not None:
        snapshot = context.decider.snapshot
        target = context.http.plans.of_backend(backend, exchange.plan, snapshot)
        if target is None:
            return refuse(Refusal.NO_BACKEND, backend.problem)
        exchange.target = target
    return None


def _take_token(exchange: Exchange, plan: PortPlan) -> float:
    """Take one of the client's quota: 0.0 when it may pass, else the seconds to wait."""
    quota = plan.client_quota
    assert quota is not None
    scope = quota.quota.scope
    if scope is _SERVICE:
        return quota.take("", exchange.begun)
    if scope is QuotaScope.SOURCE:
        key = exchange.flow.caller()
    else:
        key = exchange.route.key if exchange.route is not None else ""
    return quota.take(key, exchange.begun)


def _take_hash(exchange: Exchange, context: Context, key: HashKey) -> None:
    text = hash_text(key, exchange.request, exchange.call.client)
    if wants_cookie(key, text):
        text = f"{int(context.http.random() * 2**53):x}"
        exchange.response_headers = (("set-cookie", set_cookie(key, text)),)
    exchange.call = exchange.call._replace(hash_text=text)
