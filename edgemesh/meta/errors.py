"""Refusals of the metamanager, as both ends of its socket know them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from edgemesh.model.errors import OperatorError


class Code(StrEnum):
    """Why a request was refused; names are Kubernetes' where it has one (``metav1.Status``)."""

    BAD_REQUEST = "BadRequest"
    INVALID = "Invalid"
    NOT_FOUND = "NotFound"
    CONFLICT = "Conflict"
    FORBIDDEN = "Forbidden"
    TOO_LARGE = "RequestEntityTooLarge"
    EXPIRED = "Expired"
    UNAVAILABLE = "ServiceUnavailable"


class RefusedError(OperatorError):
    """A request that changed nothing.

    Args:
        code: why.
        problem: what is wrong, naming the object and the field.
        remedy: what to do about it.
        objects: of NOT_FOUND, each object that is not there, as ``Kind namespace/name``.
    """

    def __init__(
        self, code: Code, problem: str, remedy: str = "", objects: Sequence[str] = ()
    ) -> None:
        super().__init__(problem, remedy)
        self.code = code
        self.objects = tuple(objects)

    def content(self) -> dict[str, Any]:
        """The content of an ``error`` Message."""
        content = {"code": self.code.value, "problem": self.problem, "remedy": self.remedy}
        return {**content, "objects": list(self.objects)} if self.objects else content


def refused_from_content(content: Any) -> RefusedError:
    """The refusal that an ``error`` Message carries; text alone, as KubeEdge sends, will do."""
    if not isinstance(content, dict):
        return RefusedError(Code.BAD_REQUEST, str(content))
    code = content.get("code")
    return RefusedError(
        Code(code) if code in set(Code) else Code.BAD_REQUEST,
        str(content.get("problem", "")),
        str(content.get("remedy", "")),
        [str(name) for name in content.get("objects", ())],
    )
