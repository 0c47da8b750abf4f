"""Random histories of an API server or a MetaServer: what changes, and what goes wrong.

Every history is drawn from its number alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import trio
from apiserver.faults import Faults
from apiserver.front import Front
from apiserver.metaserver import MetaServer
from apiserver.server import ApiServer
from reflector_fixtures import RULES, SERVICES, SLICES, URL

from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.reflection import Name, Resource

SETTINGS = KubernetesSettings(server=URL, page_objects=3, batch_objects=4)
# Beyond all pauses, watches and lists that there are.
SETTLING_SECONDS = 3600.0
RESOURCES = (SERVICES, SLICES, RULES)
BODIES: Mapping[Resource, Mapping[str, Any]] = {
    SERVICES: {"spec": {"ports": [{"port": 80}]}},
    SLICES: {"addressType": "IPv4", "endpoints": []},
    RULES: {
        "spec": {
            "source": "rest",
            "sourceResource": {"path": "/a"},
            "target": "servicebus",
            "targetResource": {"path": "/b"},
        }
    },
}
STEPS = 25


def expected(server: Front, resource: Resource) -> dict[Name, Any]:
    """What a client is to have of a resource."""
    head = {"apiVersion": resource.api_version, "kind": resource.kind}
    objects = server.objects(resource.path)
    return {Name(*key): head | body for key, body in objects.items()}


class History:
    """One history, drawn from its number.

    Attributes:
        chance: everything is drawn from it.
        server: whose history it is.
        longest: seconds of a pause in it.
        over: from when on nothing changes, and nothing goes wrong.
    """

    def __init__(self, number: int) -> None:
        self.chance = random.Random(number)
        self.server: Front = (MetaServer if number % 3 == 0 else ApiServer)()
        # A MetaServer is asked every 30 seconds, and so less of its time makes as much happen.
        self.longest = 40.0 if isinstance(self.server, MetaServer) else 400.0
        self.pauses = (0.0, 0.1, 3.0, self.longest / 3, self.longest)
        self.has_rules = False
        self.over = trio.Event()
        for _ in range(self.chance.randrange(12)):
            self._change()

    async def run(self) -> None:
        """Let things happen, then let everything be well again."""
        faults = Faults(self.chance.randrange(2**32), chance=self.chance.choice([0.1, 0.3, 0.6]))
        self.server.faults = faults
        for _ in range(STEPS):
            await trio.sleep(self.chance.choice(self.pauses))
            self._happen()
        self.server.faults = None
        if isinstance(self.server, MetaServer):
            self.server.return_cloud()
        if not self.has_rules:
            self._install()
        self.over.set()

    def _happen(self) -> None:
        match self.chance.randrange(12):
            case 0:
                self.server.compact()
            case 1:
                self.server.end_watches()
            case 2 if not self.has_rules:
                self._install()
            case 3 if isinstance(self.server, MetaServer):
                if self.server.connected:
                    self.server.lose_cloud()
                else:
                    self.server.return_cloud()
            case _:
                for _ in range(self.chance.randrange(6)):
                    self._change()

    def _install(self) -> None:
        self.has_rules = True
        self.server.install_crd("rules")

    def _change(self) -> None:
        known = RESOURCES if self.has_rules else RESOURCES[:2]
        resource = self.chance.choice(known)
        name = self.chance.choice("abcdefgh")
        if ("default", name) in self.server.objects(resource.path) and self.chance.random() < 0.5:
            self.server.delete(resource.path, "default", name)
        else:
            labels = {"turn": str(self.chance.randrange(1000))}
            body = {"metadata": {"name": name, "labels": labels}, **BODIES[resource]}
            self.server.put(resource.path, body)
