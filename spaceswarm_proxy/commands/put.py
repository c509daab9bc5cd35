"""``spaceswarm put``: store a small value in the network."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Any

from spaceswarm_proxy.commands.command import Command, CommandError
from spaceswarm_proxy.commands.dht_options import add_dht_options, add_mutable, sequence_number
from spaceswarm_proxy.commands.session import Session, run_with_node
from spaceswarm_proxy.commands.standard_io import STDIN, STDOUT, flags_restored, read_all
from spaceswarm_proxy.dht.operations import MAX_VALUE
from spaceswarm_proxy.errors import ValueTooLargeError


def add_arguments(parser: ArgumentParser) -> None:
    """The value, whose it is, and the network."""
    parser.add_argument("value", metavar="VALUE", help=f"up to {MAX_VALUE} bytes; - for standard input")
    add_mutable(parser, "its number, higher than that of the value that it replaces")
    add_dht_options(parser)


async def run(reactor: Any, options: Namespace, stdin: int = STDIN, stdout: int = STDOUT) -> int:
    """
    Store it, and tell what it can be found by.

    :raises CommandError: it is not a value, or not certain whose.
    :raises SpaceswarmError: the network does not answer, or does not take it.
    """

    return await run_with_node(reactor, options, stdout, partial(_put, stdin=stdin))


async def _put(session: Session, stdin: int) -> None:
    options = session.options
    seq = sequence_number(options)
    if options.mutable and options.seed is None and options.seed_file is None:
        raise CommandError("--mutable needs --seed or --seed-file: who can replace the value later?")
    value = await _value(session, stdin)
    await session.reach_network()
    with session.walking("storing"):
        copies = await (_put_mutable(session, value, seq) if options.mutable else _put_immutable(session, value))
    session.output.news("finished", f"stored at {copies} nodes, for some two days", copies=copies)


async def _value(session: Session, stdin: int) -> bytes:
    if session.options.value == "-":
        with flags_restored(stdin):
            value = await read_all(stdin, MAX_VALUE + 1, session.reactor)
    else:
        value = os.fsencode(session.options.value)
    if not value:
        raise CommandError("there is no value: it is empty")
    if len(value) > MAX_VALUE:
        raise CommandError(f"the value is too large: nodes keep up to {MAX_VALUE} bytes", ValueTooLargeError.code)
    return value


async def _put_immutable(session: Session, value: bytes) -> int:
    stored = await session.node.immutable_put(value)
    target = stored.target.hex()
    session.output.result("put", target, target=target, copies=stored.copies)
    return stored.copies


async def _put_mutable(session: Session, value: bytes, seq: int) -> int:
    key_pair = session.node.key_pair
    stored = await session.node.mutable_put(key_pair, value, seq)
    key, target = key_pair.public_key.hex(), stored.target.hex()
    session.output.result("put", key, target=target, public_key=key, seq=seq, copies=stored.copies)
    return stored.copies


COMMAND = Command(
    name="put",
    summary="store a small value in the network",
    add_arguments=add_arguments,
    run=run,
    description="""\
Store a value for some two days, and print what it can be got by: its hash, or, with --mutable, the public
key of whoever can replace it.

  spaceswarm put 'hello'
  spaceswarm put --mutable --seed-file my.seed --seq 2 - < news.txt""",
)
