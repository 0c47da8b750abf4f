"""``edgemesh deploy``: what installs edgemesh, for hosts and for clusters."""

from __future__ import annotations

from cyclopts import App

app = App(
    name="deploy", help="Write what installs edgemesh: objects of Kubernetes, units of systemd."
)
app.command(
    "edgemesh.cli.systemd:systemd", name="systemd", help="Write a unit for this host's systemd."
)
app.command(
    "edgemesh.cli.kubernetes:render", name="render", help="Print the objects of an installation."
)
app.command("edgemesh.cli.kubernetes:chart", name="chart", help="Print where the Helm chart lies.")
