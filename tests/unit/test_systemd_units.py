"""The units: where they are put, what systemd says of them, and what the agent asks of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest
from requirement import unmet

from edgemesh.app.prerequisites import Check, State, check_host
from edgemesh.deploy.systemd.install import install_unit, own_program
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import Settings

CLOUD = pytest.mark.parametrize("cloud", [False, True], ids=["agent", "cloud"])


def installed(root: Path, *, cloud: bool, program: Path = Path("/bin/true")) -> Path:
    """The unit, as it was put below ``root``."""
    return install_unit(root, program, cloud=cloud).files[0]


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        unmet("systemd-analyze, of the package systemd")
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@CLOUD
def test_a_unit_comes_with_its_user_and_the_commands_that_start_it(
    tmp_path: Path, cloud: bool
) -> None:
    found = install_unit(tmp_path, Path("/opt/edgemesh/bin/edgemesh"), cloud=cloud)
    name = "edgemesh-cloud" if cloud else "edgemesh"
    unit, users = found.files
    assert unit == tmp_path / f"etc/systemd/system/{name}.service"
    assert f"\nExecStart=/opt/edgemesh/bin/edgemesh {'cloud' if cloud else 'run'}\n" in (
        unit.read_text()
    )
    assert users.read_text().splitlines()[-1].startswith("u edgemesh ")
    assert found.commands == (f"systemctl --root={tmp_path} enable {name}",)
    done = subprocess.run(found.commands[0], shell=True, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"etc/systemd/system/multi-user.target.wants/{name}.service").is_symlink()


def test_a_path_with_what_systemd_would_expand_stays_as_it_is(tmp_path: Path) -> None:
    unit = installed(tmp_path, cloud=False, program=Path("/opt/100% mesh/edgemesh"))
    assert "\nExecStart='/opt/100%% mesh/edgemesh' run\n" in unit.read_text()


@pytest.mark.parametrize("program", ["/root/.venv/bin/edgemesh", "/home/a/edgemesh", "edgemesh"])
def test_a_program_that_services_do_not_see_is_refused(tmp_path: Path, program: str) -> None:
    with pytest.raises(OperatorError, match=r"/opt/edgemesh"):
        installed(tmp_path, cloud=False, program=Path(program))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("")
    with pytest.raises(OperatorError, match=re.escape(str(tmp_path / "etc/systemd/system"))):
        installed(tmp_path, cloud=False)


def test_the_program_is_that_of_this_installation() -> None:
    version = subprocess.run([own_program(), "--version"], capture_output=True, check=True)
    assert version.stdout


@CLOUD
def test_systemd_finds_nothing_wrong_with_a_unit(tmp_path: Path, cloud: bool) -> None:
    done = analyze("verify", "--man=no", installed(tmp_path, cloud=cloud))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("cloud", "most"), [(False, 40), (True, 15)], ids=["agent", "cloud"])
def test_systemd_finds_a_unit_little_exposed(tmp_path: Path, cloud: bool, most: int) -> None:
    """Of 100: an agent must be able to change the network, a cloud nothing."""
    unit = installed(tmp_path, cloud=cloud)
    done = analyze("security", "--offline=true", f"--threshold={most}", "--json=short", unit)
    assert done.returncode == 0, [
        each for each in json.loads(done.stdout) if float(each["exposure"] or 0) > 0
    ]


def test_an_agent_of_the_unit_may_open_as_many_files_as_its_settings_may_need(
    tmp_path: Path,
) -> None:
    unit = RawConfigParser(strict=False, interpolation=None)
    unit.read(installed(tmp_path, cloud=False))
    [files] = [check for check in check_host(Settings()) if "open files" in check.what]
    needed = re.search(r"(\d+) may be needed", files.what)
    assert needed
    assert int(unit["Service"]["LimitNOFILE"]) >= int(needed[1])


@pytest.mark.root
def test_an_agent_of_the_unit_has_the_capabilities_that_the_doctor_asks_for(
    tmp_path: Path,
) -> None:
    text = installed(tmp_path, cloud=False).read_text()
    [privileges] = [check for check in check_host(Settings()) if "privileges" in check.what]
    wanted = privileges.what.removeprefix("privileges: ").split(", ")
    assert privileges == Check("host", State.MET, privileges.what)
    bound = re.search(r"^CapabilityBoundingSet=(.*)$", text, re.MULTILINE)
    assert bound
    assert set(wanted) <= set(bound[1].split())
