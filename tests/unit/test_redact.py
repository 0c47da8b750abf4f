"""A secret does not reach the log, by whatever way it comes."""

from __future__ import annotations

import pytest

from edgemesh.observe.redact import REDACTED, redact, redact_query

CANARY = "canary-4f1d9a77c0"


@pytest.mark.parametrize(
    "fields",
    [
        {"token": CANARY},
        {"bootstrapToken": CANARY},
        {"DB_PASSWORD": CANARY},
        {"headers": {"Authorization": f"Basic {CANARY}", "Set-Cookie": CANARY}},
        {"objects": [{"client-secret": CANARY}]},
        {"api_key": [CANARY]},
        {"event": f"sent Authorization: Bearer {CANARY}"},
        {"event": f"cannot open postgresql+psycopg://mesh:{CANARY}@db.example/mesh"},
        {"pem": f"-----BEGIN EC PRIVATE KEY-----\n{CANARY}\n-----END EC PRIVATE KEY-----"},
        {"pem": f"-----BEGIN PRIVATE KEY-----\n{CANARY}"},
        {"jwt": f"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZXNoIn0.{CANARY}"},
        {"tuple": ({"password": CANARY},)},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_secret_is_not_in_the_result(fields: dict[str, object]) -> None:
    redacted = redact(fields)
    assert CANARY not in str(redacted)
    assert REDACTED in str(redacted)


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "listening", "port": 15001, "address": "[fd00::1]:80", "ok": True},
        {"url": "http://web.default:8080/a@b"},
        {"url": "sqlite:////var/lib/edgemesh/edgemesh.db"},
        {"event": "Basic check", "password": ""},
        {"nested": [{"name": "web"}, None, 1.5]},
    ],
    ids=["plain", "port", "sqlite", "words", "nested"],
)
def test_what_is_no_secret_stays(fields: dict[str, object]) -> None:
    assert redact(fields) == fields


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("page=2&q=a%20b", "page=2&q=a%20b"),
        ("token=canary&page=2", "token=[redacted]&page=2"),
        ("api%5Fkey=canary", "api%5Fkey=[redacted]"),
        ("password=&x", "password=&x"),
        ("next=eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZXNoIn0.canary", "next=[redacted]"),
        ("", ""),
    ],
)
def test_a_secret_is_not_in_a_query(query: str, shown: str) -> None:
    assert redact_query(query) == shown
