"""Does nothing until it is ended: a pod to make calls from."""

from __future__ import annotations

import trio

from edgemesh.lab.apps.serving import tell_ready


def main() -> None:
    """Stay."""
    tell_ready()
    trio.run(trio.sleep_forever)


if __name__ == "__main__":
    main()
