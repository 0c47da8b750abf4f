"""The zone that we answer for: the cluster's domain and what is said about it as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgemesh.wire.dns.names import LONGEST_NAME, FormatError, from_labels, from_text, to_labels
from edgemesh.wire.dns.records import Record, soa_record

# Three full labels and "svc" must fit below it: host, service, namespace.
_LONGEST_DOMAIN: Final = LONGEST_NAME - 3 * 64 - len(b"\3svc")


@dataclass(frozen=True, slots=True)
class Zone:
    """The cluster's domain.

    Args:
        domain: canonical.
        ttl: of answers, in seconds.
        negative_ttl: of denials, in seconds.
    """

    domain: bytes
    ttl: int
    negative_ttl: int

    @classmethod
    def of(cls, domain: str, ttl: int, negative_ttl: int) -> Zone:
        """The zone of a domain in text.

        Raises:
            FormatError: it is no domain name, or names of Services would not fit below it.
        """
        name = from_text(domain)
        if not 1 < len(name) <= _LONGEST_DOMAIN:
            raise FormatError(f"{domain!r} has not 1 to {_LONGEST_DOMAIN - 2} characters")
        return cls(name, ttl, negative_ttl)

    def relative(self, name: bytes) -> tuple[str, ...] | None:
        """The labels of a canonical name below the domain, the rightmost first.

        Bytes outside ASCII become characters that no Kubernetes name has; ``below`` turns them
        back.

        Returns:
            None when the name is outside the domain.
        """
        own = to_labels(self.domain)
        labels = to_labels(name)
        if labels[-len(own) :] != own:
            return None
        return tuple(label.decode("latin-1") for label in reversed(labels[: -len(own)]))

    def below(self, *labels: str) -> bytes:
        """The name with these labels, the leftmost first, below the domain.

        Raises:
            FormatError: they do not make a name.
        """
        own = tuple(label.encode("latin-1") for label in labels)
        return from_labels((*own, *to_labels(self.domain)))

    def start(self, owner: bytes, revision: int) -> Record:
        """The SOA record that comes with denials (RFC 2308 section 3).

        Its TTL is the denial's, as RFC 2308 section 5 takes the lesser of both.
        """
        return soa_record(
            owner,
            self.negative_ttl,
            server=self.below("ns", "dns"),
            mailbox=self.below("hostmaster"),
            serial=revision,
            minimum=self.negative_ttl,
        )
