"""
The whole path, ours beside the JavaScript one: client == link == server -- DHT and UDX -- peer; and what it costs.

    ./check tests.interop                         # once: installs Node and the JavaScript packages
    .venv/bin/python benchmarks/path.py           # everything; --help for a part of it, or less of it

Everything is real: a private network of five JavaScript nodes, a ``hyperdht`` server as the peer, and in turn

* ``@hyperswarm/dht-relay`` over WebSocket, and its client (``tests/interop/path/``);
* our ``twistd spaceswarm-proxy``, and a client of ours (``path_client.py``) over TCP, or ``--carrier ws``;
* without a server: ``hyperdht`` as the client, and ours.

Each test has a fresh peer, server and client.  What counts is the CPU time of a process while the client works, from
/proc, and memory; ratios are ours to theirs, of the medians over the runs; for costs **below 1 is better**, for the
throughput above.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from threading import Event, Thread

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # what is measured is this checkout, whatever is installed

from benchmarks.path_processes import (  # noqa: E402
    OUR_NODE,
    RELAY,
    THEIR_NODE,
    Child,
    FailedError,
    Stack,
    World,
    our_proxy,
    world,
)
from benchmarks.ratios import Figures, Row, options_parser, print_table  # noqa: E402

OURS = "ours"
#: Seconds for which idle clients are watched.
HELD = 16.0
#: Seconds until the peer is stopped when its stream flows.
FLOWING = 0.2
#: A client that has stopped: the silence after which our server asks, and the one after which it gives it up then; and
#: how long that is waited for.
SILENCE, PATIENT = 3.0, 30.0

RATE, SERVER_GB, CLIENT_GB, SERVER, CLIENT = "MB/s", "server s/GB", "client s/GB", "server us", "client us"
P50_US, P50_MS, KILOBYTES, HELD_US, GROWTH, GONE = "p50 us", "p50 ms", "kB", "us a second", "MB grown", "s until gone"


@dataclass(frozen=True)
class Test:
    """A workload, and how much of it."""

    name: str
    workload: str
    #: As the client has them.
    options: dict[str, int] = field(default_factory=dict)
    #: Also without a server?
    alone: bool = True

    def scaled(self, scale: float) -> Test:
        """:returns: the same with so much of the work."""
        work = {
            name: max(int(number * scale), 1) for name, number in self.options.items() if name in ("bytes", "count")
        }
        return replace(self, options={**self.options, **work})

    def words(self) -> list[str]:
        """:returns: the client's command line."""
        options = [word for name, number in self.options.items() for word in (f"--{name}", str(number))]
        return ["--workload", self.workload, *options]


_BULK = {"bytes": 200_000_000, "chunk": 65536}
_MESSAGES = {"bytes": 10_000_000, "chunk": 100}
TESTS = (
    Test("bulk-down", "down", _BULK),
    Test("bulk-up", "up", _BULK),
    Test("msg-down", "down", _MESSAGES),
    Test("msg-up", "up", _MESSAGES),
    Test("msg-down-32", "down", {**_MESSAGES, "streams": 32}),
    Test("msg-up-32", "up", {**_MESSAGES, "streams": 32}),
    Test("ping", "ping", {"count": 5_000, "size": 64}),
    Test("cycles", "cycles", {"count": 500}),
    Test("cycles-8", "cycles", {"count": 1000, "streams": 8}),
    Test("relink", "relink", {"count": 300}),
    Test("lookup", "lookup", {"count": 200}),
    Test("idle", "idle", {"count": 500, "streams": 8}, alone=False),
    Test("slow-client", "slow-client", {**_BULK, "seconds": 8}, alone=False),
    Test("slow-link", "slow-link", {**_BULK, "seconds": 8}, alone=False),
    Test("slow-peer", "slow-peer", {**_BULK, "seconds": 6}, alone=False),
    Test("gone", "slow-link", {**_BULK, "seconds": 0}, alone=False),
)


def _row(test: str, title: str, figure: str, must: float, aim: float, *, more: bool = False, own: bool = False) -> Row:
    name = f"{test} {figure}"
    return Row(f"{test}: {title}", (name, RELAY.name), (name, OURS), must, aim, more, own)


def _alone(test: str, figure: str) -> Row:
    name = f"{test} {figure}"
    return Row(f"{test}: CPU {figure.split()[1]}", (name, THEIR_NODE.name), (name, OUR_NODE.name), 1.0, 0.5)


THROUGH_A_SERVER = (
    _row("bulk-down", "server CPU s/GB", SERVER_GB, 0.6, 0.3),
    _row("bulk-down", "MB/s", RATE, 1.5, 3.0, more=True),
    _row("bulk-up", "server CPU s/GB", SERVER_GB, 0.6, 0.3),
    _row("bulk-up", "MB/s", RATE, 1.5, 3.0, more=True),
    _row("msg-down", "server CPU us", SERVER, 1.0, 0.5),
    _row("msg-up", "server CPU us", SERVER, 1.0, 0.5),
    _row("msg-down-32", "server CPU us", SERVER, 1.0, 0.5),
    _row("msg-up-32", "server CPU us", SERVER, 1.0, 0.5),
    _row("ping", "p50 us", P50_US, 1.0, 0.6),
    _row("ping", "server CPU us", SERVER, 1.0, 0.6),
    _row("cycles", "server CPU us", SERVER, 1.0, 0.5),
    _row("cycles-8", "server CPU us", SERVER, 1.0, 0.5),
    _row("relink", "server CPU us", SERVER, 1.0, 0.5),
    _row("lookup", "topic to first byte, p50 ms", P50_MS, 1.0, 0.7),
    _row("idle", "kB a client", KILOBYTES, 0.5, 0.2),
    _row("idle", "setting it up, CPU us", SERVER, 1.0, 0.5),
    _row("idle", "CPU us a second", HELD_US, 0.5, 0.2),
    _row("slow-client", "MB that the server grows", GROWTH, 8.0, 2.0, own=True),
    _row("slow-link", "MB that the server grows", GROWTH, 8.0, 2.0, own=True),
    _row("slow-peer", "MB that the server grows", GROWTH, 8.0, 2.0, own=True),
    _row("gone", "seconds until a stopped client is let go", GONE, 2 * SILENCE + 2, 2 * SILENCE, own=True),
)
ALONE = tuple(_alone(test.name, CLIENT_GB if test.name.startswith("bulk") else CLIENT) for test in TESTS if test.alone)


@dataclass(frozen=True)
class Ends:
    """The processes of one run, of which the client is ready to begin."""

    peer: Child
    #: ``None`` where the client is a node itself.
    server: Child | None
    client: Child

    @property
    def serving(self) -> Child:
        """The server, where there must be one."""
        assert self.server is not None
        return self.server

    def cpu(self) -> tuple[float, float]:
        """:returns: seconds so far, of the client and of the server."""
        return self.client.cpu(), 0.0 if self.server is None else self.server.cpu()

    def peer_streams(self) -> int:
        """:returns: how many the peer has open."""
        self.peer.say("counters")
        return int(self.peer.event("counters")["open"])


Measured = dict[str, float]


def work(ends: Ends, test: Test) -> Measured:
    """:returns: what the work costs, and how long it takes."""
    before = ends.cpu()
    ends.client.say("go")
    done = ends.client.event("done")
    client, server = (now - then for then, now in zip(before, ends.cpu(), strict=True))
    figures = {title: done[key] for title, key in ((P50_US, "p50_us"), (P50_MS, "p50_ms")) if key in done}
    figures |= {CLIENT: client / done["items"] * 1e6, SERVER: server / done["items"] * 1e6}
    if "bytes" in done:
        each = 1e9 / done["bytes"]
        figures |= {CLIENT_GB: client * each, SERVER_GB: server * each, RATE: done["bytes"] / done["seconds"] / 1e6}
    return figures


def idle(ends: Ends, test: Test) -> Measured:
    """:returns: the same, and what it costs to have these clients."""
    memory = ends.serving.memory()
    figures = work(ends, test)
    clients = test.options["count"]
    time.sleep(1.0)
    figures[KILOBYTES] = (ends.serving.memory() - memory) / clients / 1000
    began = ends.serving.cpu()
    time.sleep(HELD)
    figures[HELD_US] = (ends.serving.cpu() - began) / clients / HELD * 1e6
    return figures


def slow_client(ends: Ends, test: Test) -> Measured:
    """The client's application does not read."""
    with grown(ends.serving) as growth:
        ends.client.say("go")
        ends.client.event("done")
    return growth


def slow_link(ends: Ends, test: Test) -> Measured:
    """The client's process is stopped."""
    with grown(ends.serving) as growth:
        ends.client.say("go")
        ends.client.event("flowing")
        ends.client.freeze()
        time.sleep(test.options["seconds"])
    return growth


def slow_peer(ends: Ends, test: Test) -> Measured:
    """The peer's process is stopped."""
    with grown(ends.serving) as growth:
        ends.client.say("go")
        ends.client.event("flowing")
        time.sleep(FLOWING)
        ends.peer.freeze()
        ends.client.event("done")
    return growth


@contextmanager
def grown(server: Child) -> Iterator[Measured]:
    """Watch how much memory a server takes meanwhile; in the end that is in what this gives."""
    figures: Measured = {}
    before, most, over = server.memory(), 0, Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.05):
            most = max(most, server.memory())

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield figures
    finally:
        over.set()
        watcher.join()
    figures[GROWTH] = max(most - before, 0) / 1e6


def gone(ends: Ends, test: Test) -> Measured:
    """The client's process is stopped for ever: when is the peer told?"""
    ends.client.say("go")
    ends.client.event("flowing")
    ends.client.freeze()
    began = time.monotonic()
    while ends.peer_streams() and time.monotonic() - began < PATIENT:
        time.sleep(0.2)
    return {GONE: time.monotonic() - began}


MEASURES: dict[str, Callable[[Ends, Test], Measured]] = {
    "idle": idle,
    "slow-client": slow_client,
    "slow-link": slow_link,
    "slow-peer": slow_peer,
    "gone": gone,
}


def run(net: World, stack: Stack, test: Test, scale: float) -> Measured:
    """
    :returns: the figures of one run.
    :raises FailedError: it did not come to its end.
    """
    topic = f"{test.name}-{os.urandom(4).hex()}"
    test = test.scaled(scale)
    with ExitStack() as open_now:
        peer, key = open_now.enter_context(net.peer(topic))
        port = free_port()
        server = open_now.enter_context(net.server(stack, port)) if stack.server else None
        client = open_now.enter_context(net.client(stack, port, key, topic, *test.words()))
        return MEASURES.get(test.name, work)(Ends(peer, server, client), test)


def free_port() -> int:
    """:returns: a TCP port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def measure(net: World, stacks: Sequence[Stack], tests: Sequence[Test], runs: int, scale: float) -> Figures:
    """All of it, the stacks taking turns; of a run that fails, there are no figures."""
    figures: Figures = defaultdict(list)
    for test, _, stack in product(tests, range(runs), stacks):
        if not (stack.server or test.alone):
            continue
        try:
            for name, figure in run(net, stack, test, scale).items():
                figures[f"{test.name} {name}", stack.name].append(figure)
        except FailedError as problem:
            print(f"{test.name}, {stack.name}: {problem}", file=sys.stderr)
    return figures


def known(rows: Sequence[Row], figures: Figures) -> list[Row]:
    """:returns: the rows of which there are figures."""
    return [row for row in rows if row.theirs in figures and row.ours in figures]


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """:returns: what the command line says."""
    parser = options_parser(__doc__)
    parser.set_defaults(runs=3)
    parser.add_argument("--tests", default="", help="names, or beginnings of names, with commas between")
    parser.add_argument("--carrier", choices=("tcp", "ws"), default="tcp", help="of our link (default: tcp)")
    parser.add_argument("--end-to-end", action="store_true", help="our clients keep their secret keys")
    parser.add_argument("--without", choices=("servers", "nodes"), default="", help="what is left out")
    return parser.parse_args(arguments)


def chosen(names: str) -> list[Test]:
    """:returns: the tests that are meant by names, or beginnings of names."""
    wanted = tuple(name for name in names.split(",") if name)
    return [test for test in TESTS if not wanted or test.name.startswith(wanted)]


def stacks_of(wanted: argparse.Namespace) -> list[Stack]:
    """:returns: the kinds of server and client that are asked for."""
    silence = ("--ping-interval", f"{SILENCE:g}", "--ping-timeout", f"{SILENCE:g}")
    ours = our_proxy(wanted.carrier, *silence, custodial=not wanted.end_to_end)
    served = [] if wanted.without == "servers" else [RELAY, ours]
    return served if wanted.without == "nodes" else [*served, THEIR_NODE, OUR_NODE]


def main() -> None:
    wanted = parsed()
    with world(wanted.node) as net:
        figures = measure(net, stacks_of(wanted), chosen(wanted.tests), wanted.runs, wanted.scale)
    for theirs, rows in ((RELAY.name, THROUGH_A_SERVER), (THEIR_NODE.name, ALONE)):
        if found := known(rows, figures):
            print_table(theirs, found, figures, wanted.runs, wanted.scale)
            print()


if __name__ == "__main__":
    main()
