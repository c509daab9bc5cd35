"""``spaceswarm lookup``: who is under a topic, or where a peer is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from spaceswarm_proxy import topics
from spaceswarm_proxy.codec.key_text import decode_key
from spaceswarm_proxy.commands.command import Command
from spaceswarm_proxy.commands.dht_options import add_dht_options, argument
from spaceswarm_proxy.commands.output import Field
from spaceswarm_proxy.commands.session import Session, run_with_node
from spaceswarm_proxy.commands.standard_io import STDOUT
from spaceswarm_proxy.dht.replies import Replies
from spaceswarm_proxy.dht.results import TopicPeers
from spaceswarm_proxy.interfaces import HostPort, Peer


def add_arguments(parser: ArgumentParser) -> None:
    """The topic or the peer, and the network."""
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("topic", metavar="TOPIC", nargs="?", type=topics.topic, help="64 hex digits, or any text")
    whom.add_argument(
        "--peer",
        metavar="KEY",
        type=argument(decode_key),
        help="look for a peer instead: its public key, in hex or z-base-32",
    )
    add_dht_options(parser)


async def run(reactor: Any, options: Namespace, stdout: int = STDOUT) -> int:
    """
    Tell of each peer once.

    :raises SpaceswarmError: the network does not answer.
    """
    return await run_with_node(reactor, options, stdout, _look)


async def _look(session: Session) -> None:
    await session.reach_network()
    options = session.options
    replies: Replies[Any]
    if options.peer is not None:
        replies = session.node.find_peer(options.peer)
    else:
        replies = session.node.lookup(options.topic)
    try:
        with session.walking("looking"):
            count = await _tell_peers(session, replies)
    finally:
        replies.cancel()
    if not replies.successes:
        raise session.unreachable()
    text = f"{count or 'nobody'} found; {replies.successes} nodes have answered, {replies.errors} have not"
    session.output.news("finished", text, peers=count, answered=replies.successes, failed=replies.errors)


async def _tell_peers(session: Session, replies: Replies[TopicPeers | Peer]) -> int:
    """:returns: how many there are."""
    told: set[bytes] = set()
    async for reply in replies:
        for peer in (reply.value,) if isinstance(reply.value, Peer) else reply.value.peers:
            if peer.id not in told:
                told.add(peer.id)
                _tell(session, peer, reply.node)
    return len(told)


def _tell(session: Session, peer: Peer, node: HostPort) -> None:
    key, relays = peer.id.decode(), [str(relay) for relay in peer.relay_addresses]
    fields: dict[str, Field] = {"public_key": key, "relay_addresses": relays, "from": str(node)}
    session.output.result("peer", " ".join((key, *relays)), **fields)


COMMAND = Command(
    name="lookup",
    summary="find the peers under a topic",
    add_arguments=add_arguments,
    run=run,
    description="""\
Print the public key of each peer under a topic, and the nodes that forward handshakes to it:

  spaceswarm lookup 'some topic'
  spaceswarm lookup --peer KEY""",
)
