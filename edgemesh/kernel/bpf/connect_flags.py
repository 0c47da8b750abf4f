"""The few endpoints of the connect path that are not as the others are, and why."""

from __future__ import annotations

from collections.abc import Sequence

from edgemesh.kernel.bpf import connect_layout as layout
from edgemesh.kernel.bpf.connect_layout import EndpointFlag
from edgemesh.kernel.bpf.connect_word import AgentWord
from edgemesh.kernel.bpf.maps import Map


class EndpointFlags:
    """What is in ``endpoint_flags``.

    Args:
        flags: the map, empty, which stays the caller's.
        word: where programs are told whether to look there.
    """

    def __init__(self, flags: Map, word: AgentWord) -> None:
        self._map = flags
        self._word = word
        self._flags: dict[int, EndpointFlag] = {}

    def set(self, endpoint_id: int, flag: EndpointFlag, *, on: bool) -> None:
        """Give an endpoint a flag or take it away."""
        before = self._flags.get(endpoint_id, EndpointFlag(0))
        after = before | flag if on else before & ~flag
        if after == before:
            return
        if after:
            self._flags[endpoint_id] = after
            self._map.update(layout.NUMBER.pack(endpoint_id), layout.NUMBER.pack(after))
            self._word.flag_endpoints(True)
        else:
            self.forget([endpoint_id])

    def forget(self, endpoint_ids: Sequence[int]) -> None:
        """Take all flags of these endpoints away."""
        self._map.delete_many([layout.NUMBER.pack(each) for each in endpoint_ids])
        for endpoint_id in endpoint_ids:
            self._flags.pop(endpoint_id, None)
        self._word.flag_endpoints(bool(self._flags))

    def clear(self) -> None:
        """Take all flags away."""
        self._map.clear()
        self._flags.clear()
        self._word.flag_endpoints(False)
