"""``spaceswarm connect``: open streams to a peer by its public key."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from spaceswarm_proxy.codec.key_text import decode_key
from spaceswarm_proxy.commands.command import Command, CommandError
from spaceswarm_proxy.commands.conversation import Conversation
from spaceswarm_proxy.commands.dht_options import add_dht_options, argument
from spaceswarm_proxy.commands.forwarding import Forwarding
from spaceswarm_proxy.commands.options import add_timeout
from spaceswarm_proxy.commands.peer_options import add_peer_options, place
from spaceswarm_proxy.commands.session import Session, interruptible, run_with_node
from spaceswarm_proxy.commands.splice import ready
from spaceswarm_proxy.commands.standard_io import STDERR, STDIN, STDOUT, flags_restored
from spaceswarm_proxy.errors import ConnectTimeoutError

Result = TypeVar("Result")


def add_arguments(parser: ArgumentParser) -> None:
    """The peer, what the streams are for, and the network."""
    parser.add_argument(
        "key", metavar="KEY", type=argument(decode_key), help="the peer's public key: hex, z-base-32 or pear://"
    )
    parser.add_argument(
        "--tcp",
        metavar="PORT",
        type=argument(place),
        help="listen on this TCP port, also as HOST:PORT, and open a stream for each connection; 0 is any free port",
    )
    add_peer_options(parser)
    add_timeout(parser, "a stream is not open", "try as long as there may be a way")
    add_dht_options(parser)


async def run(reactor: Any, options: Namespace, stdin: int = STDIN, stdout: int = STDOUT, stderr: int = STDERR) -> int:
    """
    Open one stream, or one for each TCP connection until the command is cancelled.

    :raises CommandError: the stream failed, or the TCP port is not to be had.
    :raises SpaceswarmError: there is no way to the peer, or the network does not answer.
    """
    if options.tcp is not None:
        return await run_with_node(reactor, options, stdout, _serve, begun=None)
    with flags_restored(stdin, stdout):
        converse = partial(_converse, stdin=stdin, stdout=stdout)
        return await run_with_node(reactor, options, stderr, converse, begun=None)


def _open(session: Session, factory: IProtocolFactory) -> Deferred[IProtocol]:
    return open_stream(session, factory, session.options.timeout)


def open_stream(session: Session, factory: IProtocolFactory, timeout: float | None) -> Deferred[IProtocol]:
    """
    Connect to the peer that the options name, in the ways that they allow.

    :param timeout: seconds, after which the Deferred that is returned fails with ``ConnectTimeoutError``.
    """
    options = session.options
    opening = session.node.connect(
        options.key, factory, relay_through=options.relay_through, local_connection=options.local
    )
    if timeout is not None:
        opening.addTimeout(timeout, session.reactor, _too_late)
    return opening


def _too_late(result: Result | Failure, seconds: float) -> Result:
    if isinstance(result, Failure):
        raise ConnectTimeoutError(f"no stream was open in {seconds:g} s") from result.value
    return result


async def _converse(session: Session, stdin: int, stdout: int) -> None:
    await session.reach_network()
    conversation = Conversation(session.reactor, stdin, stdout)
    with session.walking("connecting"):
        await interruptible(_open(session, ready(conversation)))
    await conversation.finished(session)


async def _serve(session: Session) -> None:
    await session.reach_network()
    forwarding = Forwarding(session, partial(_open, session), attrgetter("made"))
    wanted = session.options.tcp
    try:
        port = session.reactor.listenTCP(wanted.port, forwarding, interface=wanted.host)
    except CannotListenError as problem:
        raise CommandError(str(problem).rstrip(".")) from problem
    try:
        _tell_listening(session, port.getHost())
        await forwarding.stages.begun
        await forwarding.stages.finished
    finally:
        await port.stopListening()
        await forwarding.close()


def _tell_listening(session: Session, address: Any) -> None:
    key, host, port = session.node.key_pair.public_key.hex(), address.host, address.port
    session.output.news("listening", f"listening on {host}:{port}", host=host, port=port, public_key=key)


COMMAND = Command(
    name="connect",
    summary="open a stream to a peer by its public key",
    add_arguments=add_arguments,
    run=run,
    stays=True,
    description="""\
Open an encrypted stream to whoever listens under a public key, wherever that is: from standard input and
output, or, with --tcp, one for each connection to a port of this machine. On one machine, and on another:

  spaceswarm listen --seed-file my.seed
  spaceswarm connect KEY""",
)
