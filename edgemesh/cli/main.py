"""The command ``edgemesh``: its groups, and the one place where errors become exit codes."""

from __future__ import annotations

import sys

from cyclopts import App, CycloptsError

from edgemesh import __version__
from edgemesh.model.errors import OperatorError

app = App(
    name="edgemesh",
    help="Transparent service mesh for edge nodes.",
    version=__version__,
    backend="trio",
)
# By import path: a command pays for its own imports only.
app.command("edgemesh.cli.run:run", name="run")
app.command("edgemesh.cli.objects:apply", name="apply")
app.command("edgemesh.cli.objects:get", name="get")
app.command("edgemesh.cli.objects:delete", name="delete")
app.command("edgemesh.cli.netfilter:app", name="netfilter")
app.command("edgemesh.cli.lab:app", name="lab")
app.command("edgemesh.cli.status:status", name="status")
app.command("edgemesh.cli.doctor:doctor", name="doctor")
app.command("edgemesh.cli.trace:trace", name="trace")


def main() -> None:
    """Run one command; an operator's mistake is one line on standard error and exit code 2."""
    try:
        app(exit_on_error=False, print_error=False)
    except CycloptsError as error:
        print(f"edgemesh: {' '.join(str(error).split())} (see edgemesh --help)", file=sys.stderr)
        sys.exit(2)
    except OperatorError as error:
        print(f"edgemesh: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
