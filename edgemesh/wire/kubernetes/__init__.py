"""Kubernetes objects as typed, frozen views of their bodies."""

from edgemesh.wire.kubernetes.decoding import (
    Examined,
    decode,
    decode_as,
    examine,
    kind_of,
    validate,
)
from edgemesh.wire.kubernetes.fields import FieldError
from edgemesh.wire.kubernetes.tolerant import FieldProblem

__all__ = [
    "Examined",
    "FieldError",
    "FieldProblem",
    "decode",
    "decode_as",
    "examine",
    "kind_of",
    "validate",
]
