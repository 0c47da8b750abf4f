"""What HTTPRoutes and GRPCRoutes have in common: conditions on headers, changes of them, backends.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule and #grpcrouterule
"""

from __future__ import annotations

from typing import ClassVar, Literal

from edgemesh.wire.kubernetes.gateway_api.references import BackendReference
from edgemesh.wire.kubernetes.parsed import ChangeableHeader
from edgemesh.wire.kubernetes.quantities import HeaderName, HeaderValue, Text, pattern_problem
from edgemesh.wire.kubernetes.tolerant import PolicyView

ValueMatchType = Literal["Exact", "RegularExpression"]


class HeaderMatch(PolicyView, frozen=True, kw_only=True):
    """A condition on a header."""

    whole: ClassVar[bool] = True

    type: ValueMatchType = "Exact"
    name: HeaderName
    value: Text

    def check(self) -> str:
        """Refuse a pattern that cannot be used."""
        return pattern_problem(self.value) if self.type == "RegularExpression" else ""


class Header(PolicyView, frozen=True, kw_only=True):
    """A header and its value."""

    name: ChangeableHeader
    value: HeaderValue


class HeaderFilter(PolicyView, frozen=True, kw_only=True):
    """Changes to the headers of one message."""

    set: tuple[Header, ...] = ()
    add: tuple[Header, ...] = ()
    remove: tuple[ChangeableHeader, ...] = ()


class HeadersFilter(PolicyView, frozen=True, kw_only=True):
    """A filter that changes headers, which is all that backends and GRPCRoutes may have."""

    unsupported: ClassVar[frozenset[str]] = frozenset(
        {"requestMirror", "extensionRef", "cors", "requestRedirect", "urlRewrite"}
    )

    type: str
    request_header_modifier: HeaderFilter | None = None
    response_header_modifier: HeaderFilter | None = None


class FilteredBackend(BackendReference, frozen=True, kw_only=True):
    """A backend with filters for what it gets and answers."""

    filters: tuple[HeadersFilter, ...] = ()
