"""What nodes bring to the cloud: led to the REST target of the rule that it falls under.

Also tells nodes, when they connect and when rules change, what they are to bring: topics of their
eventbus, and the URLs that their applications may call.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

from edgemesh.bus.router.nodes import NodeAwayError, Nodes
from edgemesh.bus.router.outcomes import RuleOutcomes
from edgemesh.bus.router.rulebook import Rulebook
from edgemesh.bus.router.targets import TargetError, post
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.model.router import RouterRule, RuleEndpointType
from edgemesh.wire.kubeedge.router import (
    EVENTBUS,
    SERVICEBUS,
    allow_url,
    answer_upload,
    forbid_url,
    read_payload,
    subscribe,
    unsubscribe,
)
from edgemesh.wire.message import Message, Stamp

# What a rule wants of its node: source type, namespace, and the topic or URL.
_Wish = tuple[RuleEndpointType, str, str]


class Uploads:
    """Leads uploads on."""

    def __init__(
        self,
        rulebook: Rulebook,
        outcomes: RuleOutcomes,
        nodes: Nodes,
        settings: CloudSettings,
        new_stamp: Callable[[], Stamp],
    ) -> None:
        """Lead nothing yet; arguments are those of `RestRouter`."""
        self._rulebook = rulebook
        self._outcomes = outcomes
        self._nodes = nodes
        self._settings = settings
        self._new_stamp = new_stamp
        self._asked: dict[str, set[_Wish]] = {}

    async def take(self, node: str, message: Message) -> None:
        """Lead an upload of a node on, and tell the node what became of it if it asked."""
        rule = self._rule_for(node, message)
        from_servicebus = message.route.source == SERVICEBUS
        if rule is None:
            if from_servicebus:
                text = f"no rule leads {message.route.resource} of node {node} on"
                await self._answer(node, message, text)
            return
        if self._rulebook.wait_seconds(rule, time.monotonic()):
            said = f"rule {rule} lets no more calls pass"
            self._outcomes.failed(rule, f"{node}: {said}")
        else:
            said = await self._post(rule, node, message)
        if from_servicebus:
            await self._answer(node, message, said)

    async def connected(self, node: str) -> None:
        """Tell a node that has connected what it is to bring; see `rules_changed`."""
        self._asked[node] = set()
        await self._tell(node, self._wishes().get(node, set()))

    def disconnected(self, node: str) -> None:
        """Forget what a node was told."""
        self._asked.pop(node, None)

    async def rules_changed(self) -> None:
        """Tell all nodes what is new; not while they are told anything else."""
        wishes = self._wishes()
        for node in list(self._asked):
            await self._tell(node, wishes.get(node, set()))

    async def _post(self, rule: RouterRule, node: str, message: Message) -> str:
        url = rule.target_resource["resource"]
        try:
            answered = await post(
                url,
                read_payload(message),
                seconds=self._settings.request_seconds,
                max_body_bytes=self._settings.max_body_bytes,
            )
        except TargetError as error:
            self._outcomes.failed(rule, f"{node}: {error}")
            return str(error)
        if answered.status >= 400:
            self._outcomes.failed(rule, f"{node}: the target answered {answered.status}")
        else:
            self._outcomes.succeeded(rule)
        return answered.body.decode(errors="replace")

    async def _answer(self, node: str, message: Message, said: str) -> None:
        try:
            await self._nodes.tell(node, answer_upload(message, self._new_stamp(), said))
        except NodeAwayError:
            # Whoever asked there has learned it by the broken connection.
            return

    def _rule_for(self, node: str, message: Message) -> RouterRule | None:
        """The rule that an upload falls under, the first by its name."""
        resource = message.route.resource
        for (namespace, _), rule in sorted(self._rulebook.rules.items()):
            if not rule.in_use or rule.source_resource.get("node_name") != node:
                continue
            match rule.source.type:
                case RuleEndpointType.EVENTBUS if message.route.source == EVENTBUS:
                    if resource == f"{namespace}/{rule.source_resource['topic']}":
                        return rule
                case RuleEndpointType.SERVICEBUS if message.route.source == SERVICEBUS:
                    if resource == rule.source_resource["target_url"]:
                        return rule
                case _:
                    pass
        return None

    def _wishes(self) -> dict[str, set[_Wish]]:
        wishes: defaultdict[str, set[_Wish]] = defaultdict(set)
        for rule in self._rulebook.rules.values():
            node = rule.source_resource.get("node_name", "")
            if not rule.in_use or not node:
                continue
            match rule.source.type:
                case RuleEndpointType.EVENTBUS:
                    what = rule.source_resource["topic"]
                case RuleEndpointType.SERVICEBUS:
                    what = rule.source_resource["target_url"]
                case _:
                    continue
            wishes[node].add((rule.source.type, rule.namespace, what))
        return wishes

    async def _tell(self, node: str, wanted: set[_Wish]) -> None:
        asked = self._asked.get(node, set())
        try:
            for wish in sorted(asked - wanted):
                await self._nodes.tell(node, self._message(wish, wanted=False))
            for wish in sorted(wanted - asked):
                await self._nodes.tell(node, self._message(wish, wanted=True))
        except NodeAwayError:
            # It is told everything when it comes back.
            return
        if node in self._asked:
            self._asked[node] = wanted

    def _message(self, wish: _Wish, *, wanted: bool) -> Message:
        kind, namespace, what = wish
        if kind is RuleEndpointType.EVENTBUS:
            make = subscribe if wanted else unsubscribe
            return make(self._new_stamp(), namespace, what)
        return (allow_url if wanted else forbid_url)(self._new_stamp(), what)
