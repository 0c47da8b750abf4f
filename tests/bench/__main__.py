"""The command line of the harness; ``scripts/bench`` calls it."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from pathlib import Path

import trio

from bench.benches import Bench, Options
from bench.loads import Timing
from bench.remains import remove_remains, temporary_directory
from bench.results import Results, write
from edgemesh.model.errors import OperatorError


def main() -> int:
    """Run one bench, print its table, write its JSON and its plot."""
    arguments = _parse()
    try:
        # The wrapper has made sure that there is a file of this name.
        bench: Bench = importlib.import_module(f"bench.benches.{arguments.name}").BENCH
        with temporary_directory() as directory:
            results = trio.run(
                _run_until_signal, bench, _options(bench, arguments, Path(directory))
            )
    except OperatorError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        # Before the receiver of signals is there, nothing is started yet.
        results = None
    if results is None:
        print("bench: stopped; nothing is left behind and nothing was written", file=sys.stderr)
        return 130
    written = write(results, arguments.out)
    bench.draw(results, written.with_suffix(".png"))
    print(bench.tell(results))
    print(f"\n{written} and {written.with_suffix('.png')}")
    return 0


async def _run_until_signal(bench: Bench, options: Options) -> Results | None:
    """The results, None when a signal came first; everything started is ended in either case."""
    results: Results | None = None
    failure: OperatorError | None = None

    async def stop_on_signal() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_on_signal)
        try:
            await remove_remains()
            results = await bench.run(options)
        except OperatorError as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return results


def _options(bench: Bench, arguments: argparse.Namespace, directory: Path) -> Options:
    return Options(
        rounds=arguments.rounds,
        timing=Timing(arguments.warmup, arguments.seconds or bench.seconds),
        cases=arguments.cases,
        subjects=arguments.subjects,
        directory=directory,
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("name", help="the bench, a file of tests/bench/benches")
    parser.add_argument("--rounds", type=_count, default=10, help="default: 10")
    parser.add_argument("--seconds", type=float, help="of each measurement; default: the bench's")
    parser.add_argument("--warmup", type=float, default=0.3, help="seconds before each")
    parser.add_argument("--subjects", type=_names, default=(), help="names, with commas between")
    parser.add_argument("--cases", type=_names, default=(), help="names, with commas between")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="directory")
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


if __name__ == "__main__":
    sys.exit(main())
