"""A private network, a proxy in it, peers and clients of both kinds, in processes of their own: what can break."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from tests.chaos.links import LOOPBACK, Links
from tests.chaos.schedule import Fault, Kind, Parts
from tests.interop.crowd_support import Crowd, Crowds, Member, Pair, pairs
from tests.interop.node import EventProcess, node_command
from tests.interop.peer_process import ROOT
from tests.service.observed import ObservedTwistd

#: Nodes of the network, JavaScript ones and ours in turn; all are told to others to begin at.
NODES = 4
#: So many of them, the first ones, may be harmed.  The others keep what the network knows, which in a real one twenty
#: nodes of thousands do: what is lost with them all is announced again only after ten minutes.
HARMED = 2
#: Seconds for which the proxy keeps an identity whose link is lost.
GRACE = 2.0
TOPICS = 4
#: Ends in each crowd.
PEERS, CLIENTS = 2, 4
PARTS: Parts = {
    "proxy": ["proxy"],
    "peers": ["our peers", "their peers"],
    "clients": ["our clients", "their clients"],
    "nodes": [f"node {number}" for number in range(HARMED)],
    "links": ["tcp links", "ws links"],
    "weather": ["weather"],
}


def members(crowd: str) -> list[Member]:
    """Who is in a crowd, each in three of the four topics: any two have one in common."""
    whose, what = crowd.split()
    kinds = ["peer"] * PEERS if what == "peers" else ["tcp", "ws"] * (CLIENTS // 2)
    return [
        Member(f"{whose}-{what}-{n}", kind, whose == "our", frozenset(range(TOPICS)) - {n % TOPICS})
        for n, kind in enumerate(kinds)
    ]


class Process:
    """A part of the world that is a process, or the next one in its place."""

    def __init__(self, start: Callable[[], Awaitable[Any]]) -> None:
        """:param start: starts one, and waits until it is ready if that can be waited for."""
        #: The one that runs: it has a ``transport``, and can be asked to be killed.
        self.running: Any = None
        self._start = start

    async def begin(self) -> None:
        """Let one run."""
        self.running = await self._start()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.running.transport.signalProcess(number)

    async def kill(self) -> None:
        """End it without giving it a chance to say anything."""
        await kill(self.running)


async def kill(process: EventProcess | ObservedTwistd) -> None:
    """End a process at once, if it has not ended."""
    if isinstance(process, ObservedTwistd):
        await process.kill()
    elif process.reason is None:
        process.kill()
        await process.ended()


class World:
    """All of it."""

    def __init__(self, reactor: Any, directory: Path, profile: str, seed: int) -> None:
        """
        :param directory: an empty one, for what the processes write.
        :param seed: of the datagrams that are lost.
        """
        self.profile = profile
        self.crowds = Crowds([])
        #: The proxies so far; the last one runs, or is about to be begun anew.
        self.proxies: list[ObservedTwistd] = []
        self._reactor = reactor
        self._directory = directory
        self._seed = seed
        self._ports = free_ports(NODES + 1)
        self._links = {"tcp links": Links(reactor), "ws links": Links(reactor)}
        self._crowds: dict[str, Crowd] = {}
        # All processes that were ever started.
        self._started: list[EventProcess | ObservedTwistd] = []
        self._processes = self._all_processes()

    def _all_processes(self) -> dict[str, Process]:
        found = {f"node {number}": Process(lambda number=number: self._node(number)) for number in range(NODES)}
        found["proxy"] = Process(self._proxy)
        for name in (*PARTS["peers"], *PARTS["clients"]):
            found[name] = Process(lambda name=name: self._crowd(name))
        return found

    @property
    def expected(self) -> set[Pair]:
        """Who is to meet whom; how two JavaScript peers do is their own affair, as nothing of ours takes part in it."""
        everybody = [member for name in self._crowds for member in members(name)]
        strangers = [member for member in everybody if member.kind == "peer" and not member.ours]
        return pairs(everybody) - pairs(strangers)

    # How it begins and ends.

    async def begin(self) -> None:
        """Start everything."""
        for links in self._links.values():
            await links.listen()
        for process in self._processes.values():
            await process.begin()

    async def end(self) -> None:
        """Nothing is left of it."""
        self._weather_file.unlink(missing_ok=True)
        for process in self._started:
            await kill(process)
        for links in self._links.values():
            await links.close()

    async def end_of_crowds(self) -> None:
        """All peers and clients are killed."""
        for name in self._crowds:
            await self._processes[name].kill()

    # Its parts.

    @property
    def _bootstrap(self) -> list[str]:
        return [f"{LOOPBACK}:{port}" for port in self._ports[:NODES]]

    @property
    def _weather_file(self) -> Path:
        return self._directory / "rain"

    async def _node(self, number: int) -> EventProcess:
        """One that is started for the first time knows those before it; the first one knows nobody at any time."""
        name, port = f"node {number}", self._ports[number]
        command = self._our_node(number, port) if number % 2 else self._their_node(number, port)
        process = self._start(name, command)
        await process.event("ready")
        return process

    def _start(self, name: str, command: list[str]) -> EventProcess:
        process = EventProcess(name, command, ROOT, self._reactor)
        self._started.append(process)
        return process

    def _their_node(self, number: int, port: int) -> list[str]:
        others = ["--bootstrap", ",".join(self._bootstrap[:number])] if number else []
        return node_command("testnet.js", "1", "--profile", self.profile, "--port", str(port), *others)

    def _our_node(self, number: int, port: int) -> list[str]:
        others = [word for address in self._bootstrap[:number] for word in ("--bootstrap", address)]
        words = ["node", "--profile", self.profile, "--host", LOOPBACK, "--port", str(port), "--open", "--json"]
        return [sys.executable, "-m", "spaceswarm_proxy.commands", *words, *others]

    async def _proxy(self) -> ObservedTwistd:
        node = ["--profile", self.profile, "--host", LOOPBACK, "--port", str(self._ports[NODES]), "--state", "state"]
        others = [word for address in self._bootstrap for word in ("--bootstrap", address)]
        listen = ["--listen", f"tcp:0:interface={LOOPBACK}", "--listen", "ws:0", "--announce"]
        weather = f"from tests.chaos.weather import begin; begin({str(self._weather_file)!r}, {self._seed})"
        words = ["spaceswarm-proxy", *node, *others, *listen, "--identity-grace", str(GRACE)]
        proxy = ObservedTwistd(self._reactor, str(self._directory / "proxy"), *words, before=weather)
        self._started.append(proxy)
        self.proxies.append(proxy)
        for kind in ("tcp", "ws"):
            self._links[f"{kind} links"].target = await proxy.port(kind)
        return proxy

    async def _crowd(self, name: str) -> EventProcess:
        ours = name.startswith("our")
        ports = {kind: self._links[f"{kind} links"].port for kind in ("tcp", "ws")}
        options = {"profile": self.profile, "bootstrap": self._bootstrap, **ports}
        command = self._our_crowd(options) if ours else node_command("crowd.js", json.dumps(options))
        process = self._start(name, command)
        crowd = self._crowds[name] = Crowd(process)
        self.crowds.crowds = list(self._crowds.values())
        for member in members(name):
            # Those of a kind are themselves again, or somebody else, in turn.
            crowd.begin(member, seed=member.kind == "peer" and not ours)
        return process

    def _our_crowd(self, options: dict[str, Any]) -> list[str]:
        weather = [str(self._weather_file), str(self._seed)]
        return [sys.executable, "-m", "tests.chaos.weather", *weather, "tests.interop.our_crowd", json.dumps(options)]

    # Faults.

    async def suffer(self, fault: Fault) -> None:
        """Something goes wrong."""
        if fault.kind is Kind.KILL:
            await self._processes[fault.part].kill()
        elif fault.kind is Kind.STOP:
            self._processes[fault.part].signal(signal.SIGSTOP)
        elif fault.kind is Kind.LOSE:
            self._weather_file.touch()
        else:
            getattr(self._links[fault.part], fault.kind)()

    async def recover(self, fault: Fault) -> None:
        """It is over."""
        if fault.kind is Kind.KILL:
            await self._processes[fault.part].begin()
        elif fault.kind is Kind.STOP:
            self._processes[fault.part].signal(signal.SIGCONT)
        elif fault.kind is Kind.LOSE:
            self._weather_file.unlink()
        else:
            self._links[fault.part].mend()

    # What it says of itself.

    def complaints(self) -> list[str]:
        """What our processes have printed that they should not have."""
        texts = [proxy.output + proxy.errors for proxy in self.proxies]
        texts += [crowd.process.noise for name, crowd in self._crowds.items() if name.startswith("our")]
        return [text[text.index("Traceback") - 500 :] for text in texts if "Traceback" in text]

    def is_proxy_empty(self) -> Deferred[bool]:
        """:returns: a Deferred of whether the proxy has nothing of anybody."""
        return self.proxies[-1].census().addCallback(lambda census: census.is_empty)


def free_ports(count: int) -> list[int]:
    """:returns: UDP ports that nobody has; those who get them shall have them again whenever they begin anew."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    try:
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def temporary(directory: str) -> Path:
    """:returns: a directory, made if it is not there."""
    os.makedirs(directory, exist_ok=True)
    return Path(directory).resolve()
