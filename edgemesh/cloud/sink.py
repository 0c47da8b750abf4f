"""Where a reflector puts what it learns."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from edgemesh.model.reflection import Change, Name, Resource


class Sink(Protocol):
    """Keeps what an API server has; a reflector calls one method at a time, and waits for it.

    A list reaches it in parts: any number of `change`, then one `keep_only`; objects that are
    known to be there already are not handed on again. Every method returns once the work is on
    disk, however often it must be tried: what it raises ends the reflector. All may be repeated.

    Several resources may be of one kind (Pods of this node, and others that a policy needs);
    `keep_only` then concerns those objects alone that the resource's selectors choose.
    """

    async def change(self, resource: Resource, changes: Sequence[Change]) -> None:
        """Take changes in order, all of them or none: one transaction.

        Args:
            resource: that they are of.
            changes: at most a few hundred. Their bodies may be kept but not altered.
        """

    async def keep_only(self, resource: Resource, names: Collection[Name]) -> None:
        """Forget whatever a resource has had beyond these: this was all.

        Args:
            resource: that was listed completely.
            names: of every object that there is; altered once this has returned.
        """

    async def missing(self, resource: Resource) -> None:
        """Hear that the server has no such resource (404): what was stored stays.

        Told once, and again only when it has been there in between.
        """
