"""A Debian that systemd has booted, with edgemesh as the image has it; in namespaces of this host.

The network, processes, mounts and cgroups are the container's own; the kernel is this host's.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from image_root import PROGRAM, ROOT, unpacked_image
from lab_homes import wait_for
from requirement import unmet

_SYSTEM = ROOT / ".venv" / "systemd-root"
_PACKAGES = ROOT / "scripts" / "agent-packages"
_CGROUPS = Path("/sys/fs/cgroup")
_BUILD_SECONDS = 900
_BOOT_SECONDS = 60
_HALT_SECONDS = 30
_ENVIRONMENT = ["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]


class Machine:
    """One that runs.

    Args:
        leader: the process of its systemd, by its number here.
    """

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", f"--target={self.leader}", "--all", "--root", "--wd", "--"]
        return subprocess.run(
            [*enter, *_ENVIRONMENT, *argv], capture_output=True, text=True, check=False
        )

    def output(self, *argv: str) -> str:
        done = self.run(*argv)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def edgemesh(self, *arguments: str) -> str:
        return self.output(PROGRAM, *arguments)

    def install(self, *arguments: str) -> None:
        """What a user does: the units, and the commands that are printed with them."""
        for command in self.edgemesh("deploy", "systemd", *arguments).splitlines():
            if not command.startswith("#"):
                self.output(*command.split())

    def shows(self, unit: str, name: str) -> str:
        return self.output("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def main_pid(self, unit: str) -> int:
        return int(self.shows(unit, "MainPID"))

    def journal(self, unit: str) -> str:
        return self.output("journalctl", "--boot", "--no-pager", f"--unit={unit}")

    def write(self, path: str, text: str) -> None:
        """A file of the machine, with the directory that it lies in."""
        self.output("mkdir", "-p", str(Path(path).parent))
        self.output("sh", "-c", 'printf %s "$0" > "$1"', text, path)

    def restarts(self, unit: str) -> int:
        return int(self.shows(unit, "NRestarts"))


@contextmanager
def booted() -> Iterator[Machine]:
    """Boot one; halt it at the end, with everything that runs in it."""
    if shutil.which("systemd-nspawn") is None:
        unmet("systemd-nspawn, of the package systemd-container")
    image = unpacked_image()
    with ExitStack() as undo:
        undo.enter_context(_alone())
        system = _built_system()
        undo.callback(_remove_cgroups)
        bpffs = undo.enter_context(_mounted_bpffs())
        log = Path(undo.enter_context(tempfile.TemporaryDirectory()), "log")
        binds = [
            f"--bind-ro={image}/opt/edgemesh:/opt/edgemesh",
            "--bind-ro=/usr/src",
            f"--bind={bpffs}:/sys/fs/bpf",
        ]
        options = ["--register=no", "--keep-unit", "--private-network", "--volatile=overlay"]
        # Of BPF nspawn keeps containers away, though they may have the capability.
        rights = ["--capability=all", "--system-call-filter=bpf perf_event_open"]
        argv = ["systemd-nspawn", "--quiet", "--boot", "--console=pipe", f"--directory={system}"]
        with log.open("wb") as output:
            nspawn = subprocess.Popen(
                [*argv, *options, *rights, *binds],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        undo.callback(_halt, nspawn)
        wait_for(lambda: _leader(nspawn, log) > 0, "systemd begins", _BOOT_SECONDS)
        machine = Machine(_leader(nspawn, log))
        wait_for(lambda: _is_up(machine), "systemd is up", _BOOT_SECONDS)
        yield machine


@contextmanager
def _alone() -> Iterator[None]:
    """Machines have their cgroups at the same place, so there is one at a time."""
    with _SYSTEM.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_cgroups() -> None:
    """What nspawn leaves, in each hierarchy that it has joined; empty by then."""
    for name in ("payload", "supervisor"):
        for top in (*_CGROUPS.glob(name), *_CGROUPS.glob(f"*/{name}")):
            for directory in sorted(
                (top, *(p for p in top.rglob("*") if p.is_dir())), reverse=True
            ):
                directory.rmdir()


def _built_system() -> Path:
    """Debian with systemd and what an agent needs; made anew when that list has changed."""
    packages = ["systemd-sysv", "dbus", "curl", *_PACKAGES.read_text().split()]
    stamp = _SYSTEM.with_suffix(".stamp")
    if stamp.exists() and json.loads(stamp.read_text()) == packages:
        return _SYSTEM
    if shutil.which("mmdebstrap") is None:
        unmet("mmdebstrap")
    shutil.rmtree(_SYSTEM, ignore_errors=True)
    debstrap = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"]
    subprocess.run(
        [*debstrap, f"--include={','.join(packages)}", "bookworm", str(_SYSTEM)],
        check=True,
        timeout=_BUILD_SECONDS,
    )
    stamp.write_text(json.dumps(packages))
    return _SYSTEM


@contextmanager
def _mounted_bpffs() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["mount", "-t", "bpf", "bpf", place], check=True)
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", place], check=True)


def _leader(nspawn: subprocess.Popen[bytes], log: Path) -> int:
    """The child that has become systemd; 0 while there is only one that prepares its way."""
    assert nspawn.poll() is None, log.read_text()
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
    for child in children:
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
    return 0


def _is_up(machine: Machine) -> bool:
    return machine.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}


def _halt(nspawn: subprocess.Popen[bytes]) -> None:
    """SIGTERM lets nspawn ask its systemd to halt."""
    nspawn.terminate()
    with suppress(subprocess.TimeoutExpired):
        nspawn.wait(_HALT_SECONDS)
        return
    nspawn.kill()
    nspawn.wait()


def wait_until_active(machine: Machine, unit: str, seconds: float = 30) -> None:
    """Wait until a unit has told that it is ready."""
    wait_for(lambda: machine.shows(unit, "ActiveState") == "active", f"{unit} is active", seconds)
