"""The BPF file system: mounted where it is missing, and locked while it changes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bpf_samples import attached, bpf_place, counting, only

from edgemesh.kernel.bpf import pins
from edgemesh.kernel.bpf.bpffs import USUAL_MOUNT, mount_if_missing
from edgemesh.kernel.bpf.loader import adopt_or_load, load, loaded, remove_abandoned
from edgemesh.kernel.bpf.state import User, change_state
from edgemesh.kernel.mounts import file_system
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.errors import OperatorError

pytestmark = pytest.mark.root

# In mounts of its own, without any BPF file system.
ALONE = 'while umount "$0" 2>/dev/null; do :; done; eval "$2"; exec "$1" -c "$3" "$0"'
MOUNTING = """
import sys
from pathlib import Path
from edgemesh.kernel.bpf.bpffs import mount_if_missing
from edgemesh.kernel.mounts import file_system
directory = Path(sys.argv[1], "some-test")
mount_if_missing(directory)
mount_if_missing(directory)
mounts = Path("/proc/self/mounts").read_text().splitlines()
print(file_system(directory), sum(line.split()[1] == sys.argv[1] for line in mounts))
"""


@pytest.fixture
def place() -> Iterator[BpfSettings]:
    with bpf_place() as settings:
        yield settings


def alone(preparation: str) -> subprocess.CompletedProcess[str]:
    argv = ["unshare", "--mount", "sh", "-c", ALONE, str(USUAL_MOUNT), sys.executable]
    return subprocess.run(
        [*argv, preparation, MOUNTING], capture_output=True, text=True, check=False
    )


def test_it_is_mounted_once_where_it_is_missing() -> None:
    assert alone(":").stdout == "bpf 1\n"


def test_it_is_not_mounted_over_what_somebody_has_there() -> None:
    done = alone('mount -t tmpfs none "$0" && touch "$0/something"')
    assert "some-test is in no BPF file system" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("directory", [Path("/dev/shm/edgemesh"), USUAL_MOUNT.parent / "edgemesh"])
def test_it_is_not_mounted_anywhere_else(directory: Path) -> None:
    with pytest.raises(OperatorError, match=f"bpf.directory {directory} is in no BPF file system"):
        mount_if_missing(directory)


def test_a_load_waits_until_another_one_is_over(place: BpfSettings, tmp_path: Path) -> None:
    with pins.locked(place.directory) as held:
        other = os.open(place.directory, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
        # As a compile child has it, whose loader was killed.
        holder = subprocess.Popen(["sleep", "0.5"], pass_fds=[held])
    load(place, owner="operator", loading=only(counting(tmp_path)))
    assert holder.wait() == 0
    assert len(attached(place.cgroup)) == 1


def test_a_lock_that_is_never_let_go_is_told(
    place: BpfSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "_LOOKS", 3)
    with (
        pins.locked(place.directory),
        pytest.raises(OperatorError, match="another load or unload does not come to its end"),
        pins.locked(place.directory),
    ):
        pass


def test_an_empty_directory_goes_with_its_lock(place: BpfSettings) -> None:
    with pins.locked(place.directory):
        assert place.directory.is_dir()
    assert not place.directory.exists()


def test_what_a_dead_agent_loaded_is_removed(place: BpfSettings, tmp_path: Path) -> None:
    adopt_or_load(place, loading=only(counting(tmp_path)))
    state = loaded(place)
    assert state is not None
    change_state(place.directory, replace(state, user=User(os.getpid(), 1)))
    assert remove_abandoned(place)
    assert attached(place.cgroup) == ()


def test_what_a_living_agent_loaded_is_not_removed(place: BpfSettings, tmp_path: Path) -> None:
    adopt_or_load(place, loading=only(counting(tmp_path)))
    assert not remove_abandoned(place)
    assert len(attached(place.cgroup)) == 1


def test_what_an_operator_loaded_is_not_removed(place: BpfSettings, tmp_path: Path) -> None:
    load(place, owner="operator", loading=only(counting(tmp_path)))
    assert not remove_abandoned(place)
    assert len(attached(place.cgroup)) == 1


def test_the_file_system_of_a_path_that_is_not_there_is_told() -> None:
    assert file_system(Path("/proc/self/none/at/all")) == "proc"
