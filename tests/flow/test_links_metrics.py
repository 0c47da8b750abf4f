"""What metrics tell about links."""

from __future__ import annotations

import pytest
from link_fixtures import Pki, until
from links_world import Node, a_world, exchanged

from edgemesh.app.links_metrics import link_families


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def shown(node: Node) -> dict[str, float]:
    text = "".join(piece for family in link_families(node.links) for piece in family.text())
    lines = text.splitlines()
    samples = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in samples}


async def test_links_streams_and_bytes_are_counted_also_when_they_are_over(pki: Pki) -> None:
    async with a_world(pki) as world:
        a, b = world.node("node-a"), world.node("node-b")
        assert shown(a)["edgemesh_links_total"] == 0
        a.links.know({"node-b": [b.address]})
        await exchanged(a.talk("node-b", 100_000), b)
        during = shown(a)
        assert during['edgemesh_peers{route="link"}'] == 1
        assert during["edgemesh_links_total"] == 1
        assert during["edgemesh_link_streams_opened_total"] == 1
        assert during['edgemesh_link_bytes_total{direction="out"}'] > 100_000
        link = a.links._peers["node-b"].link
        assert link is not None
        world.reactor.call(link, lambda: link.end("cut by the test"))
        await until(lambda: not b.links_to("node-a"))
        after = shown(a)
        assert after["edgemesh_links_lost_total"] == 1
        assert after["edgemesh_link_streams_opened_total"] == 1
        assert after["edgemesh_link_streams"] == 0
        out = 'edgemesh_link_bytes_total{direction="out"}'
        assert after[out] >= during[out]
