"""``edgemesh deploy render`` and ``chart``: what installs edgemesh on Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgemesh.deploy.chart import chart_directory
from edgemesh.deploy.chart import render as render_chart
from edgemesh.deploy.values import read_assignment
from edgemesh.deploy.yaml_text import read_file, read_mapping


def render(
    *,
    assigned: Annotated[
        list[str] | None,
        Parameter(
            name="--set", negative="", help="key=value, over everything else; may be repeated."
        ),
    ] = None,
    values: Annotated[
        list[Path] | None, Parameter(negative="", help="A YAML file of values; may be repeated.")
    ] = None,
    namespace: Annotated[str, Parameter(name=["--namespace", "-n"])] = "edgemesh",
) -> None:
    """Print the objects of an installation as YAML, for kubectl apply -f -.

    They are those of the Helm chart, and the namespace. What can be set, and what it means,
    stands in the chart's values.yaml; see edgemesh deploy chart.

    Args:
        assigned: for example cloud.address=mesh.example.org.
        values: files, each over those before it.
        namespace: for everything that lives in one.
    """
    layers = [{"namespace": {"create": True}}]
    layers += [read_mapping(read_file(path), str(path)) for path in values or ()]
    layers += [read_assignment(text) for text in assigned or ()]
    print("---\n".join(document.text for document in render_chart(namespace, layers)), end="")


def chart() -> None:
    """Print where the Helm chart lies, for helm install edgemesh "$(edgemesh deploy chart)"."""
    print(chart_directory())
