"""``spaceswarm listen``: take streams that peers open to our public key."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from typing import Any

import txaio
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from spaceswarm_proxy.commands.command import Command, CommandError
from spaceswarm_proxy.commands.conversation import Conversation
from spaceswarm_proxy.commands.dht_options import add_json, argument
from spaceswarm_proxy.commands.forwarding import NOBODY, serve
from spaceswarm_proxy.commands.network_options import add_network_options
from spaceswarm_proxy.commands.options import add_timeout, in_time
from spaceswarm_proxy.commands.peer_options import add_allow, add_max_streams, service
from spaceswarm_proxy.commands.peer_session import PeerSession, run_with_network
from spaceswarm_proxy.commands.places import tcp_dial
from spaceswarm_proxy.commands.standard_io import STDERR, STDIN, STDOUT, flags_restored

log = txaio.make_logger()


def add_arguments(parser: ArgumentParser) -> None:
    """What the streams are for, who may open them, and the network."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        type=argument(service),
        help="give each stream to this TCP service, many at once; 'spaceswarm forward --serve' does the same and more",
    )
    what.add_argument("--keep", action="store_true", help="take the next stream when one has ended")
    add_allow(parser, "take streams of these only; by default of everybody")
    add_max_streams(parser, "with --tcp: ")
    add_timeout(parser, NOBODY, "wait")
    add_network_options(parser)
    add_json(parser)


async def run(reactor: Any, options: Namespace, stdin: int = STDIN, stdout: int = STDOUT, stderr: int = STDERR) -> int:
    """
    Take one stream, one after the other, or many, until the command is cancelled.

    :raises CommandError: nobody came in time, or the stream failed.
    :raises SpaceswarmError: the network does not answer.
    """
    if options.tcp is not None:
        return await run_with_network(reactor, options, stdout, _serve)
    with flags_restored(stdin, stdout):
        converse = partial(_converse, stdin=stdin, stdout=stdout)
        return await run_with_network(reactor, options, stderr, converse)


async def _serve(session: PeerSession) -> None:
    await serve(session, tcp_dial(session.reactor, session.options.tcp))


async def _converse(session: PeerSession, stdin: int, stdout: int) -> None:
    keep = session.options.keep
    door = _Door(lambda: Conversation(session.reactor, stdin, stdout, closes=not keep))
    guest = door.expect()
    port = await session.be_found(door)
    await in_time(guest.stages.begun, session.options, session.reactor, NOBODY)
    if not keep:
        maybeDeferred(port.stopListening).addErrback(_not_stopped)
        await guest.finished(session)
    while keep:
        await _whatever_happens(guest, session)
        guest = door.expect()
        await guest.stages.begun


def _not_stopped(failure: Failure) -> None:
    """Whoever still comes is refused by the door."""
    log.debug("the network was not told that nothing listens any more: {reason}", reason=failure.value)


async def _whatever_happens(guest: Conversation, session: PeerSession) -> None:
    """That a stream has failed is told, and does not keep others from coming."""
    try:
        await guest.finished(session)
    except CommandError as problem:
        session.output.narrator.say(str(problem))
        session.output.failed(problem)


class _Door(Factory):
    """Lets in who is expected, and refuses whoever else comes."""

    noisy = False

    def __init__(self, make: Callable[[], Conversation]) -> None:
        self._make = make
        self._expected: Conversation | None = None

    def expect(self) -> Conversation:
        """:returns: what the next one who comes is connected to."""
        self._expected = self._make()
        return self._expected

    def buildProtocol(self, address: IAddress | None) -> Conversation | None:
        expected, self._expected = self._expected, None
        return expected


COMMAND = Command(
    name="listen",
    summary="take streams that peers open to us",
    add_arguments=add_arguments,
    run=run,
    stays=True,
    description="""\
Print our public key, and take one encrypted stream that a peer opens to it: to standard input and output, or,
with --tcp, any number, each to a TCP service. Ctrl-C or SIGTERM ends it. On one machine, and on another:

  spaceswarm listen > big.iso < /dev/null
  spaceswarm connect KEY < big.iso

  spaceswarm listen --seed-file my.seed --tcp 127.0.0.1:22
  spaceswarm connect KEY --tcp 2222""",
)
