"""`edgemesh deploy render`: which of several values counts, and what no value can do."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_values import ADDRESS
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemesh.cli.kubernetes import chart, render
from edgemesh.deploy import chart as deployed
from edgemesh.deploy.values import read_assignment
from edgemesh.model.errors import OperatorError

TEXTS = [
    "image.repository",
    "image.tag",
    "agent.server",
    "agent.priorityClassName",
    "cloud.server",
    "cloud.postgresql.secretName",
    "cloud.persistence.storageClassName",
    "podMonitor.interval",
]

# By which every text is somewhere among the objects. The definitions have none, and take long.
ALL_TEXTS: list[dict[str, Any]] = [
    ADDRESS,
    {"agent": {"follow": "kubernetes"}, "podMonitor": {"enabled": True}},
    {"crds": {"trafficPolicy": False}},
]


def printed(capsys: pytest.CaptureFixture[str]) -> dict[tuple[str, str], dict[str, Any]]:
    bodies = yaml.safe_load_all(capsys.readouterr().out)
    return {(body["kind"], body["metadata"]["name"]): body for body in bodies}


def test_what_is_set_counts_more_than_files_and_later_files_more_than_earlier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("cloud: {address: a.example, replicas: 1}\nimage: {repository: a, tag: '1'}")
    second.write_text("image: {repository: b, tag: '2'}")
    render(values=[first, second], assigned=["image.tag='3'", "agent.maxUnavailable=2"])
    [container] = printed(capsys)["DaemonSet", "edgemesh-agent"]["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["image"] == "b:3"


def test_objects_go_to_the_namespace_that_is_named_and_it_is_among_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    render(assigned=["cloud.address=a"], namespace="mesh")
    found = printed(capsys)
    assert ("Namespace", "mesh") in found
    assert {
        body["metadata"]["namespace"] for body in found.values() if "namespace" in body["metadata"]
    } == {"mesh"}


def test_the_command_prints_one_line_about_a_mistake_and_exits_with_2() -> None:
    command = [sys.executable, "-m", "edgemesh.cli.main", "deploy", "render"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("edgemesh: cloud.address is needed")
    assert len(done.stderr.splitlines()) == 1


def test_the_chart_is_where_the_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    chart()
    folder = Path(capsys.readouterr().out.strip())
    assert {"Chart.yaml", "values.yaml", "values.schema.json", "templates"} <= {
        each.name for each in folder.iterdir()
    }


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=c", {"a": {"b": "c"}}),
        ("a=5", {"a": 5}),
        ("a='5'", {"a": "5"}),
        ("a=[x, y]", {"a": ["x", "y"]}),
        ("a={}", {"a": {}}),
        ("a=", {"a": ""}),
        ("a= ", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        (r"a.b\.c/d=e", {"a": {"b.c/d": "e"}}),
    ],
)
def test_an_assignment_is_read(text: str, values: dict[str, Any]) -> None:
    assert read_assignment(text) == values


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a", "is not KEY=VALUE"),
        ("=a", "is not KEY=VALUE"),
        ("a=[", "--set a: document 1"),
        ("a=b\n---\nc", "expected one value"),
    ],
)
def test_what_is_no_assignment_is_refused(text: str, problem: str) -> None:
    with pytest.raises(OperatorError, match=problem):
        read_assignment(text)


@pytest.mark.parametrize("namespace", ["", "Mesh", "a: b", "-a", "a" * 64])
def test_what_cannot_be_a_namespace_is_refused(namespace: str) -> None:
    with pytest.raises(OperatorError, match="is no name"):
        deployed.render(namespace, [ADDRESS])


@pytest.mark.parametrize("name", ["no.yaml", "wrong.yaml"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "wrong.yaml").write_text("a: [")
    with pytest.raises(OperatorError, match=name):
        render(values=[tmp_path / name])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


@functools.cache
def _plain() -> list[tuple[str, str]]:
    bodies = [each.body for each in deployed.render("mesh", ALL_TEXTS)]
    return [(body["kind"], body["metadata"]["name"]) for body in bodies]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(TEXTS),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
def test_no_text_breaks_out_of_its_place(path: str, text: str) -> None:
    first, *others = reversed(path.split("."))
    layer: dict[str, Any] = {first: text}
    for key in others:
        layer = {key: layer}
    bodies = [each.body for each in deployed.render("mesh", [*ALL_TEXTS, layer])]
    allowed = {"PersistentVolumeClaim"} if path == "cloud.postgresql.secretName" else set()
    kinds = [(body["kind"], body["metadata"]["name"]) for body in bodies]
    assert kinds == [each for each in _plain() if each[0] not in allowed]
    assert any(text in found for body in bodies for found in _texts(body))
