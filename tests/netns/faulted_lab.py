"""Two edge nodes and their cloud, an application on one, callers on the other, to be disturbed.

Each process may be killed, frozen or given another time of day; each way between them cut.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import trio
from lab_homes import manifest_of, pods_of

from edgemesh.lab import agents, cluster, processes, rollout, topology
from edgemesh.lab.configuration import environment
from edgemesh.lab.network import command_in
from edgemesh.lab.processes import Process
from edgemesh.lab.state import Home, State, load
from edgemesh.meta.client import connect
from edgemesh.model.settings import MetaSettings
from edgemesh.wire.message import Operation

ADDRESS = "10.96.77.7"
CALLING, SERVING, CLOUD = "edge-1", "edge-2", "hub"
PROCESSES = (CALLING, SERVING, CLOUD)

_MANIFEST = f"""
apiVersion: v1
kind: Service
metadata: {{name: app}}
spec:
  clusterIP: {ADDRESS}
  selector: {{app: app}}
  ports:
  - {{name: http, port: 80, targetPort: 8080, protocol: TCP}}
  - {{name: tcp, port: 7000, targetPort: 7000, protocol: TCP}}
  - {{name: udp, port: 5300, targetPort: 5300, protocol: UDP}}
""" + "".join(
    f"""
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      nodeName: {node}
      containers:
      - {{name: {name}, image: serve_hostname, args: [--http=true]}}
"""
    for name, node in (("app", SERVING), ("caller", CALLING))
)
# So that breaks are noticed within what a test may take.
_SETTINGS = {
    "bus": {
        "probe_seconds": 1.0,
        "link_silence_seconds": 5.0,
        "keepalive_seconds": 1.0,
        "silence_seconds": 5.0,
        "first_retry_seconds": 0.2,
        "max_retry_seconds": 1.0,
        "stream_linger_seconds": 5.0,
    },
    "cloud": {"silence_seconds": 5.0},
    # Who is frozen is to go on; that the guard ends who hangs is proved elsewhere.
    "netfilter": {"watchdog_seconds": 30.0},
    "proxy": {"udp_idle_timeout_seconds": 2.0},
    "http": {"idle_connection_seconds": 2.0, "request_timeout_seconds": 8.0},
}
_CUT = "edgemesh-test-cut"


class Counts(NamedTuple):
    """What a process holds.

    Args:
        descriptors: open files.
        threads: of the process.
        streams: of its links.
        flows: TCP and UDP.
        resident_bytes: of memory.
    """

    descriptors: int
    threads: int
    streams: int
    flows: int
    resident_bytes: int


class FaultedLab:
    """See the module; made by `faulted_lab`.

    Attributes:
        executed: file with a line for each call that the application carried out.
        records: file with a line for each call that was made.
    """

    def __init__(self, home: Home, executed: Path, records: Path) -> None:
        self._home = home
        self.executed = executed
        self.records = records
        self._application: Process | None = None
        self._starting = trio.Lock()

    @property
    def state(self) -> State:
        return load(self._home)

    def process(self, name: str) -> Process:
        state = self.state
        found = state.hub if name == CLOUD else state.agents[name]
        assert found is not None
        return found

    def signal(self, name: str, number: signal.Signals) -> None:
        process = self.process(name)
        assert process.alive, f"{name} ended by itself: {self.log(name)[-2000:]}"
        os.kill(process.pid, number)

    def log(self, name: str) -> str:
        file = self._home.hub_log if name == CLOUD else self._home.agent_log(name)
        return file.read_text() if file.exists() else ""

    def last_words(self, name: str) -> list[str]:
        """Of its log, without reports of flows."""
        lines = self.log(name).splitlines()
        return [line[:300] for line in lines if '"event":"flow"' not in line][-40:]

    async def kill(self, name: str) -> None:
        """Kill -9; returns when it is gone."""
        pid = self.process(name).pid
        self.signal(name, signal.SIGKILL)
        await trio.to_thread.run_sync(os.waitpid, pid, 0)

    async def start(self, name: str) -> None:
        """Start again what was killed; returns when it serves."""
        # One at a time: they take their surroundings from this process, and note what they are.
        async with self._starting:
            await self._start(name)

    async def _start(self, name: str) -> None:
        with self._stepped_clock(name):
            if name == CLOUD:
                await cluster.start_hub(self._home)
            else:
                # As long as others are disturbed, it may take any time until all agree.
                await agents.start_agents(self._home, self.state, [self.state.node(name)])

    def set_clock(self, name: str, seconds: int) -> None:
        """Let a process see a time of day so far from the real one."""
        file = self._clock_file(name)
        file.touch()
        # In place: the process has mapped it.
        with file.open("r+b") as opened:
            opened.write(struct.pack("=q", seconds))

    @asynccontextmanager
    async def cut(self, node: str, port: int, verdict: str) -> AsyncIterator[None]:
        """Nothing of a port gets through at a node.

        Args:
            node: of the two.
            port: at either end.
            verdict: ``drop``, which tells nobody, or ``reject with tcp reset``.
        """
        where = self.state.node(node).namespace
        table = f"{_CUT}-{port}"
        hooks = "".join(
            f" chain {hook} {{ type filter hook {hook} priority 0;"
            f" tcp dport {port} {verdict}; tcp sport {port} {verdict}; }}\n"
            for hook in ("input", "output")
        )
        await _run(command_in(where, ["nft", "-f", "-"]), f"table inet {table} {{\n{hooks}}}\n")
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await _run(command_in(where, ["nft", "delete", "table", "inet", table]))

    async def part(self) -> None:
        """The edge nodes reach each other no more; their link is half open."""
        await trio.to_thread.run_sync(topology.part, self.state.nodes)

    async def join(self) -> None:
        await trio.to_thread.run_sync(topology.join, self.state.nodes)

    async def ask(self, name: str, what: str) -> Any:
        socket = self._home.hub_socket if name == CLOUD else self._home.agent_socket(name)
        async with connect(socket, MetaSettings()) as client:
            return await client.request(Operation.QUERY, what)

    async def way(self) -> str:
        """How calls get from the callers to the application now."""
        peers = await self.ask(CALLING, "null/peers")
        return next((str(peer["route"]) for peer in peers if peer["node"] == SERVING), "")

    async def counts(self, name: str) -> Counts:
        pid = self.process(name).pid
        peers = await self.ask(name, "null/peers")
        flows = 0
        if name != CLOUD:
            told = (await self.ask(name, "null/status"))["flows"]
            flows = told["tcp_open"] + told["udp_open"]
        place = Path(f"/proc/{pid}")
        pages = int((place / "statm").read_text().split()[1])
        return Counts(
            len(list((place / "fd").iterdir())),
            len(list((place / "task").iterdir())),
            sum(peer["streams"] for peer in peers),
            flows,
            pages * os.sysconf("SC_PAGESIZE"),
        )

    def descriptors_of_application(self) -> int:
        assert self._application is not None
        return len(list(Path(f"/proc/{self._application.pid}/fd").iterdir()))

    async def up(self) -> None:
        """Bring up everything, the callers apart."""
        library = self._clock_file("library.so")
        library.parent.mkdir(parents=True, exist_ok=True)
        source = Path(__file__).with_name("stepped_clock.c")
        await _run(["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(library), str(source)])
        for name in PROCESSES:
            self.set_clock(name, 0)
        with self._stepped_clock(CLOUD):
            await cluster.up(self._home, 2, with_agents=False, with_hub=True, settings=_SETTINGS)
        for name in (CALLING, SERVING):
            await self.start(name)
        await cluster.start_agents(self._home)
        await rollout.apply(self._home, manifest_of(_MANIFEST))
        self._application = self._execute("app", "faulted_application.py", str(self.executed))

    @asynccontextmanager
    async def calls(self, seed: int) -> AsyncIterator[None]:
        """Callers call, for the block."""
        arguments = (ADDRESS, str(self.records), str(seed))
        process = self._execute("caller", "faulted_callers.py", *arguments)
        try:
            yield
            assert process.alive, self._output("faulted_callers.py")
        finally:
            with trio.CancelScope(shield=True):
                await processes.end([process], 0)

    def _execute(self, deployment: str, program: str, *arguments: str) -> Process:
        """Run a program beside the one of a pod; the lab ends it with the pod."""
        (pod,) = pods_of(self.state, deployment)
        argv = [sys.executable, str(Path(__file__).with_name(program)), *arguments]
        log = self.records.with_name(f"{program}.log")
        return processes.start(command_in(pod.network_namespace, argv), log, environment())

    def _output(self, program: str) -> str:
        return self.records.with_name(f"{program}.log").read_text()[-4000:]

    def _clock_file(self, name: str) -> Path:
        return self.records.with_name("clocks") / name

    @contextmanager
    def _stepped_clock(self, name: str) -> Iterator[None]:
        """What is started in the block sees the time of day that `set_clock` says.

        Only that: monotonic clocks are the kernel's, and no step of the time of day moves them.
        """
        added = {
            "LD_PRELOAD": str(self._clock_file("library.so")),
            "STEPPED_CLOCK": str(self._clock_file(name)),
        }
        os.environ.update(added)
        try:
            yield
        finally:
            for variable in added:
                del os.environ[variable]


@asynccontextmanager
async def faulted_lab(home: Home, folder: Path) -> AsyncIterator[FaultedLab]:
    """A lab in which calls can be made; whoever gave its home takes it down."""
    made = FaultedLab(home, folder / "executed", folder / "records")
    try:
        await made.up()
        yield made
    except BaseException:
        # They go with the lab.
        for name in PROCESSES:
            print(f"--- {name}", *made.last_words(name), sep="\n")
        raise


async def until(state: Any, what: str, seconds: float) -> None:
    """Ask for a state of other processes until it is reached."""
    deadline = time.monotonic() + seconds
    while not await state():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await trio.sleep(0.1)


async def _run(argv: list[str], given: str = "") -> None:
    def run() -> None:
        subprocess.run(argv, input=given.encode(), check=True, capture_output=True)

    await trio.to_thread.run_sync(run)
