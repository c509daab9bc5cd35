"""``spaceswarm announce``: be found under a topic."""

from __future__ import annotations

import random
import time
from argparse import ArgumentParser, Namespace
from typing import Any

from twisted.internet.defer import CancelledError, TimeoutError
from twisted.internet.task import deferLater

from spaceswarm_proxy.commands.command import Command
from spaceswarm_proxy.commands.dht_options import add_dht_options, argument, ip_and_port
from spaceswarm_proxy.commands.options import add_topic
from spaceswarm_proxy.commands.session import Session, run_with_node
from spaceswarm_proxy.commands.standard_io import STDOUT
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.interfaces import HostPort

#: Seconds from one announce to the next: at least, and how many more it may be by chance.
INTERVAL = 600.0
SPREAD = 120.0
#: Seconds after which one that has failed is tried again.
RETRY = 60.0
#: Seconds that it may take to be forgotten.
LEAVING = 5.0


def add_arguments(parser: ArgumentParser) -> None:
    """The topic, who forwards to us, and the network."""
    add_topic(parser)
    parser.add_argument(
        "--relay",
        metavar="IP:PORT",
        action="append",
        type=argument(ip_and_port),
        default=[],
        help="a node that forwards handshakes to us; may be given three times",
    )
    parser.add_argument("--bump", action="store_true", help="tell whoever looks that there is news")
    parser.add_argument("--once", action="store_true", help="do it once and leave it; it is forgotten in 20 minutes")
    add_dht_options(parser)


async def run(reactor: Any, options: Namespace, stdout: int = STDOUT) -> int:
    """
    Announce again and again until the command is cancelled.

    :raises SpaceswarmError: the network does not answer, or does not take it.
    """
    return await run_with_node(reactor, options, stdout, _announce)


async def _announce(session: Session) -> None:
    await session.reach_network()
    announcer = _Announcer(session)
    try:
        await announcer.announce()
        while not session.options.once:
            await announcer.announce_again()
    except (CancelledError, OSError):
        if not session.options.once:
            await announcer.take_back()
        announcer.tell_finished()
        raise
    announcer.tell_finished()


class _Announcer:
    """One topic, and how often it was announced."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._topic = session.options.topic
        self._bump = int(time.time() * 1000) if session.options.bump else 0
        self._times = 0
        #: Where the last query ended, so that the next one is short.
        self._nodes: tuple[HostPort, ...] = ()
        self._wait = 0.0

    async def announce(self) -> None:
        """:raises SpaceswarmError: nobody has taken it."""
        session, node = self._session, self._session.node
        relays = session.options.relay
        replies = node.announce(self._topic, relays=relays, bump=self._bump, nodes=self._nodes)
        with session.walking("announcing"):
            await replies.finished()
        self._nodes = replies.closest
        self._times += 1
        self._wait = INTERVAL + SPREAD * random.random()
        key, stored = node.key_pair.public_key.hex(), replies.stored
        text = f"announced at {stored} nodes as {key}"
        session.output.news("announced", text, topic=self._topic.hex(), public_key=key, stored=stored)

    async def announce_again(self) -> None:
        """When it is time; what fails is tried again soon."""
        output, reactor = self._session.output, self._session.reactor
        await deferLater(reactor, self._wait)
        try:
            await self.announce()
        except SpaceswarmError as problem:
            self._wait = RETRY
            output.narrator.say(f"{problem}; trying again")
            output.failed(problem)

    async def take_back(self) -> None:
        """Be found no more, if that can be told in a moment."""
        output = self._session.output
        forgotten = self._session.node.unannounce(self._topic, nodes=self._nodes)
        try:
            await forgotten.addTimeout(LEAVING, self._session.reactor)
        except (SpaceswarmError, TimeoutError):
            output.narrator.say("nobody could be told that we are gone; it is forgotten in 20 minutes")
        else:
            output.news("unannounced", "taken back")

    def tell_finished(self) -> None:
        """That was all."""
        self._session.output.news("finished", f"announces: {self._times}", announces=self._times)


COMMAND = Command(
    name="announce",
    summary="be found under a topic",
    add_arguments=add_arguments,
    run=run,
    stays=True,
    description="""\
Be found under a topic, until Ctrl-C or SIGTERM, and then no more. Who finds us learns our public key and
the nodes that were named as relays; this command itself takes no connections.""",
)
