"""The chart makes the same objects for Helm, which renders it with Go, as for `deploy render`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_values import VALUE_SETS
from gotemplate_cases import CASES, VALUES
from requirement import unmet

from edgemesh.deploy.chart import chart_directory, default_values, render
from edgemesh.deploy.values import combine

pytestmark = pytest.mark.long

SOURCE = Path(__file__).parents[1] / "helm/render.go"
# Debian's packages of Go's libraries lie where GOPATH once meant them to.
LIBRARIES = Path("/usr/share/gocode")
NEEDED = ("github.com/Masterminds/sprig", "sigs.k8s.io/yaml")
PACKAGES = "golang-go golang-github-masterminds-sprig-dev golang-k8s-sigs-yaml-dev"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Go's template engine with sprig, compiled."""
    if not shutil.which("go") or not all((LIBRARIES / "src" / name).is_dir() for name in NEEDED):
        unmet(f"apt-get install {PACKAGES}")
    folder = tmp_path_factory.mktemp("helm")
    paths = {"GOPATH": str(LIBRARIES), "GOCACHE": str(folder / "cache"), "GO111MODULE": "off"}
    command = ["go", "build", "-o", str(folder / "render"), str(SOURCE)]
    subprocess.run(command, env=os.environ | paths, check=True)
    return folder / "render"


def go(engine: Path, chart: Path, given: dict[str, Any]) -> dict[str, str]:
    """By template file, what Go makes of it."""
    asked = json.dumps({"chart": str(chart), "given": given}).encode()
    answered = subprocess.run([engine], input=asked, capture_output=True, check=False)
    assert answered.returncode == 0, answered.stderr.decode()
    made: dict[str, str] = json.loads(answered.stdout)
    return made


def helm(engine: Path, namespace: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    facts = yaml.safe_load((chart_directory() / "Chart.yaml").read_text())
    given = {
        "Values": values,
        "Release": {"Namespace": namespace},
        "Chart": {"AppVersion": facts["appVersion"]},
    }
    return [
        body
        for text in go(engine, Path(str(chart_directory())), given).values()
        for body in yaml.safe_load_all(text)
        if body is not None
    ]


def by_name(bodies: list[dict[str, Any]]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for body in bodies:
        yield (body["kind"], body["metadata"]["name"]), body


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", VALUE_SETS)
def test_every_object_is_the_same(engine: Path, name: str) -> None:
    values = combine(default_values(), [VALUE_SETS[name]])
    theirs = dict(by_name(helm(engine, "mesh", values)))
    ours = dict(by_name([each.body for each in render("mesh", [VALUE_SETS[name]])]))
    assert theirs.keys() == ours.keys()
    for key, body in ours.items():
        assert theirs[key] == body, key


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "cloud.address is needed"),
        ({"cloud": {"address": "a", "replicas": 2}}, "several replicas need"),
    ],
)
def test_what_contradicts_itself_is_refused(
    engine: Path, given: dict[str, Any], problem: str
) -> None:
    with pytest.raises(AssertionError, match=problem):
        helm(engine, "mesh", combine(default_values(), [given]))


@pytest.mark.timeout(300)
def test_what_templates_mean_is_what_they_mean_to_go(engine: Path, tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    for number, template in enumerate(CASES):
        (folder / f"{number:03}.yaml").write_text(template)
    made = go(engine, tmp_path, {"Values": VALUES})
    assert dict(zip(CASES, (made[name] for name in sorted(made)), strict=True)) == CASES
