"""The Vagrantfile, as Debian's vagrant reads it; its machines are started by people."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from requirement import unmet

_VAGRANT = Path(__file__).parents[2] / "vagrant"


@pytest.mark.long
@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
def test_the_vagrantfile_is_valid_for_both_providers(tmp_path: Path, provider: str) -> None:
    if shutil.which("vagrant") is None:
        unmet("vagrant and vagrant-libvirt")
    shutil.copy(_VAGRANT / "Vagrantfile", tmp_path)
    # Without its provider's program a machine cannot run, but its file can be read.
    validate = ["vagrant", "validate", *(["-p"] if provider == "virtualbox" else [])]
    done = subprocess.run(
        validate,
        cwd=tmp_path,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(tmp_path),
            "VAGRANT_DEFAULT_PROVIDER": provider,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "validated successfully" in done.stdout
