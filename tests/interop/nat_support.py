"""
Peers behind routers of chosen kinds, in network namespaces of this machine; see :mod:`tests.interop.natlab`.

::

    lab = NatNetwork("consistent", "random")
    await lab.start()
    server = await lab.peer("b", OURS)
    meeting = await meet(await lab.peer("a", THEIRS), await server.listen())
    await lab.close()
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.interop.dht_support import each
from tests.interop.javascript import HERE
from tests.interop.natlab import KINDS, NatLab
from tests.interop.node import EventProcess, node_command
from tests.interop.peer_process import ROOT, PeerEnd, PeerProcess, our_peer_command

OURS, THEIRS = "ours", "theirs"
#: Who has no hope, and who no network at all: a router with everything forwarded to the other host.
HOPELESS, CUT_OFF = ("random", "random"), ("cone", "same")
TOGETHER = [(a, b) for a in KINDS if a != "same" for b in KINDS if (a, b) not in (("open", "same"), CUT_OFF, HOPELESS)]
#: Nodes on the public segment.
SIZE = 7
#: Seconds that a process may take to end: a busy kernel needs several to undo what ``ip netns exec`` has mounted.
GRACE = 30.0
#: On every address of a host: the one by which it is known elsewhere is its router's.
ANYWHERE = ("--host", "0.0.0.0")


class Meeting(NamedTuple):
    """What has come of an attempt to connect."""

    client: PeerProcess
    #: Whom it wanted to reach: the server's key, in hex.
    key: str
    end: PeerEnd
    #: Seconds from the beginning of the attempt to its end, as the client tells it; 0 if it failed.
    seconds: float
    #: Why it has failed; ``None`` if it has not.
    code: str | None


async def meet(client: PeerProcess, key: str, **options: Any) -> Meeting:
    """Connect to who listens under that key."""
    end = client.connect(key, options=options)
    event = await end.event("open", "close")
    return Meeting(client, key, end, event.get("ms", 0) / 1000, event.get("code"))


class NatNetwork:
    """A public segment with a network of JavaScript nodes, and two sides, each behind its router."""

    def __init__(self, a: str, b: str, **options: Any) -> None:
        """
        :param a, b: kinds of routers.
        :param options: as for :class:`~tests.interop.natlab.NatLab`.
        """
        self.lab = NatLab(a, b, **options)
        #: First the one with the nodes of the network.
        self._processes: list[EventProcess] = []
        self._bootstrap = ""

    async def start(self) -> None:
        """
        Build it, and wait until its nodes know each other.

        :raises NatLabUnavailable: it can't be built here.
        """
        self.lab.__enter__()
        hosts = ",".join(self.lab.public_hosts)
        nodes = self._spawn("net", "testnet.js", node_command("testnet.js", str(SIZE), "--host", hosts))
        ready = await nodes.event("ready")
        self._bootstrap = ",".join(f"{node['host']}:{node['port']}" for node in ready["bootstrap"])

    async def peer(self, side: str, who: str, *words: str) -> PeerProcess:
        """
        A node on one side.

        :param side: ``a`` or ``b``.
        :param who: :data:`OURS` or :data:`THEIRS`.
        :param words: more for its command line.
        """
        words = (*ANYWHERE, "--bootstrap", self._bootstrap, *words)
        if who == OURS:
            command = our_peer_command(*words)
        else:
            command = node_command("connection_peer.js", *words)
        process = self._spawn(side, f"{who} on {side}", command, ROOT if who == OURS else HERE)
        await process.event("ready")
        return PeerProcess(process)

    async def relay(self, who: str) -> tuple[EventProcess, str]:
        """:returns: a blind relay on the public segment, and its key."""
        words = ("--host", self.lab.public_hosts[-1], "--bootstrap", self._bootstrap)
        if who == OURS:
            command = [sys.executable, "-m", "spaceswarm_proxy.commands", "relay", "--json", "--profile", "hyperswarm"]
            process = self._spawn("net", "our relay", [*command, "--open", *words])
            return process, (await process.event("listening"))["public_key"]
        command = node_command("hyperdht_server.js", "--mode", "relay", "--firewalled", "false", *words)
        process = self._spawn("net", "their relay", command, HERE)
        return process, (await process.event("listening"))["publicKey"]

    def _spawn(self, room: str, name: str, command: list[str], path: Path = ROOT) -> EventProcess:
        process = EventProcess(name, [*self.lab.prefix(room), *command], path)
        self._processes.append(process)
        return process

    async def close(self) -> None:
        """End all that runs there, and take it down; who leaves tells the network, which goes last."""
        try:
            await each(process.stop(GRACE) for process in self._processes[1:])
            await each(process.stop(GRACE) for process in self._processes)
        finally:
            self.lab.close()
