"""The cloud's authority, told to nodes by a ConfigMap: what they know their cloud by.

A ServiceAccount's token names no authority, as tokens of the cloud do. A node that is given both,
the token and this, needs nothing else to enrol.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from edgemesh.cloud import objects
from edgemesh.cloud.access import Access, UnreachableError
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.observe.log import get_logger

CERTIFICATE: Final = "ca.crt"
_NOT_FOUND: Final = 404
# Somebody may have deleted it, or written something else.
_LOOK_SECONDS: Final = 300.0

_log = get_logger("kubernetes")


async def publish_authority(access: Access, settings: KubernetesSettings, pem: str) -> None:
    """See to it until cancelled that the ConfigMap says which authority the cloud has.

    Args:
        access: to the server.
        settings: name and namespace of the ConfigMap, and pauses after failures.
        pem: the authority's certificate.
    """
    told = ""
    pause = settings.first_retry_seconds
    while True:
        try:
            await _publish(access, settings, pem)
        except (objects.ApiRefusedError, UnreachableError) as error:
            if str(error) != told:
                _log.warning("the authority is not told to nodes", problem=str(error))
            told = str(error)
            await trio.sleep(pause)
            pause = min(2 * pause, settings.max_retry_seconds)
        else:
            told, pause = "", settings.first_retry_seconds
            await trio.sleep(_LOOK_SECONDS)


async def _publish(access: Access, settings: KubernetesSettings, pem: str) -> None:
    namespace, name = settings.lease_namespace, settings.authority_config_map
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    data: dict[str, Any] = {"data": {CERTIFICATE: pem}}
    try:
        found = await objects.read(access, f"{maps}/{name}")
    except objects.ApiRefusedError as error:
        if error.code != _NOT_FOUND:
            raise
        head = {"apiVersion": "v1", "kind": "ConfigMap"}
        metadata = {"name": name, "namespace": namespace}
        await objects.create(access, maps, {**head, "metadata": metadata, **data})
        return
    if (found.get("data") or {}).get(CERTIFICATE) != pem:
        await objects.patch(access, f"{maps}/{name}", data)
