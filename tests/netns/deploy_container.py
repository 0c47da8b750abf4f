"""A container of a rendered manifest, as far as the kernel is concerned.

It gets the user, the capabilities, the variables and the read-only root that the manifest says, in
a network namespace of its own. Not a pid namespace, and no image: this interpreter and its sources.
"""

from __future__ import annotations

import http.client
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from interception_lab import inside
from lab_homes import wait_for

from edgemesh.lab.network import command_in

ROOT = Path(__file__).parents[2]
ADMIN_PORT = 15020
# What a kubelet would fill in.
FIELDS = {"spec.nodeName": "node-1", "metadata.name": "pod-1", "status.podIP": "127.0.0.1"}
_END_SECONDS = 90.0
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

# A folder's mount shows what is in it even where the folders above are root's alone.
_SCRIPT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mkdir -p /run/edgemesh /var/lib/edgemesh /run/source /run/tmp
mount --bind {source} /run/source
chown {user}:{user} /run/edgemesh /var/lib/edgemesh /run/tmp
printf %s {toml} > /run/edgemesh.toml
{projected}
mount -o remount,bind,ro /
exec setpriv --reuid {user} --regid {user} --clear-groups {rights} env -i {variables} \
  /run/source/.venv/bin/python -m edgemesh.cli.main {arguments}
"""


@dataclass(frozen=True)
class InCluster:
    """What a kubelet tells a Pod of the API server.

    Attributes:
        host, port: of the server.
        namespace: of the Pod.
        token: of its service account.
        authority: PEM of who has certified the server.
    """

    host: str
    port: int
    namespace: str
    token: str
    authority: str


class Container:
    """A container that runs.

    Args:
        namespace: its network.
        process: the shell that becomes it.
        log: what it wrote.
    """

    def __init__(self, namespace: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self._namespace = namespace
        self._process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a page of its admin server."""
        return inside(self._namespace, partial(_get, path))

    def wait_until_ready(self) -> None:
        """Wait for what the manifest's probes ask for."""
        wait_for(self._is_ready, "the container is ready", 60)

    def stop(self) -> int:
        """Ask it to end as a kubelet does; its status."""
        self._process.terminate()
        return self._process.wait(_END_SECONDS)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self.log
        try:
            return self.get("/readyz")[0] == http.HTTPStatus.OK
        except ConnectionError:
            return False


@contextmanager
def started(
    namespace: str,
    manifest: Mapping[str, Any],
    toml: str,
    folder: Path,
    *enter: str,
    cluster: InCluster | None = None,
) -> Iterator[Container]:
    """Start the only container of a DaemonSet or Deployment.

    Args:
        namespace: network namespace.
        manifest: as rendered.
        toml: of its ConfigMap.
        folder: for its log.
        enter: a command that runs the rest of its line, as in a cgroup.
        cluster: what a kubelet tells it of the API server.
    """
    pod = manifest["spec"]["template"]["spec"]
    [container] = pod["containers"]
    script = _SCRIPT.format(
        source=shlex.quote(str(ROOT)),
        toml=shlex.quote(toml),
        user=pod.get("securityContext", {}).get("runAsUser", 0),
        rights=_rights(container["securityContext"]),
        projected=_projected(cluster),
        variables=shlex.join(
            f"{name}={value}" for name, value in (*_variables(container), *_server(cluster))
        ),
        arguments=shlex.join(container["command"][1:]),
    )
    assert container["command"][0] == "edgemesh"
    log = folder / "container.log"
    argv = [*enter, *command_in(namespace, ["unshare", "-m", "sh", "-c", script])]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    running = Container(namespace, process, log)
    try:
        yield running
    finally:
        running.close()


def _get(path: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", ADMIN_PORT, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def _rights(security: Mapping[str, Any]) -> str:
    capabilities = security["capabilities"]
    assert capabilities["drop"] == ["ALL"]
    named = [f"+{name.lower()}" for name in capabilities.get("add", ())]
    words = ["--bounding-set", ",".join(["-all", *named]), "--inh-caps", "-all"]
    if not security.get("allowPrivilegeEscalation", True):
        words.append("--no-new-privs")
    return shlex.join(words)


def _projected(cluster: InCluster | None) -> str:
    """Mount what a Pod gets of its service account."""
    if cluster is None:
        return ""
    files = {
        "token": cluster.token,
        "ca.crt": cluster.authority,
        "namespace": cluster.namespace,
    }
    lines = [f"mkdir -p {_SERVICE_ACCOUNT}"]
    lines += [
        f"printf %s {shlex.quote(text)} > {_SERVICE_ACCOUNT}/{name}" for name, text in files.items()
    ]
    return "\n".join(lines)


def _server(cluster: InCluster | None) -> list[tuple[str, str]]:
    if cluster is None:
        return []
    return [
        ("KUBERNETES_SERVICE_HOST", cluster.host),
        ("KUBERNETES_SERVICE_PORT", str(cluster.port)),
    ]


def _variables(container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "PATH", os.defpath + ":/usr/sbin:/sbin"
    yield "TMPDIR", "/run/tmp"
    yield "PYTHONPATH", "/run/source"
    yield "PYTHONDONTWRITEBYTECODE", "1"
    yield "EDGEMESH_CONFIG", "/run/edgemesh.toml"
    for each in container["env"]:
        if "value" in each:
            yield each["name"], each["value"]
        elif "fieldRef" in each["valueFrom"]:
            yield each["name"], FIELDS[each["valueFrom"]["fieldRef"]["fieldPath"]]
