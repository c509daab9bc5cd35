"""``spaceswarm get``: a value that somebody has stored in the network."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from spaceswarm_proxy.codec.key_text import decode_key
from spaceswarm_proxy.commands.command import Command, CommandError
from spaceswarm_proxy.commands.dht_options import add_dht_options, add_mutable, argument, sequence_number
from spaceswarm_proxy.commands.output import Field
from spaceswarm_proxy.commands.session import Session, run_with_node
from spaceswarm_proxy.commands.standard_io import STDOUT
from spaceswarm_proxy.crypto.hashing import hash32

#: The error's code for programs.
NOT_FOUND = "not-found"


def add_arguments(parser: ArgumentParser) -> None:
    """What to get, and the network."""
    parser.add_argument(
        "key", metavar="HASH|KEY", type=argument(decode_key), help="what 'put' has printed, hex or z-base-32"
    )
    add_mutable(parser, "the lowest number that will do")
    add_dht_options(parser)


async def run(reactor: Any, options: Namespace, stdout: int = STDOUT) -> int:
    """
    Write the value as it is.

    :raises CommandError: nobody has it.
    :raises SpaceswarmError: the network does not answer.
    """
    return await run_with_node(reactor, options, stdout, _get)


async def _get(session: Session) -> None:
    lowest = sequence_number(session.options)
    await session.reach_network()
    await (_get_mutable(session, lowest) if session.options.mutable else _get_immutable(session))


async def _get_immutable(session: Session) -> None:
    target = session.options.key
    with session.walking("looking for it"):
        reply = await session.node.immutable_get(target)
    if reply is None:
        raise CommandError("nobody has a value with this hash", NOT_FOUND)
    fields: dict[str, Field] = {"target": target.hex(), "value": reply.value.hex(), "from": str(reply.node)}
    session.output.result("value", reply.value, **fields)
    session.output.news("finished", f"{len(reply.value)} bytes from {reply.node}", size=len(reply.value))


async def _get_mutable(session: Session, lowest: int) -> None:
    key = session.options.key
    with session.walking("looking for it"):
        reply = await session.node.mutable_get(key, lowest)
    if reply is None:
        raise CommandError("nobody has such a value of this key", NOT_FOUND)
    _, seq, value, _ = reply.value
    who: dict[str, Field] = {"target": hash32(key).hex(), "public_key": key.hex()}
    what: dict[str, Field] = {"value": value.hex(), "seq": seq, "from": str(reply.node)}
    session.output.result("value", value, **who, **what)
    session.output.news("finished", f"{len(value)} bytes with number {seq} from {reply.node}", size=len(value))


COMMAND = Command(
    name="get",
    summary="get a value that was put into the network",
    add_arguments=add_arguments,
    run=run,
    description="""\
Write a value to standard output, as it is: the one with this hash, or, with --mutable, the latest of whoever
has this public key.""",
)
