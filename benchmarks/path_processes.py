"""The processes of ``path.py``: a private network, the peer at the far end, servers and clients of two kinds."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
INTEROP = ROOT / "tests" / "interop"
SCRIPTS = INTEROP / "path"
#: Nodes of the network.
NODES = 5
#: Seconds for a process to say what is waited for, unless told otherwise; and to end when it is asked to.
PATIENCE, FAREWELL = 180.0, 3.0
#: Links from one address: more than there are in any test.
MAX_CLIENTS = 1024


class FailedError(Exception):
    """A process has said that it can't go on, has ended, or has not said in time what was waited for."""


class Child:
    """A process that prints lines, of which those that are JSON objects are events."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        """:param name: what it is called where something is wrong with it."""
        self._name = name
        # None at the end.
        self._lines: queue.Queue[str | None] = queue.Queue()
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    # What it says, and is told.

    def line(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """
        Wait for a line; others before it are dropped.

        :raises FailedError: it will not come.
        """
        until = time.monotonic() + patience
        seen = ""
        while True:
            try:
                line = self._lines.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                raise FailedError(f"{self._name}: no {pattern!r} within {patience:g} s") from None
            if line is None:
                raise FailedError(f"{self._name}: ended before {pattern!r}: {seen}")
            seen = line
            found = re.search(pattern, line)
            if found is not None:
                return found
            if re.match(r'{"event":\s*"(error|fatal)"', line):
                raise FailedError(f"{self._name}: {line}")

    def event(self, name: str, patience: float = PATIENCE) -> dict[str, Any]:
        """The same, for an event."""
        event: dict[str, Any] = json.loads(self.line(rf'{{"event":\s*"{name}".*', patience)[0])
        return event

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    # What is seen from outside.

    def cpu(self) -> float:
        """:returns: seconds of user and system time of all its threads so far."""
        tasks = Path(f"/proc/{self._process.pid}/task")
        return sum(int((each / "schedstat").read_text().split()[0]) for each in tasks.iterdir()) / 1e9

    def memory(self) -> int:
        """:returns: bytes resident."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def freeze(self) -> None:
        """Stop it, until it is thawed or killed."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    # The end.

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._ended()

    def stop(self) -> None:
        """End it, gently if it lets us."""
        self.thaw()
        self._process.terminate()
        try:
            self._process.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._ended()

    def _ended(self) -> None:
        self._process.wait()
        self._reader.join()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()


@dataclass(frozen=True)
class Stack:
    """A kind of server and client; ``{node}``, ``{port}``, ``{bootstrap}``, ``{key}`` and ``{topic}`` are filled in."""

    name: str
    client: tuple[str, ...]
    #: Without one, the client is a node itself.
    server: tuple[str, ...] = ()
    #: What the server says when it has found the network, and takes clients.
    ready: str = '"ready"'


_PEER = ("--key", "{key}", "--topic", "{topic}")
_TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile=")
_NODE = ("--profile", "hyperswarm", "--bootstrap", "{bootstrap}", "--host", "127.0.0.1", "--port", "0")
_CLIENT = (sys.executable, str(HERE / "path_client.py"))

RELAY = Stack(
    "dht-relay",
    ("{node}", str(SCRIPTS / "relay_client.js"), "--server", "ws://127.0.0.1:{port}", *_PEER),
    ("{node}", str(SCRIPTS / "relay_server.js"), "--port", "{port}", "--bootstrap", "{bootstrap}"),
)
THEIR_NODE = Stack("hyperdht", ("{node}", str(SCRIPTS / "direct_client.js"), "--bootstrap", "{bootstrap}", *_PEER))
OUR_NODE = Stack("our node", (*_CLIENT, "--bootstrap", "{bootstrap}", *_PEER))


def our_proxy(carrier: str, *options: str, custodial: bool = True) -> Stack:
    """
    :param carrier: ``tcp`` or ``ws``.
    :param options: more of ``twistd spaceswarm-proxy``.
    :param custodial: does the server have the clients' secret keys, as theirs does?
    """
    client = (*_CLIENT, "--server", "127.0.0.1:{port}", "--carrier", carrier, *_PEER)
    listen = ("--listen", carrier + ":{port}:interface=127.0.0.1", "--max-clients-per-address", str(MAX_CLIENTS))
    return Stack(
        "ours",
        (*client, "--custodial") if custodial else client,
        (*_TWISTD, "spaceswarm-proxy", *_NODE, *listen, *options),
        "network answers",
    )


class World:
    """A network in which all the rest is started."""

    def __init__(self, node: str, bootstrap: str) -> None:
        """
        :param node: the Node.js program.
        :param bootstrap: where the network begins.
        """
        self._words = {"node": node, "bootstrap": bootstrap}

    def _command(self, words: Sequence[str], **more: object) -> list[str]:
        known = {**self._words, **more}
        return [word.format_map(known) for word in words]

    @contextmanager
    def peer(self, topic: str) -> Iterator[tuple[Child, str]]:
        """
        The far end, announced under a topic.

        :returns: it, and its public key in hex.
        """
        script = ("{node}", str(SCRIPTS / "peer.js"), "--bootstrap", "{bootstrap}", "--seed", topic, "--topic", topic)
        with running("peer", self._command(script)) as peer:
            yield peer, peer.event("ready")["publicKey"]

    @contextmanager
    def server(self, stack: Stack, port: int) -> Iterator[Child]:
        """The server of a stack, in the network and listening."""
        with running("server", self._command(stack.server, port=port)) as server:
            server.line(stack.ready)
            yield server

    @contextmanager
    def client(self, stack: Stack, port: int, key: str, topic: str, *work: str) -> Iterator[Child]:
        """The client of a stack, prepared for its work."""
        command = self._command(stack.client, port=port, key=key, topic=topic)
        with running("client", [*command, *work]) as client:
            client.event("ready")
            yield client


@contextmanager
def running(name: str, command: Sequence[str]) -> Iterator[Child]:
    """A process, until it is not needed any more."""
    child = Child(name, command)
    try:
        yield child
    finally:
        child.stop()


@contextmanager
def world(node: str) -> Iterator[World]:
    """A network of theirs on the loopback interface."""
    with running("network", [node, str(INTEROP / "testnet.js"), str(NODES)]) as network:
        first = network.event("ready")["bootstrap"][0]
        yield World(node, f"{first['host']}:{first['port']}")
