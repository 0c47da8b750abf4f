"""The guard: a tiny process that cleans up after an agent that could not do so itself.

``python -I -S guard_process.py AGENT_PID PATIENCE_SECONDS``, started by guard.py.

Its standard input is a pipe from the agent: one line that says what there is to clean up, a
heartbeat each second, and a farewell when the agent has cleaned up itself. The pipe's end without
a farewell means that the agent was killed or has failed: iptables rules, policy routes and
addresses outlive their maker, and would lead calls to nobody.

It is the watchdog too. An agent that hangs (SIGSTOP, a swap storm) still owns its rules, and
calls would wait for ever: without a heartbeat for PATIENCE_SECONDS the agent is killed.

It lives as long as the agent does, so it imports next to nothing, and has 2.4 MiB of its own. To
clean up it becomes another process, `remains`.
"""

from __future__ import annotations

# The module signal imports enum, which is a MiB.
import _signal as signal  # type: ignore[import-not-found]
import os
import select
import sys

HEARTBEAT = b"."
FAREWELL = b"f"

_PIPE = 0
_LOOK_SECONDS = 1
# How the agent ended, as far as the guard can tell.
_TOOK_ITS_LEAVE, _GONE, HUNG = "took its leave", "gone", "hung"


def main() -> None:
    """Wait for the agent's end; clean up unless it took its leave."""
    # A service manager signals all processes of a service at once, but this one goes last.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # This is what its watchdog sends them (systemd.service(5), WatchdogSignal).
    signal.signal(signal.SIGABRT, signal.SIG_IGN)
    try:
        agent = os.pidfd_open(int(sys.argv[1]))
    except ProcessLookupError:
        return  # It had not installed anything before its guard was ready.
    remains = _first_line()
    end = _watch(agent, float(sys.argv[2]))
    if end == _TOOK_ITS_LEAVE:
        return
    # Of a dying process the pipe may be closed first, and the socket that its nft table belongs
    # to only later. A pidfd is readable when all is closed.
    select.select([agent], [], [])
    _become_cleaner(remains, end)


def _become_cleaner(remains: bytes, end: str) -> None:
    """Go on as `remains`, with the line as its standard input; what is open stays so."""
    line = os.memfd_create("remains")
    os.write(line, remains)
    os.lseek(line, 0, os.SEEK_SET)
    os.dup2(line, _PIPE)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "edgemesh.app.remains", end])  # noqa: S606


def _first_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(_PIPE, 1)
        if not byte:
            sys.exit(0)
        line += byte
    return line


def _watch(agent: int, patience_seconds: float) -> str:
    """Read the pipe to its end; kill the agent when the heartbeat stops before."""
    poll = select.poll()
    poll.register(_PIPE, select.POLLIN)
    end = _GONE
    last = b""
    silent_seconds = 0
    while True:
        # The watch begins with the first heartbeat, and with its death it is over.
        watching = patience_seconds and last and end != HUNG
        if poll.poll(_LOOK_SECONDS * 1000 if watching else None):
            heard = os.read(_PIPE, 4096)
            if not heard:
                return _TOOK_ITS_LEAVE if last.endswith(FAREWELL) else end
            last = heard
            silent_seconds = 0
            continue
        # Looks are counted, not time: where all processes were stopped for a while, as with a
        # virtual machine, the agent had no more time to beat than we had to look.
        silent_seconds += _LOOK_SECONDS
        if silent_seconds >= patience_seconds:
            end = HUNG
            try:  # noqa: SIM105 - contextlib would be imported for it
                signal.pidfd_send_signal(agent, signal.SIGKILL)
            except ProcessLookupError:
                pass


if __name__ == "__main__":
    main()
