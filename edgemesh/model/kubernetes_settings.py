"""Settings of what follows a Kubernetes API server, or KubeEdge's MetaServer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """The API server that objects come from.

    Args:
        server: ``in-cluster``, ``kubeconfig``, a URL such as KubeEdge's MetaServer
            ``http://127.0.0.1:10550``, or "" for none.
    """

    server: str = ""
