"""What an agent leaves in the kernel when it is killed, told to its guard and cleared away.

``python -m edgemesh.app.remains gone|hung`` is what the guard becomes to do it: the line that it
was told is standard input.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgemesh.app.added_addresses import record_path, remove_added_addresses
from edgemesh.app.guard_process import HUNG
from edgemesh.kernel.netfilter import open_interception
from edgemesh.model.errors import OperatorError
from edgemesh.model.observe_settings import LogSettings
from edgemesh.model.settings import NetfilterSettings, ProxySettings, Settings
from edgemesh.observe.log import configure_logging, get_logger

_log = get_logger("guard")


@dataclass(frozen=True, slots=True)
class Remains:
    """What there is to clear away.

    Args:
        netfilter, proxy: as the rules were installed.
        address_record: path of the record of added addresses.
        log: where to tell about it.
    """

    netfilter: NetfilterSettings
    proxy: ProxySettings
    address_record: str
    log: LogSettings


def encode_remains(settings: Settings) -> bytes:
    """One line for the guard."""
    record = str(record_path(settings))
    remains = Remains(settings.netfilter, settings.proxy, record, settings.log)
    return msgspec.json.encode(remains) + b"\n"


def clear_away(line: bytes, *, hung: bool) -> None:
    """Remove rules, routes and addresses, and log that it was done and why.

    Args:
        line: from `encode_remains`.
        hung: whether the agent was killed because it had stopped to answer.
    """
    remains = msgspec.json.decode(line, type=Remains)
    sink = configure_logging(remains.log)
    try:
        if hung:
            seconds = remains.netfilter.watchdog_seconds
            _log.error("the agent hung and was killed", silent_seconds=seconds)
        _remove(remains)
    except OperatorError as error:
        _log.error("what the agent left cannot be removed", problem=str(error))
    else:
        _log.warning("the agent is gone, and calls go as if it had never been there")
    finally:
        sink.close()


def _remove(remains: Remains) -> None:
    if remains.netfilter.enabled:
        interception = open_interception(remains.netfilter, remains.proxy, owned=True)
        interception.remove()
    remove_added_addresses(Path(remains.address_record))


if __name__ == "__main__":
    clear_away(sys.stdin.buffer.read(), hung=sys.argv[1] == HUNG)
