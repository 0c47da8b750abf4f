"""A PostgreSQL of its own, as an unprivileged user, on a unix socket in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requirement import unmet

_UNPRIVILEGED = 65534
_OPTIONS = {
    "listen_addresses": "",
    # The host may fail, the tests do not look at that; processes are killed with it on or off.
    "fsync": "off",
    "max_connections": "60",
    "shared_buffers": "16MB",
}


@dataclass
class Cluster:
    """A server that runs."""

    folder: Path

    def url(self, database: str = "postgres") -> str:
        # A server that stands still for some seconds is none that is away.
        return f"postgresql://tester@/{database}?host={self.folder}&connect_timeout=60"

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"d{uuid.uuid4().hex}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)

    def run(self, statement: str) -> list[Any]:
        """Run a statement beside everybody else."""
        import psycopg

        with psycopg.connect(
            f"host={self.folder} user=tester dbname=postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Make a cluster, run it, and take it away."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="edgemesh-pg-"))
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        os.chown(folder, _UNPRIVILEGED, _UNPRIVILEGED)
        as_user = {"user": _UNPRIVILEGED, "group": _UNPRIVILEGED, "extra_groups": ()}
    log = folder / "log"
    server = None
    try:
        data = folder / "data"
        make: list[str | Path] = [
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "tester",
            "-A",
            "trust",
            "--no-sync",
        ]
        subprocess.run(make, check=True, capture_output=True, cwd=folder, **as_user)
        options = [f"-c{name}={value}" for name, value in _OPTIONS.items()]
        with log.open("wb") as output:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-k", folder, *options],
                stdout=output,
                stderr=output,
                cwd=folder,
                **as_user,
            )
        _wait_until_ready(binaries, folder, server, log)
        yield Cluster(folder)
    finally:
        if server is not None:
            # SIGINT: disconnect everybody and end (postgresql.org/docs, "Shutting Down").
            server.send_signal(2)
            server.wait(30)
        shutil.rmtree(folder)


def _binaries() -> Path:
    # Debian keeps them out of PATH, for several versions may be there.
    found = shutil.which("initdb")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found:
        places.append(Path(found).resolve().parent)
    for place in places:
        if all((place / name).exists() for name in ("initdb", "postgres", "pg_isready")):
            return place
    unmet("PostgreSQL")
    raise AssertionError


def _wait_until_ready(
    binaries: Path, folder: Path, server: subprocess.Popen[bytes], log: Path
) -> None:
    # pg_isready asks as often as told; its end is the state that is waited for.
    while server.poll() is None:
        ask: list[str | Path] = [binaries / "pg_isready", "-q", "-h", folder, "-t", "1"]
        if subprocess.run(ask, check=False).returncode == 0:
            return
    raise AssertionError(log.read_text())
