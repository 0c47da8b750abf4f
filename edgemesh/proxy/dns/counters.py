"""What the resolver counts about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class DnsCounters:
    """Since the start.

    Args:
        cluster: questions answered from the snapshot.
        cached: questions answered from the cache.
        asked: questions put to upstream servers.
        stale: answers given out after their time, because no upstream server answered.
        failed: questions that got SERVFAIL because no upstream server answered.
        refused: clients that got SERVFAIL because too many were waiting.
        malformed: messages that were no query we take.
        unsent: answers that the kernel did not take.
    """

    cluster: int = 0
    cached: int = 0
    asked: int = 0
    stale: int = 0
    failed: int = 0
    refused: int = 0
    malformed: int = 0
    unsent: int = 0
