"""Service ports declare their application protocol by field or by name."""

from __future__ import annotations

import pytest

from edgemesh.policy.protocol import declared_protocol


@pytest.mark.parametrize(
    ("app_protocol", "protocol"),
    [
        ("http", "http"),
        ("HTTP", "http"),
        ("https", "tls"),
        ("http2", "http2"),
        ("kubernetes.io/h2c", "http2"),
        ("kubernetes.io/ws", "http"),
        ("kubernetes.io/wss", "tls"),
        ("grpc", "grpc"),
        ("grpc-web", "http"),
        ("tls", "tls"),
        ("tcp", "tcp"),
        ("mysql", "tcp"),
        ("ssh", "tcp"),
        ("example.com/own", "tcp"),
    ],
)
def test_the_field_goes_before_the_name(app_protocol: str, protocol: str) -> None:
    assert declared_protocol(app_protocol, "http-0") == protocol


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("http-0", "http"),
        ("http", "http"),
        ("grpc-api", "grpc"),
        ("grpc-web", "http"),
        ("grpc-web-1", "http"),
        ("tcp-0", "tcp"),
        ("udp-0", "udp"),
        ("https", "tls"),
        ("tls-x", "tls"),
        ("http2-a", "http2"),
        ("", ""),
        ("web", ""),
        ("httpx", ""),
        ("a-http", ""),
    ],
)
def test_without_the_field_the_prefix_of_the_name_counts(name: str, protocol: str) -> None:
    assert declared_protocol("", name) == protocol
