"""Full disks and damaged databases: the data plane does not notice, or starts all the same."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mesh import Mesh, service, web, web_and_bystander, who_answers

from edgemesh.meta.errors import RefusedError

pytestmark = pytest.mark.root

DISK_BYTES = 1024 * 1024


@pytest.fixture
def small_disk(mesh: Mesh) -> Iterator[Mesh]:
    """An agent that serves, whose store lies on a tiny filesystem of its own."""
    mesh.configure()
    state = mesh.directory / "state"
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "edgemesh-test", str(state)]
    subprocess.run(mount, check=True)
    try:
        with web_and_bystander(mesh):
            mesh.start()
            mesh.apply(*web())
            yield mesh
    finally:
        # Who has files open there keeps it mounted.
        mesh.close()
        subprocess.run(["umount", str(state)], check=True)


def test_a_full_disk_refuses_writes_and_leaves_calls_alone_until_there_is_room_again(
    small_disk: Mesh,
) -> None:
    ballast = small_disk.directory / "state" / "ballast"
    fill(ballast)
    with pytest.raises(RefusedError, match="full"):
        apply_more_and_more(small_disk)
    assert who_answers(small_disk.network.pod) == "endpoint"
    ballast.unlink()
    small_disk.apply(service("late", ["10.97.1.1"], [("TCP", 80)]))
    assert who_answers(small_disk.network.pod) == "endpoint"


def apply_more_and_more(mesh: Mesh) -> None:
    for number in range(250):
        mesh.apply(service(f"more-{number}", [f"10.97.0.{number}"], [("TCP", 80)]))


def truncate(path: Path) -> None:
    os.truncate(path, 1000)


def overwrite(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


@pytest.mark.parametrize("damage", [truncate, overwrite])
def test_a_damaged_database_does_not_disturb_calls_and_the_next_agent_starts_with_a_new_one(
    mesh: Mesh, damage: Callable[[Path], None]
) -> None:
    with web_and_bystander(mesh):
        mesh.start()
        mesh.apply(*web())
        for path in (mesh.directory / "state").glob("edgemesh.db*"):
            damage(path)
        assert who_answers(mesh.network.pod) == "endpoint"
        mesh.kill()
        mesh.start()
        assert "the store was damaged" in mesh.log
        mesh.apply(*web())
        assert who_answers(mesh.network.pod) == "endpoint"
