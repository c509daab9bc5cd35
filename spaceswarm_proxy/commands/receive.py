"""``spaceswarm receive``: get a file from whoever sends it under a public key."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from twisted.internet.defer import TimeoutError
from twisted.internet.task import deferLater

from spaceswarm_proxy.codec.key_text import decode_key
from spaceswarm_proxy.commands.command import Command, CommandError
from spaceswarm_proxy.commands.dht_options import add_json, argument
from spaceswarm_proxy.commands.file_messages import Begin, Offer, Verdict, checked_name
from spaceswarm_proxy.commands.file_progress import Meter, Transfer, amount
from spaceswarm_proxy.commands.file_stream import FileStream
from spaceswarm_proxy.commands.network_options import add_network_options
from spaceswarm_proxy.commands.options import add_timeout
from spaceswarm_proxy.commands.partial_file import PartialFile
from spaceswarm_proxy.commands.peer_session import PeerSession, run_with_network
from spaceswarm_proxy.commands.session import interruptible
from spaceswarm_proxy.commands.splice import ready
from spaceswarm_proxy.commands.standard_io import STDOUT
from spaceswarm_proxy.errors import (
    ConnectError,
    FileMismatchError,
    LinkError,
    MessageError,
    StreamError,
    StreamTimeoutError,
)

#: Seconds that the sender has to make its offer.
OFFER_TIMEOUT = 20.0
#: Seconds before the stream is opened again: at first, and at most.
FIRST_DELAY, MAX_DELAY = 0.5, 15.0


def add_arguments(parser: ArgumentParser) -> None:
    """Whose file, what it is called here, and the network."""
    parser.add_argument(
        "key", metavar="KEY", type=argument(decode_key), help="the sender's public key: hex, z-base-32 or pear://"
    )
    parser.add_argument(
        "--output",
        metavar="FILE|DIR",
        type=Path,
        default=Path(),
        help="what to call it, or a directory for it to be in under its own name; by default, this one",
    )
    add_timeout(parser, "nothing has come")
    add_network_options(parser)
    add_json(parser)


async def run(reactor: Any, options: Namespace, stdout: int = STDOUT) -> int:
    """
    Receive one file, with as many streams as it takes.

    :raises CommandError: it cannot be written, or there is one of that name.
    :raises SpaceswarmError: it is not what was offered, the sender breaks the protocol, nothing came in time, or the
        network does not answer.
    """
    return await run_with_network(reactor, options, stdout, _receive)


async def _receive(session: PeerSession) -> None:
    await session.reach_network()
    receiving = Receiving(session)
    path, offer = await receiving.result()
    key, size, sha256 = session.options.key.hex(), offer.size, offer.sha256.hex()
    text = os.fsencode(f"{path}\n")
    session.output.result(
        "received", text, path=str(path), name=offer.name, remote_public_key=key, size=size, sha256=sha256
    )


class Receiving:
    """The way to one file."""

    def __init__(self, session: PeerSession) -> None:
        self._session = session
        self._options = session.options
        self._reactor = session.reactor
        self._meter = Meter(session.reactor, session.output)
        self._delay = FIRST_DELAY
        # When something has come for the last time.
        self._since: float = session.reactor.seconds()

    async def result(self) -> tuple[Path, Offer]:
        """
        Try until it is there.

        :returns: where it is, and what was said about it.
        :raises ConnectError: nothing has come in time.
        :raises StreamError: likewise; ``LinkError`` too.
        """
        while True:
            try:
                return await self._attempt()
            except (ConnectError, StreamError, LinkError) as problem:
                left = self._left()
                if left is not None and left <= self._delay:
                    raise
                self._session.output.news(
                    "retry", f"{str(problem).rstrip('.')}; trying again", delay=self._delay, message=str(problem)
                )
            await deferLater(self._reactor, self._delay)
            self._delay = min(2 * self._delay, MAX_DELAY)

    def _left(self) -> float | None:
        timeout: float | None = self._options.timeout
        return None if timeout is None else self._since + timeout - self._reactor.seconds()

    def _progress(self) -> None:
        self._since, self._delay = self._reactor.seconds(), FIRST_DELAY

    async def _attempt(self) -> tuple[Path, Offer]:
        stream = FileStream()
        with self._session.walking("connecting"):
            await interruptible(self._session.connect(ready(stream), self._left()))
        try:
            return await self._take(stream)
        finally:
            stream.abort()

    async def _take(self, stream: FileStream) -> tuple[Path, Offer]:
        offer = Offer.parse(await self._first_message(stream))
        with PartialFile(destination(self._options.output, offer.name)) as partial:
            await self._fill(stream, offer, partial)
            if partial.sha256 == offer.sha256:
                partial.complete()
                stream.say(Verdict.RECEIVED.encode())
            else:
                partial.discard()
                stream.say(Verdict.MISMATCH.encode())
        await stream.finish(self._reactor)
        if partial.sha256 != offer.sha256:
            raise FileMismatchError("what has come is not what was offered; nothing of it is kept")
        return partial.path, offer

    async def _first_message(self, stream: FileStream) -> bytes:
        try:
            return await stream.message().addTimeout(OFFER_TIMEOUT, self._reactor)
        except TimeoutError as problem:
            raise StreamTimeoutError("the peer offers no file") from problem

    async def _fill(self, stream: FileStream, offer: Offer, partial: PartialFile) -> None:
        have = await partial.look(self._reactor, offer.size, stream.check)
        stream.say(have.encode())
        begin = Begin.parse(await stream.message(), have)
        partial.begin(begin.offset)
        self._tell_begun(offer, begin.offset, partial.path)
        transfer = Transfer(stream.remote_key, offer.size, begin.offset)

        def write(data: bytes) -> None:
            partial.write(data)
            transfer.more(len(data))
            self._progress()

        with self._meter.watching(transfer):
            await stream.receive(offer.size - begin.offset, write)

    def _tell_begun(self, offer: Offer, offset: int, path: Path) -> None:
        text = f"receiving {path}, {amount(offer.size)}" + (f", from {amount(offset)} on" if offset else "")
        self._session.output.news("begun", text, path=str(path), name=offer.name, size=offer.size, offset=offset)


def destination(output: Path, name: str) -> Path:
    """
    Where a file is to be.

    :param output: that, or an existing directory.
    :param name: the sender's for it.
    :raises CommandError: it is to have that name, and cannot.
    """
    if not output.is_dir():
        return output
    try:
        return output / checked_name(name)
    except MessageError as problem:
        raise CommandError(f"{problem}: it needs another name, with --output", problem.code) from problem


COMMAND = Command(
    name="receive",
    summary="get a file that is sent under a key",
    add_arguments=add_arguments,
    run=run,
    description="""\
Get the file that somebody sends under a public key. Until it is complete and its hash is right, it is called
NAME.part; what was cut goes on where it was, by itself, or when the command is run again. On one machine, and
on another:

  spaceswarm send big.iso
  spaceswarm receive KEY --output downloads""",
)
