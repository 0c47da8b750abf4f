"""``edgemesh deploy``: what installs edgemesh, for hosts and for clusters."""

from __future__ import annotations

from cyclopts import App

app = App(name="deploy", help="Write what installs edgemesh: units of systemd.")
app.command(
    "edgemesh.cli.systemd:systemd", name="systemd", help="Write a unit for this host's systemd."
)
