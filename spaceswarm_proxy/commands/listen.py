"""``spaceswarm listen``: take streams that peers open to our public key."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from spaceswarm_proxy.commands.command import Command, CommandError
from spaceswarm_proxy.commands.conversation import Conversation
from spaceswarm_proxy.commands.dht_options import add_dht_options, argument
from spaceswarm_proxy.commands.forwarding import Forwarding
from spaceswarm_proxy.commands.options import add_timeout, in_time
from spaceswarm_proxy.commands.peer_options import add_allow, add_peer_options, allow_firewall, service
from spaceswarm_proxy.commands.session import Session, interruptible, run_with_node
from spaceswarm_proxy.commands.standard_io import STDERR, STDIN, STDOUT, flags_restored
from spaceswarm_proxy.errors import ConnectError
from spaceswarm_proxy.network.tcp import dial
from spaceswarm_proxy.peering.port import PeerPort

#: What is not in time, for the user.
_NOBODY = "nobody has connected"


def add_arguments(parser: ArgumentParser) -> None:
    """What the streams are for, who may open them, and the network."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--tcp", metavar="HOST:PORT", type=argument(service), help="give each stream to this TCP service, many at once"
    )
    what.add_argument("--keep", action="store_true", help="take the next stream when one has ended")
    add_allow(parser, "take streams of these only; by default of everybody")
    add_peer_options(parser)
    add_timeout(parser, _NOBODY, "wait")
    add_dht_options(parser)


async def run(reactor: Any, options: Namespace, stdin: int = STDIN, stdout: int = STDOUT, stderr: int = STDERR) -> int:
    """
    Take one stream, one after the other, or many, until the command is cancelled.

    :raises CommandError: nobody came in time, or the stream failed.
    :raises SpaceswarmError: the network does not answer.
    """
    if options.tcp is not None:
        return await run_with_node(reactor, options, stdout, _serve, begun=None)
    with flags_restored(stdin, stdout):
        converse = partial(_converse, stdin=stdin, stdout=stdout)
        return await run_with_node(reactor, options, stderr, converse, begun=None)


async def be_found(session: Session, factory: Factory) -> PeerPort:
    """Be found, and tell by which key."""
    options, node = session.options, session.node
    await session.reach_network()
    with session.walking("announcing"):
        opening = node.listen(
            None,
            factory,
            firewall=allow_firewall(options),
            relay_through=options.relay_through,
            share_local_address=options.local,
        )
        peer_port = await interruptible(opening)
    key, (host, port) = node.key_pair.public_key.hex(), node.address
    session.output.result("listening", key, public_key=key, host=host, port=port)
    return peer_port


# Many streams, each with a TCP connection.


async def _serve(session: Session) -> None:
    forwarding = Forwarding(session, partial(_dial, session), attrgetter("came"))
    await be_found(session, forwarding)
    try:
        await in_time(forwarding.stages.begun, session.options, session.reactor, _NOBODY)
        await forwarding.stages.finished
    finally:
        await forwarding.close()


def _dial(session: Session, factory: IProtocolFactory) -> Deferred[IProtocol]:
    place = session.options.tcp

    def explain(failure: Failure) -> Failure:
        failure.trap(ConnectError)
        return Failure(CommandError(f"{place}: {failure.value}", failure.value.code))

    return dial(session.reactor, place, factory).addErrback(explain)


# One stream at a time, with standard input and output.


async def _converse(session: Session, stdin: int, stdout: int) -> None:
    keep = session.options.keep
    door = _Door(lambda: Conversation(session.reactor, stdin, stdout, closes=not keep))
    guest = door.expect()
    port = await be_found(session, door)
    await in_time(guest.stages.begun, session.options, session.reactor, _NOBODY)
    if not keep:
        port.stopListening()
        await guest.finished(session)
    while keep:
        await _whatever_happens(guest, session)
        guest = door.expect()
        await guest.stages.begun


async def _whatever_happens(guest: Conversation, session: Session) -> None:
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
