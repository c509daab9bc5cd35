"""Tests of the benchmark of the whole path: our client at each of its workloads, and how a run is measured."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import path
from benchmarks.path import (
    ALONE,
    CLIENT,
    HELD_US,
    KILOBYTES,
    P50_MS,
    SERVER,
    TESTS,
    THROUGH_A_SERVER,
    chosen,
    known,
    run,
)
from benchmarks.path_client import as_node, parsed, task_of, through_proxy
from benchmarks.path_processes import FailedError, our_proxy, running, world
from benchmarks.path_workloads import WORKLOADS, Figures, Open, Task
from benchmarks.ratios import line
from spaceswarm_proxy._reactor import or_global
from tests.interop.dht_support import LOOPBACK, DHTTestCase
from tests.interop.javascript import find_node, why_not
from tests.service.child import Twistd

TOPIC = "path"
#: Very little of everything.
SMALL = {"bytes": 200_000, "chunk": 1000, "count": 2, "streams": 2, "seconds": 0}
ONE_STREAM = {"bytes": 2_000_000, "streams": 1}


class Here:
    """Stands for the process that a client runs in."""

    def __init__(self, open_link: Open) -> None:
        self.reactor = or_global(None)
        self.said: list[str] = []
        self._open = open_link
        self._links: list[Any] = []

    async def open_link(self) -> Any:
        """Another one, which is closed with all others."""
        link = await self._open()
        self._links.append(link)
        return link

    def say(self, event: str, **fields: Any) -> None:
        """Nobody listens."""
        self.said.append(event)

    async def close(self) -> None:
        """Leave nothing open."""
        for link in self._links:
            await link.network.close()


class WorkloadTests(DHTTestCase):
    """Each of them once, with their peer in a network of theirs."""

    profile = "hyperswarm"

    async def begin(self) -> None:
        """The network, and the peer."""
        self.net = await self.their_network(3)
        bootstrap = str(self.net.bootstrap)
        peer = self.node("path/peer.js", "--bootstrap", bootstrap, "--seed", "peer", "--topic", TOPIC)
        self.key = (await peer.event("ready"))["publicKey"]

    async def serve(self) -> Twistd:
        """Our server."""
        node = ["--profile", self.profile, "--bootstrap", str(self.net.bootstrap), "--host", LOOPBACK, "--port", "0"]
        listen = ["--listen", "tcp:0:interface=127.0.0.1", "--listen", "ws:0", "--grace", "0.1"]
        service = Twistd(or_global(None), self.mktemp(), "spaceswarm-proxy", *node, *listen)
        self.addCleanup(lambda: Deferred.fromCoroutine(service.kill()))
        await service.line("network answers")
        return service

    async def work(self, open_link: Open, name: str, **options: int) -> Figures:
        """What one of them comes to; nothing of it is left."""
        here = Here(open_link)
        workload = WORKLOADS[name](Task(key=self.key, topic=TOPIC, **{**SMALL, **options}), here)
        try:
            await workload.prepare()
            return await workload.work()
        finally:
            await here.close()

    async def test_through_our_server(self) -> None:
        """Over a proxy: what was to be moved is moved, what was to be done is done, and all that is timed."""
        await self.begin()
        service = await self.serve()
        tcp = through_proxy(or_global(None), "tcp", f"127.0.0.1:{await service.port()}")
        for name in ("down", "up"):
            figures = await self.work(tcp, name)
            self.assertEqual({"bytes": 200_000, "items": 200}, figures)
        for name, unit in (("ping", "us"), ("cycles", "ms"), ("relink", "ms"), ("lookup", "ms")):
            figures = await self.work(tcp, name)
            self.assertEqual(2, figures["items"])
            self.assertLessEqual(0.0, figures[f"p50_{unit}"])
            self.assertLessEqual(figures[f"p50_{unit}"], figures[f"p99_{unit}"])
        self.assertEqual({"items": 2}, await self.work(tcp, "idle"))
        for name in ("slow-client", "slow-link"):
            self.assertEqual({"bytes": 2_000_000}, await self.work(tcp, name, **ONE_STREAM))
        slow = await self.work(tcp, "slow-peer", **ONE_STREAM)
        self.assertLess(0, slow["accepted"])
        at = "127.0.0.1:" + (await service.line(r"listening on ws:(\d+)"))[1]
        for custodial in (False, True):
            ws = through_proxy(or_global(None), "ws", at, custodial)
            self.assertEqual(200_000, (await self.work(ws, "down"))["bytes"])

    async def test_alone(self) -> None:
        """The same as a node."""
        await self.begin()
        alone = as_node(or_global(None), str(self.net.bootstrap))
        for name in ("down", "up"):
            self.assertEqual(200_000, (await self.work(alone, name))["bytes"])
        for name in ("ping", "cycles", "lookup"):
            self.assertEqual(2, (await self.work(alone, name))["items"])

    def test_options(self) -> None:
        """Everything in a task is an option; what is not said has its default."""
        words = ["--server", "a:1", "--workload", "ping", "--key", "ab", "--topic", "t", "--count", "3"]
        self.assertEqual(Task(key="ab", topic="t", count=3), task_of(parsed(words)))


class RunTests(SynchronousTestCase):
    """Real processes."""

    skip = why_not()

    def test_run(self) -> None:
        """A run has its figures; of idle clients, what they take too."""
        self.patch(path, "HELD", 0.05)
        cycles, idle = (next(test for test in TESTS if test.name == name) for name in ("cycles", "idle"))
        with world(find_node() or "node") as net:
            stack = our_proxy("tcp")
            self.assertEqual({P50_MS, CLIENT, SERVER}, set(run(net, stack, cycles, 0.001)))
            figures = run(net, stack, idle, 0.004)
        self.assertEqual({CLIENT, SERVER, KILOBYTES, HELD_US}, set(figures))


class ChildTests(SynchronousTestCase):
    """Processes that do not do what is waited for."""

    def failure(self, program: str, patience: float = 60.0) -> str:
        """Why nothing came of it."""
        with running("child", [sys.executable, "-c", program]) as child:
            return str(self.assertRaises(FailedError, child.event, "done", patience))

    def test_error(self) -> None:
        """One says that it has failed."""
        program = """print('{"event": "error", "message": "no luck"}', flush=True); input()"""
        self.assertIn("no luck", self.failure(program))

    def test_ended(self) -> None:
        """One ends; its last words are told."""
        self.assertIn("last words", self.failure("print('last words')"))

    def test_silent(self) -> None:
        """One says nothing in time."""
        self.assertIn("no '", self.failure("input()", patience=0.01))


class TableTests(SynchronousTestCase):
    """What is printed."""

    def test_rows(self) -> None:
        """Each row has a test, each test a row; those without figures are left out."""
        rows = [*THROUGH_A_SERVER, *ALONE]
        self.assertEqual({test.name for test in TESTS}, {row.title.partition(":")[0] for row in rows})
        self.assertEqual([], known(rows, {}))
        figures = {rows[0].theirs: [1.0], rows[0].ours: [1.0], rows[1].ours: [1.0]}
        self.assertEqual([rows[0]], known(rows, figures))

    def test_absolute(self) -> None:
        """What the server may grow by is bounded by itself, however much theirs does."""
        row = next(row for row in THROUGH_A_SERVER if row.absolute)
        lines = [line(row, {row.theirs: [theirs], row.ours: [ours]}) for theirs, ours in ((0, 1), (1, 7), (100, 9))]
        self.assertEqual(["aim reached", "ok", "missed"], [text.split("|")[-2].strip() for text in lines])

    def test_stacks(self) -> None:
        """Servers or nodes can be left out; our client keeps its keys if it is told so."""
        for arguments, names in (
            ([], ["dht-relay", "ours", "hyperdht", "our node"]),
            (["--without", "servers"], ["hyperdht", "our node"]),
            (["--without", "nodes"], ["dht-relay", "ours"]),
        ):
            self.assertEqual(names, [stack.name for stack in path.stacks_of(path.parsed(arguments))])
        ours = [path.stacks_of(path.parsed(arguments))[1] for arguments in ([], ["--end-to-end", "--carrier", "ws"])]
        self.assertEqual([True, False], ["--custodial" in stack.client for stack in ours])
        self.assertEqual([False, True], ["ws" in stack.client for stack in ours])

    def test_chosen(self) -> None:
        """Tests are chosen by the beginnings of their names, and by default all are."""
        self.assertEqual(["cycles", "cycles-8", "idle"], [test.name for test in chosen("cycles,idle")])
        self.assertEqual(len(TESTS), len(chosen("")))
