"""Where the API server is, how it is known for it, and how it is shown who asks."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx2
import yaml
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import (
    DEFAULT_KUBECONFIG,
    SERVICE_ACCOUNT,
    KubeConfig,
    SingleConfig,
)
from lightkube.config.models import Cluster, User
from lightkube.core.exceptions import ConfigError

from edgemesh.model.errors import OperatorError
from edgemesh.model.kubernetes_settings import KubernetesSettings

_IN_CLUSTER = "in-cluster"
_KUBECONFIG = "kubeconfig"
# What a file that is no kubeconfig makes lightkube raise.
_UNUSABLE = (
    ConfigError,
    OSError,  # ssl.SSLError among them
    ValueError,  # msgspec.ValidationError among them
    KeyError,
    TypeError,
    AttributeError,
    yaml.YAMLError,
)

_Stamps = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True)
class Identity:
    """All that a client needs to reach the server as somebody.

    Args:
        url: of the server.
        context: for TLS, with the client's certificate; of no use where the URL is plain HTTP.
        auth: puts a token or a password on requests, None for nothing. A token's file is read
            again when the server refuses what it held.
        files: that this was read from, but for the token's.
        stamps: of those files as they were.
    """

    url: str
    context: ssl.SSLContext
    auth: httpx2.Auth | None
    files: tuple[Path, ...]
    stamps: _Stamps

    def is_outdated(self) -> bool:
        """Whether a file is not what it was, as when certificates were renewed; reads files."""
        return _stamps(self.files) != self.stamps


def read_identity(settings: KubernetesSettings) -> Identity:
    """Find the configuration that the settings mean; reads files.

    Raises:
        OperatorError: there is none, or it cannot be used.
    """
    try:
        config = _config(settings)
        cluster, user = config.cluster, config.user or User()
        if user.exec is not None:
            raise OperatorError(
                f"user {config.context.user!r} of the kubeconfig gets its credentials from a"
                " command, which edgemesh does not run",
                "use a kubeconfig with a token, a token file or a client certificate",
            )
        # Stamps first: what changes while it is read is read again.
        files = _files(config, cluster, user)
        stamps = _stamps(files)
        is_plain = cluster.server.startswith("http://")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not is_plain:
            context = verify_cluster(cluster, user, config.abs_file, trust_env=False)
        url = httpx2.URL(cluster.server)
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigError(f"{cluster.server!r} is not a URL of http or https")
        if url.userinfo:
            # It would be shown wherever the server is named.
            raise ConfigError("a URL must not carry a password; put a token into a file")
        return Identity(str(url), context, user_auth(user), files, stamps)
    except (*_UNUSABLE, httpx2.InvalidURL) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise OperatorError(
            f"kubernetes.server cannot be used: {what}",
            "name in-cluster (inside a Pod), kubeconfig (with kubernetes.kubeconfig) or a URL",
        ) from error


def _config(settings: KubernetesSettings) -> SingleConfig:
    if settings.server == _IN_CLUSTER:
        return _only(KubeConfig.from_service_account(SERVICE_ACCOUNT))
    if settings.server == _KUBECONFIG:
        path = settings.kubeconfig or os.environ.get("KUBECONFIG", DEFAULT_KUBECONFIG)
        return _only(KubeConfig.from_file(path), settings.context or None)
    cluster = Cluster(server=settings.server, certificate_auth=settings.ca_file or None)
    user = User(token_file=settings.token_file or None)
    return _only(KubeConfig.from_one(cluster=cluster, user=user))


def _only(config: KubeConfig, context: str | None = None) -> SingleConfig:
    chosen = config.get(context)
    assert chosen is not None
    return chosen


def _files(config: SingleConfig, cluster: Cluster, user: User) -> tuple[Path, ...]:
    named = (cluster.certificate_auth, user.client_cert, user.client_key)
    files = [Path(config.abs_file(name)) for name in named if name]
    return (*files, config.fname) if config.fname else tuple(files)


def _stamps(files: tuple[Path, ...]) -> _Stamps:
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
