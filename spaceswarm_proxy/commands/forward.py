"""
``spaceswarm forward``: a TCP service here is a TCP port there.

::

    client -- TCP --> forward --listen  ~~~ a stream to a peer ~~~>  forward --serve -- TCP --> service

Either side may be another program: each stream carries one connection's bytes, and nothing else.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory

from spaceswarm_proxy import topics
from spaceswarm_proxy.codec.key_text import decode_key
from spaceswarm_proxy.commands.command import Command, CommandError
from spaceswarm_proxy.commands.dht_options import add_json, argument
from spaceswarm_proxy.commands.forwarding import serve, take
from spaceswarm_proxy.commands.network_options import add_network_options
from spaceswarm_proxy.commands.options import add_timeout, within
from spaceswarm_proxy.commands.peer_options import add_allow, add_max_streams
from spaceswarm_proxy.commands.peer_session import PeerSession, run_with_network
from spaceswarm_proxy.commands.places import server_endpoint, service_dial
from spaceswarm_proxy.commands.splice import Dial
from spaceswarm_proxy.commands.standard_io import STDOUT
from spaceswarm_proxy.commands.topic_peers import TopicPeers


def add_arguments(parser: ArgumentParser) -> None:
    """Which side we are, where the two meet, and the network."""
    side = parser.add_mutually_exclusive_group(required=True)
    side.add_argument(
        "--serve",
        metavar="SERVICE",
        help="give each stream to this TCP service: PORT, HOST:PORT, or a Twisted client endpoint",
    )
    side.add_argument(
        "--listen",
        metavar="PORT",
        help="take connections on this TCP port: PORT (0 is any), HOST:PORT, or a Twisted server endpoint",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "topic", metavar="TOPIC", nargs="?", type=topics.topic, help="where the two meet: 64 hex digits, or any text"
    )
    where.add_argument(
        "--peer",
        dest="key",
        metavar="KEY",
        type=argument(decode_key),
        help="with --listen: this peer instead, by its public key: hex, z-base-32 or pear://",
    )
    add_allow(parser, "with --serve: take streams of these only; by default of everybody")
    add_max_streams(parser)
    add_timeout(
        parser, "nobody has connected (--serve), or a stream is not open (--listen)", "wait as long as it makes sense"
    )
    add_network_options(parser)
    add_json(parser)


async def run(reactor: Any, options: Namespace, stdout: int = STDOUT) -> int:
    """
    Forward connections until the command is cancelled.

    :raises CommandError: the arguments do not go together, or the port is not to be had.
    :raises SpaceswarmError: the network does not answer, or nobody can be found by it.
    """
    return await run_with_network(reactor, options, stdout, _listen if options.serve is None else _serve)


async def _serve(session: PeerSession) -> None:
    options = session.options
    if options.key is not None:
        raise CommandError("--peer goes with --listen: who serves is found by a key of their own")
    await serve(session, service_dial(session.reactor, options.serve, "--serve"), options.topic)


async def _listen(session: PeerSession) -> None:
    options = session.options
    if options.allow is not None:
        raise CommandError("--allow goes with --serve: it is for who is connected to")
    if options.key is None and options.topic is None:
        raise CommandError("--listen needs a TOPIC, or a --peer")
    endpoint = server_endpoint(session.reactor, options.listen, "--listen")
    await session.reach_network()
    if options.key is not None:
        await take(session, endpoint, lambda factory: session.connect(factory, options.timeout))
    else:
        peers = TopicPeers(session.network, options.topic, session.reactor)
        await take(session, endpoint, _in_time(session, peers), peers.demote)


def _in_time(session: PeerSession, peers: TopicPeers) -> Dial:
    def connect(factory: IProtocolFactory) -> Deferred[IProtocol]:
        return within(session.options.timeout, peers.connect(factory), session.reactor)

    return connect


COMMAND = Command(
    name="forward",
    summary="make a TCP service here a TCP port there",
    add_arguments=add_arguments,
    run=run,
    stays=True,
    description="""\
Carry TCP connections to wherever a service is, as 'ssh -L' does; no address or open port is needed. On the machine
with the service, and on any number of others:

  spaceswarm forward 'some secret topic' --serve 127.0.0.1:22
  spaceswarm forward 'some secret topic' --listen 2222
  ssh -p 2222 127.0.0.1

--serve prints a public key. Whoever knows that needs no topic, and can be sure who it is that they reach:

  spaceswarm forward --serve 127.0.0.1:22 --seed-file my.seed --allow KEY,KEY
  spaceswarm forward --peer KEY --listen 2222

Under a topic, each connection goes to the first peer that can be reached, and serves. Ctrl-C or SIGTERM ends it.""",
)
