"""A root file system of the image, and programs that are started in it as Kubernetes would.

What a container runtime does is done by hand: a mount namespace, an overlay over the image that
is read-only once its mount points are there, and the host's directories that a DaemonSet mounts.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgemesh.lab.network import command_in

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / ".venv" / "image"
PROGRAM = "/opt/edgemesh/bin/edgemesh"
_BUILD_SECONDS = 1500
# $0: the image; $1: of whom the program is; $2: a directory that is mounted, too; then the program.
_CONTAINER = """
set -e
image=$0 user=$1 volume=$2; shift 2
made=$(mktemp -d); mount -t tmpfs made "$made"; mkdir "$made/root" "$made/upper" "$made/work"
mount -t overlay -o "lowerdir=$image,upperdir=$made/upper,workdir=$made/work" image "$made/root"
cd "$made/root"; mount -t tmpfs tmp tmp; mount -t tmpfs run run
for path in /proc /sys /dev /lib/modules /usr/src "$volume"; do
  [ -e "$path" ] || continue
  mkdir -p ".$path"; mount --rbind "$path" ".$path"
done
mount -o remount,bind,ro .
exec chroot --userspec="$user" . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""


def unpacked_image() -> Path:
    """The root file system; made anew only after a change, which takes some minutes."""
    script = [str(ROOT / "scripts" / "image"), "--unpack", str(UNPACKED)]
    done = subprocess.run(
        script, capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return UNPACKED


def size_bytes(image: Path) -> int:
    """What its files take on a disk."""
    done = subprocess.run(
        ["du", "--summarize", "--one-file-system", "--block-size=1", str(image)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[0])


def command_in_image(
    image: Path, namespace: str, volume: Path, argv: Sequence[str], user: str = "0:0"
) -> list[str]:
    """The command line that runs a program of the image in a network namespace.

    Args:
        image: its root file system, which is not changed.
        namespace: of the network.
        volume: a directory of this host that the program sees at the same place.
        argv: the program, by its path in the image.
        user: and group, by number, separated by a colon.
    """
    apart = ["unshare", "--mount", "--propagation", "slave"]
    container = ["sh", "-c", _CONTAINER, str(image), user, str(volume), *argv]
    return command_in(namespace, [*apart, *container])
