"""``spaceswarm connect``: open streams to a peer by its public key."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Any

from spaceswarm_proxy.codec.key_text import decode_key
from spaceswarm_proxy.commands.command import Command
from spaceswarm_proxy.commands.conversation import Conversation
from spaceswarm_proxy.commands.dht_options import add_json, argument
from spaceswarm_proxy.commands.forwarding import take
from spaceswarm_proxy.commands.network_options import add_network_options
from spaceswarm_proxy.commands.options import add_timeout
from spaceswarm_proxy.commands.peer_options import add_max_streams, place
from spaceswarm_proxy.commands.peer_session import PeerSession, run_with_network
from spaceswarm_proxy.commands.places import tcp_server
from spaceswarm_proxy.commands.session import interruptible
from spaceswarm_proxy.commands.splice import ready
from spaceswarm_proxy.commands.standard_io import STDERR, STDIN, STDOUT, flags_restored


def add_arguments(parser: ArgumentParser) -> None:
    """The peer, what the streams are for, and the network."""
    parser.add_argument(
        "key", metavar="KEY", type=argument(decode_key), help="the peer's public key: hex, z-base-32 or pear://"
    )
    parser.add_argument(
        "--tcp",
        metavar="PORT",
        type=argument(place),
        help="listen on this TCP port, also as HOST:PORT, and open a stream for each connection; 0 is any free port;"
        " 'spaceswarm forward --listen' does the same and more",
    )
    add_max_streams(parser, "with --tcp: ")
    add_timeout(parser, "a stream is not open", "try as long as there may be a way")
    add_network_options(parser)
    add_json(parser)


async def run(reactor: Any, options: Namespace, stdin: int = STDIN, stdout: int = STDOUT, stderr: int = STDERR) -> int:
    """
    Open one stream, or one for each TCP connection until the command is cancelled.

    :raises CommandError: the stream failed, or the TCP port is not to be had.
    :raises SpaceswarmError: there is no way to the peer, or the network does not answer.
    """
    if options.tcp is not None:
        return await run_with_network(reactor, options, stdout, _take)
    with flags_restored(stdin, stdout):
        converse = partial(_converse, stdin=stdin, stdout=stdout)
        return await run_with_network(reactor, options, stderr, converse)


async def _converse(session: PeerSession, stdin: int, stdout: int) -> None:
    await session.reach_network()
    conversation = Conversation(session.reactor, stdin, stdout)
    with session.walking("connecting"):
        await interruptible(session.connect(ready(conversation), session.options.timeout))
    await conversation.finished(session)


async def _take(session: PeerSession) -> None:
    await session.reach_network()
    options = session.options
    await take(
        session,
        tcp_server(session.reactor, options.tcp),
        lambda factory: session.connect(factory, options.timeout),
    )


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
