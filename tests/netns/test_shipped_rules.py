"""The rule sets are valid on their own, as they lie in netfilter/, and come with the wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from interception_lab import output

from edgemesh.kernel.shipped import shipped

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["tproxy.nft", "redirect.nft"])
def test_an_nft_file_passes_nfts_own_check(lone_node: str, name: str) -> None:
    output(lone_node, ["nft", "-c", "-f", str(shipped("netfilter", name))])


@pytest.mark.parametrize("mode", ["tproxy", "redirect"])
@pytest.mark.parametrize(("version", "tool"), [(4, "iptables"), (6, "ip6tables")])
@pytest.mark.parametrize("variant", ["", "-legacy"])
def test_a_rules_file_passes_iptables_own_test(
    lone_node: str, mode: str, version: int, tool: str, variant: str
) -> None:
    path = shipped("netfilter", f"{mode}.v{version}.rules")
    output(lone_node, [f"{tool}{variant}-restore", "--test", "--noflush", str(path)])


def test_a_file_that_is_not_shipped_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"netfilter/none\.nft"):
        shipped("netfilter", "none.nft")


def test_a_wheel_brings_rule_sets_and_bpf_programs_along(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside_wheel = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(inside_wheel)
    program = (
        "from edgemesh.kernel.shipped import shipped\n"
        "for where in (('netfilter', 'tproxy.nft'), ('bpf', 'connect.bpf.c')):\n"
        "    print(shipped(*where))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=inside_wheel,
        env={"PYTHONPATH": str(inside_wheel)},
        check=True,
        capture_output=True,
        text=True,
    )
    shipped_to = f"{inside_wheel}/edgemesh/_shipped"
    assert done.stdout.splitlines() == [
        f"{shipped_to}/netfilter/tproxy.nft",
        f"{shipped_to}/bpf/connect.bpf.c",
    ]
