"""Streams of nodes that end in the cloud: at Services that Rules lead to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgemesh.bus.router.outcomes import RuleOutcomes
from edgemesh.bus.router.rulebook import Rulebook
from edgemesh.model.flows import FlowReport
from edgemesh.model.router import RouterRule, RuleEndpointType
from edgemesh.model.services import PortKey
from edgemesh.model.settings import Settings
from edgemesh.model.streams import InboundStream
from edgemesh.observe.access_log import AccessLog
from edgemesh.observe.flow_log import FlowLog
from edgemesh.observe.metrics.metrics import Metrics
from edgemesh.observe.sink import LineSink
from edgemesh.policy.bus.refused import AT_A_LIMIT
from edgemesh.proxy.plane import Plane
from edgemesh.reactor.virtual import VirtualSocket


def cloud_plane(settings: Settings, sink: LineSink) -> Plane:
    """A data plane without listeners: calls come by streams, and endpoints are chosen here."""
    return Plane(
        settings.proxy,
        # The cloud diverts nothing, so its own calls need no mark, and no privilege for one.
        replace(settings.netfilter, own_mark=0),
        FlowLog(sink).write if settings.log.flows else _drop_report,
        metrics=Metrics(settings.metrics),
        http=settings.http,
        http2=settings.http2,
        request_log=AccessLog(sink, settings.log),
        listening=False,
    )


class RuledStreams:
    """Who takes streams for Services: each passes by the quota of the Rule that leads there."""

    def __init__(self, plane: Plane, rulebook: Rulebook, outcomes: RuleOutcomes) -> None:
        """Know the rules of ``rulebook``.

        Args:
            plane: where streams enter.
            rulebook: of the router.
            outcomes: told what became of each stream.
        """
        self._plane = plane
        self._rulebook = rulebook
        self._outcomes = outcomes

    def enter(self, stream: VirtualSocket, wanted: InboundStream) -> None:
        """Let a stream in or refuse it, as `Plane.enter` does; without a Rule that refuses."""
        rule = _rule_to(wanted.port, self._rulebook.rules.values())
        if rule is None or wanted.endpoint:
            self._plane.enter(stream, wanted)
            return
        if self._rulebook.wait_seconds(rule, self._plane.reactor.now):
            reason = f"Rule {rule} lets no more calls through now"
            stream.refuse(AT_A_LIMIT, reason)
            self._outcomes.failed(rule, reason)
            return
        self._plane.enter(stream, wanted)
        # Who is refused has no socket any more.
        if stream.fileno() == -1:
            self._outcomes.failed(rule, f"{wanted.from_node} was refused")
        else:
            self._outcomes.succeeded(rule)


def _rule_to(called: PortKey, rules: Iterable[RouterRule]) -> RouterRule | None:
    """The Rule by whose quota a stream goes: the first by name that leads to the port."""
    namespace, service, _, port = called
    found = [
        rule
        for rule in rules
        if rule.in_use
        and rule.target.type is RuleEndpointType.SERVICE
        and (rule.target.properties.get("namespace") or rule.target.namespace) == namespace
        and rule.target.properties["service"] == service
        and int(rule.target.properties.get("port") or port) == port
    ]
    return min(found, key=str, default=None)


def _drop_report(_report: FlowReport) -> None:
    """Log no flows."""
