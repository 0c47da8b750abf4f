"""What BPF needs is looked at where it really is, and what is lacking has a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemesh.app.bpf_prerequisites import check_bpf
from edgemesh.app.prerequisites import Check, State
from edgemesh.model.bpf_settings import BpfSettings


def found(checks: list[Check], word: str) -> Check:
    [check] = [check for check in checks if word in check.what]
    return check


def test_every_check_that_is_not_met_has_a_remedy(tmp_path: Path) -> None:
    nowhere = BpfSettings(directory=tmp_path, cgroup=str(tmp_path), headers=str(tmp_path))
    for settings in (BpfSettings(), nowhere):
        checks = list(check_bpf(settings))
        assert {check.group for check in checks} == {"bpf"}
        assert all(bool(check.remedy) == (check.state is not State.MET) for check in checks)
        assert not any(check.state is State.MISSING for check in checks)


def test_nothing_is_lacking_where_bpf_is_not_wanted(tmp_path: Path) -> None:
    unwanted = BpfSettings(enabled=False, cgroup=str(tmp_path))
    [check] = check_bpf(unwanted)
    assert (check.state, "bpf.enabled" in check.what) == (State.MET, True)


@pytest.mark.parametrize(
    ("word", "setting"), [("cgroup v2", "bpf.cgroup"), ("headers", "bpf.headers")]
)
def test_a_setting_that_leads_nowhere_is_named(tmp_path: Path, word: str, setting: str) -> None:
    settings = BpfSettings(cgroup=str(tmp_path), headers=str(tmp_path))
    check = found(list(check_bpf(settings)), word)
    assert check.state is State.LACKING
    assert setting in f"{check.what} {check.remedy}"


def test_a_directory_outside_of_any_bpf_file_system_is_told(tmp_path: Path) -> None:
    check = found(list(check_bpf(BpfSettings(directory=tmp_path / "pins"))), "BPF file system")
    assert check.state is State.LACKING
    assert check.remedy == f"mount -t bpf bpf {tmp_path}"
