"""The chart's templates mean here what they mean to Go; what is not understood is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from gotemplate_cases import CASES, VALUES

from edgemesh.deploy.gotemplate.execute import Templates
from edgemesh.deploy.gotemplate.nodes import TemplateError
from edgemesh.deploy.gotemplate.parse import parse
from edgemesh.model.errors import OperatorError


def rendered(template: str, **more: Any) -> str:
    return Templates({"t": parse(template)}).render("t", {"Values": VALUES, **more})


@pytest.mark.parametrize(("template", "text"), CASES.items())
def test_a_template_makes_its_text(template: str, text: str) -> None:
    made = rendered(template)
    # Which quotes YAML has is its writer's choice.
    assert made == text or ("toYaml" in template and yaml.safe_load(made) == yaml.safe_load(text))


def test_templates_of_other_files_can_be_included() -> None:
    bodies = {
        "_helpers": parse('{{ define "greeting" }}hello {{ . }}{{ end }}'),
        "t": parse('{{ include "greeting" "you" }}'),
    }
    assert Templates(bodies).render("t", {}) == "hello you"


def test_a_function_that_is_given_is_called() -> None:
    files = {"Get": lambda name: f"<{name}>"}
    assert rendered('{{ .Files.Get "a.yaml" }}', Files=files) == "<a.yaml>"
    assert rendered('{{ "a.yaml" | .Files.Get }}', Files=files) == "<a.yaml>"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ('{{ required "it is needed" .Values.empty }}', "it is needed"),
        ('{{ required "it is needed" .Values.nothing }}', "it is needed"),
        ('{{ fail "not so" }}', "not so"),
    ],
)
def test_what_the_values_lack_is_the_operators_mistake(template: str, problem: str) -> None:
    with pytest.raises(OperatorError, match=problem):
        rendered(template)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ .Values.count }}", "use toJson"),
        ("{{ .Values.count | quote }}", "is no string"),
        ("{{ .Values.name.first }}", "has no 'first'"),
        ("{{ $unknown }}", "there is no variable"),
        ("{{ upper .Values.name }}", "there is no function 'upper'"),
        ('{{ include "nobody" . }}', "there is no template 'nobody'"),
        ("{{ if .Values.on }}", "an if without an end"),
        ("{{ with .Values.on }}{{ else }}{{ end }}", "is ended by"),
        ("{{ end }}", "ends nothing"),
        ("{{ range .Values.list }}{{ end }}", "needs a variable"),
        ("{{ (eq 1 1 }}", "a parenthesis is not closed"),
        ("{{ eq 1 1) }}", "is not expected"),
        ("{{ eq 1 , 1 }}", "is not expected"),
        ("{{ .Values.name | .Values.list 5 | 6 }}", "a function is expected"),
        ("{{ `raw` }}", "is not understood"),
        ("{{ }}", "a function is expected"),
    ],
)
def test_what_is_not_understood_is_refused(template: str, problem: str) -> None:
    with pytest.raises(TemplateError, match=problem):
        rendered(template)
