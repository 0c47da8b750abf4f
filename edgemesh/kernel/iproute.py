"""pyroute2's rtnetlink without the rest of pyroute2.

Its package imports all that it can do (network databases, nl80211, plan9, ...) with whatever of it
is asked for: 5 MiB that an agent would keep for nothing. A package that is there already is not
imported again (docs.python.org/3/reference/import.html#the-module-cache), so an empty one that
knows where its parts lie stands in for it meanwhile.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec

_before = sys.modules.get("pyroute2")
_spec = find_spec("pyroute2")
assert _spec is not None
sys.modules["pyroute2"] = _before or module_from_spec(_spec)
try:
    from pyroute2.iproute import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError
finally:
    if _before is None:
        del sys.modules["pyroute2"]

__all__ = ["IPRoute", "NetlinkError"]
