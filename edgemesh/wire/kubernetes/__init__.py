"""Kubernetes objects as typed, frozen views of their bodies."""

from edgemesh.wire.kubernetes.decoding import decode, decode_as, kind_of, validate
from edgemesh.wire.kubernetes.fields import FieldError

__all__ = ["FieldError", "decode", "decode_as", "kind_of", "validate"]
