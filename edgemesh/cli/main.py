"""The command ``edgemesh``: its groups, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from cyclopts import App, CycloptsError

from edgemesh import __version__
from edgemesh.model.errors import OperatorError

app = App(
    name="edgemesh",
    help="Transparent service mesh for edge nodes.",
    version=__version__,
    backend="trio",
)
_COMMANDS = {
    "run": ("edgemesh.cli.run:run", "Run the agent of this node."),
    "cloud": ("edgemesh.cli.cloud:app", "Run the cloud; let nodes in, shut them out."),
    "status": ("edgemesh.cli.status:status", "Show what the running agent does."),
    "doctor": (
        "edgemesh.cli.doctor:doctor",
        "Examine the host: what is missing and what mends it.",
    ),
    "trace": ("edgemesh.cli.trace:trace", "Walk a call hop by hop and name the one that fails."),
    "get": ("edgemesh.cli.objects:get", "Show objects, or how circuit breakers stand."),
    "apply": ("edgemesh.cli.objects:apply", "Create or change objects from manifests."),
    "delete": ("edgemesh.cli.objects:delete", "Delete objects."),
    "netfilter": ("edgemesh.cli.netfilter:app", "Install, remove, show and check the rules."),
    "bpf": ("edgemesh.cli.bpf:app", "Load, unload and show the BPF programs."),
    "deploy": ("edgemesh.cli.deploy:app", "Write what installs edgemesh."),
    "import": ("edgemesh.cli.imports:import_file", "Read the configuration of EdgeMesh."),
    "lab": ("edgemesh.cli.lab:app", "Nodes and pods as network namespaces of this host."),
}
for _name, (_path, _help) in _COMMANDS.items():
    # By import path: a command pays for its own imports only.
    app.command(_path, name=_name, help=_help)


def main() -> None:
    """Run one command; an operator's mistake is one line on standard error and exit code 2."""
    mistakes: list[str] = []
    try:
        app(exit_on_error=False, print_error=False)
    except* CycloptsError as group:
        mistakes += (f"{' '.join(str(each).split())} (see edgemesh --help)" for each in _all(group))
    except* OperatorError as group:
        mistakes += map(str, _all(group))
    except* BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not write to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except* KeyboardInterrupt:
        sys.exit(130)
    for mistake in mistakes:
        print(f"edgemesh: {mistake}", file=sys.stderr)
    if mistakes:
        sys.exit(2)


def _all(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    """The errors of a group, however deep: each nursery on the way adds a level."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _all(error)
        else:
            yield error


if __name__ == "__main__":
    main()
