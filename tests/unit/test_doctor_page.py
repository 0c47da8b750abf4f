"""The doctor's findings read as a page that ends with a verdict."""

from __future__ import annotations

from edgemesh.app.prerequisites import Check, State
from edgemesh.cli.doctor_page import doctor_page

PYTHON = Check("host", State.MET, "Python 3.11.2")
BCC = Check("bpf", State.LACKING, "bcc module: none", "apt-get install python3-bpfcc")
PORT = Check("ports", State.MISSING, "TCP port 15001: taken by process 7 (nc)", "kill 7")
CLOCK = Check("host", State.MET, "clock: 2026-11-22")


def test_checks_stand_by_group_with_their_remedies() -> None:
    assert doctor_page([PYTHON, BCC, PORT, CLOCK], colours=False).splitlines() == [
        "host",
        "  ok       Python 3.11.2",
        "  ok       clock: 2026-11-22",
        "bpf",
        "  lacking  bcc module: none",
        "             -> apt-get install python3-bpfcc",
        "ports",
        "  MISSING  TCP port 15001: taken by process 7 (nc)",
        "             -> kill 7",
        "edgemesh cannot run as configured: 1 missing",
    ]


def test_what_can_be_done_without_does_not_stop_anyone() -> None:
    page = doctor_page([PYTHON, BCC], colours=False)
    assert page.endswith("edgemesh can run; 1 lacking that it can do without")


def test_a_host_that_has_everything_is_told_so() -> None:
    assert doctor_page([PYTHON], colours=False).endswith("edgemesh can run; nothing is missing")


def test_only_a_terminal_gets_colours() -> None:
    assert "\x1b" not in doctor_page([PYTHON, BCC, PORT], colours=False)
    page = doctor_page([PYTHON, BCC, PORT], colours=True)
    assert all(colour in page for colour in ("\x1b[32mok", "\x1b[33mlacking", "\x1b[31mMISSING"))
