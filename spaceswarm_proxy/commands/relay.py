"""``spaceswarm relay``: carry the streams of peers that cannot reach each other."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from twisted.internet.defer import DeferredQueue

from spaceswarm_proxy.commands.command import Command
from spaceswarm_proxy.commands.dht_options import add_dht_options, argument, make_node, natural_number
from spaceswarm_proxy.commands.peer_options import add_allow, allow_firewall
from spaceswarm_proxy.commands.session import Session, interruptible, run_with_node
from spaceswarm_proxy.commands.standard_io import STDOUT
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.peering.relay_port import RelayPort
from spaceswarm_proxy.peering.relay_server import RelayLimits

#: What may be had of a relay, unless told otherwise.
USUAL = RelayLimits()


def add_arguments(parser: ArgumentParser) -> None:
    """Who may use it, how much of it there is, and the network."""
    add_allow(parser, "serve these only; by default everybody")
    parser.add_argument(
        "--max-peers",
        metavar="NUMBER",
        type=argument(natural_number),
        default=USUAL.max_peers,
        help=f"peers that may be connected; {USUAL.max_peers}",
    )
    parser.add_argument(
        "--max-streams",
        metavar="NUMBER",
        type=argument(natural_number),
        default=USUAL.max_couples,
        help=f"streams that are carried at once; {USUAL.max_couples}",
    )
    parser.add_argument("--open", action="store_true", help="everybody can reach this machine: do not look whether")
    add_dht_options(parser, usual_port=True)


async def run(reactor: Any, options: Namespace, stdout: int = STDOUT) -> int:
    """
    Run a relay until the command is cancelled.

    :raises SpaceswarmError: the network does not answer.
    """
    return await run_with_node(reactor, options, stdout, _serve, _make, begun=None)


def _make(reactor: Any, options: Namespace) -> DHTNode:
    return make_node(reactor, options, firewalled=not options.open)


async def _serve(session: Session) -> None:
    """Tell what happens, for ever."""
    await session.reach_network()
    news = _News(session)
    with session.walking("announcing"):
        news.port = await interruptible(_listen(session, news))
    key, (host, port) = session.node.key_pair.public_key.hex(), session.node.address
    session.output.result("listening", key, public_key=key, host=host, port=port)
    try:
        await news.tell()
    finally:
        stats = news.port.stats
        text = f"streams: {stats.matched}, packets: {stats.packets}"
        session.output.news("finished", text, **asdict(stats))


def _listen(session: Session, news: _News) -> Any:
    options = session.options
    limits = RelayLimits(max_peers=options.max_peers, max_couples=options.max_streams)
    return session.node.relay(firewall=allow_firewall(options), limits=limits, observer=news)


class _News:
    """
    What happens at the relay: its :class:`~spaceswarm_proxy.peering.relay_port.RelayObserver`.

    It is told from :meth:`tell`, not by the events themselves: that nobody reads it ends the command.
    """

    port: RelayPort

    def __init__(self, session: Session) -> None:
        self._output = session.output
        self._queue: DeferredQueue[Callable[[], None]] = DeferredQueue()

    async def tell(self) -> None:
        """Tell what happens, for ever."""
        while True:
            (await self._queue.get())()

    def came(self, public_key: bytes) -> None:
        """A peer is connected."""
        self._tell_peer("connection", "connected", public_key)

    def left(self, public_key: bytes) -> None:
        """It is not any more."""
        self._tell_peer("closed", "gone", public_key)

    def coupled(self) -> None:
        """Two peers have met."""
        couples = self.port.stats.couples
        self._queue.put(lambda: self._output.news("coupled", f"streams now: {couples}", couples=couples))

    def _tell_peer(self, event: str, verb: str, public_key: bytes) -> None:
        key, peers = public_key.hex(), self.port.stats.peers
        text = f"{verb}: {key}; peers now: {peers}"
        self._queue.put(lambda: self._output.news(event, text, remote_public_key=key, peers=peers))


COMMAND = Command(
    name="relay",
    summary="carry streams of peers that cannot reach each other",
    add_arguments=add_arguments,
    run=run,
    stays=True,
    description="""\
Print our public key, and be a blind relay: peers that name it meet here, and their streams go through this machine,
encrypted from end to end. It should have an address that everybody can reach. Ctrl-C or SIGTERM ends it.

  spaceswarm relay --seed-file my.seed --port 49737
  spaceswarm listen --relay-through KEY""",
)
