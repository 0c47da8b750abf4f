"""Templates and what they make; Go's engine is asked for the same in a long test."""

from __future__ import annotations

from typing import Any

VALUES: dict[str, Any] = {
    "name": "web",
    "empty": "",
    "nothing": None,
    "on": True,
    "off": False,
    "count": 3,
    "zero": 0,
    "many": 1000000,
    "share": 0.5,
    "text": 'a "quoted" <b> & c\\d',
    "list": ["x", "y"],
    "none": [],
    "map": {"b": "2", "a": "1"},
    "deep": {"er": {"est": "bottom"}},
}

CASES: dict[str, str] = {
    "plain {{ .Values.name }} text": "plain web text",
    "{{ .Values.deep.er.est }}": "bottom",
    "{{ $.Values.name }}": "web",
    "a\n  {{- .Values.name }}": "aweb",
    "{{ .Values.name -}}\n  b": "webb",
    "a {{- /* nothing */ -}} b": "ab",
    "a {{/* nothing */}} b": "a  b",
    "{{ if .Values.on }}yes{{ else }}no{{ end }}": "yes",
    "{{ if .Values.empty }}yes{{ else }}no{{ end }}": "no",
    "{{ if .Values.zero }}0{{ else if .Values.none }}1{{ else if .Values.list }}2{{ end }}": "2",
    "{{ if .Values.nothing }}yes{{ end }}": "",
    "{{ if and .Values.on (not .Values.off) }}both{{ end }}": "both",
    "{{ if or .Values.off .Values.empty }}either{{ else }}neither{{ end }}": "neither",
    '{{ if eq .Values.name "api" "web" }}one of them{{ end }}': "one of them",
    '{{ if ne .Values.name "web" }}other{{ else }}same{{ end }}': "same",
    "{{ if gt (int .Values.count) 2 }}more{{ end }}": "more",
    "{{ with .Values.deep.er }}{{ .est }}{{ end }}": "bottom",
    "{{ with .Values.empty }}never{{ end }}": "",
    "{{ with .Values.name }}{{ . }}{{ $.Values.deep.er.est }}{{ end }}": "webbottom",
    "{{ range $each := .Values.list }}[{{ $each }}]{{ end }}": "[x][y]",
    "{{ range $each := .Values.list }}[{{ . }}]{{ end }}": "[x][y]",
    "{{ range $key, $value := .Values.map }}{{ $key }}{{ $value }} {{ end }}": "a1 b2 ",
    "{{ range $each := .Values.none }}never{{ end }}": "",
    '{{ range $each := list "p" "q" }}{{ $each }}{{ end }}': "pq",
    "{{ $name := .Values.name }}{{ with .Values.deep }}{{ $name }}{{ end }}": "web",
    "{{ $n := .Values.name }}{{ if .Values.on }}{{ $n := .Values.text }}{{ end }}{{ $n }}": "web",
    '{{ define "hi" }}hi {{ .name }}{{ end }}{{ include "hi" .Values }}': "hi web",
    '{{ define "lines" }}a\nb{{ end }}x:{{ include "lines" . | nindent 2 }}': "x:\n  a\n  b",
    '{{ define "roomy" }}\n a \n{{ end }}{{ include "roomy" . | trim }}': "a",
    "{{ .Values.text | quote }}": '"a \\"quoted\\" <b> & c\\\\d"',
    "{{ .Values.text | toJson }}": '"a \\"quoted\\" \\u003cb\\u003e \\u0026 c\\\\d"',
    "{{ toJson .Values.many }} {{ toJson .Values.share }}": "1000000 0.5",
    "{{ toJson .Values.map }} {{ toJson .Values.list }}": '{"a":"1","b":"2"} ["x","y"]',
    "{{ toJson .Values.nothing }} {{ toJson .Values.on }}": "null true",
    "{{ toYaml .Values.map }}": 'a: "1"\nb: "2"',
    '{{ .Values.empty | default "other" }} {{ .Values.name | default "other" }}': "other web",
    '{{ required "it is needed" .Values.name }}': "web",
    "{{ add .Values.count 15 | toJson }}": "18",
    '{{ if contains "e" .Values.name }}within{{ end }}': "within",
    "{{ .Values.name | sha256sum }}": (
        "4b5e57f6eb2f42b9039b3d1e13929295f231749c510cbe341cd68036d9af97e2"
    ),
    "{{ true | toJson }}{{ -5 | toJson }}": "true-5",
}
