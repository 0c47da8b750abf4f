"""``edgemesh cloud``: the cloud in the foreground, and who may join it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from edgemesh.app.cloud import run_cloud
from edgemesh.app.cloud_authority import authority_certificate, make_token, revoke_node
from edgemesh.app.config import load_settings

app = App(name="cloud", help="Run the cloud that nodes connect to; let nodes in, shut them out.")

_Config = Annotated[Path | None, Parameter(help="The cloud's configuration file.")]


@app.default
async def run(
    *,
    config: _Config = None,
    name: Annotated[str | None, Parameter(help="Of this replica; default the host's.")] = None,
) -> None:
    """Run the cloud until it is told to stop (SIGTERM, Ctrl-C).

    Args:
        config: TOML file; default /etc/edgemesh/edgemesh.toml where it exists.
        name: overrides cloud.name.
    """
    await run_cloud(load_settings(config, {"cloud": {"name": name}}))


@app.command
async def token(
    *,
    config: _Config = None,
    node: Annotated[str, Parameter(help="The only node that may use it, and once.")] = "",
    ttl: Annotated[float | None, Parameter(help="Seconds that it is good for.")] = None,
) -> None:
    """Print a token to enrol with; one that names a revoked node lets it in again.

    Args:
        config: the cloud's configuration file.
        node: the node that it is for, any where none is named.
        ttl: seconds; default cloud.token_seconds.
    """
    print(await make_token(load_settings(config), node, ttl))


@app.command
async def revoke(node: str, *, config: _Config = None) -> None:
    """Shut a node out: its certificates are void and its connections end at once.

    Args:
        node: its name.
        config: the cloud's configuration file.
    """
    revoked = await revoke_node(load_settings(config), node)
    print(f"node {node} is shut out; {revoked} certificates of it are void")


@app.command
async def ca(*, config: _Config = None) -> None:
    """Print the certificate that nodes know the cloud by, as PEM.

    Args:
        config: the cloud's configuration file.
    """
    print(await authority_certificate(load_settings(config)), end="")
