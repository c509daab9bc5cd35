"""``spaceswarm send``: give a file to whoever asks for it by our public key."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from spaceswarm_proxy.commands.command import Command, CommandError
from spaceswarm_proxy.commands.dht_options import add_json
from spaceswarm_proxy.commands.file_messages import Begin, Have, Offer, Verdict
from spaceswarm_proxy.commands.file_progress import Meter, Transfer
from spaceswarm_proxy.commands.file_stream import FileStream
from spaceswarm_proxy.commands.network_options import add_network_options
from spaceswarm_proxy.commands.partial_file import hashed
from spaceswarm_proxy.commands.peer_options import add_allow
from spaceswarm_proxy.commands.peer_session import PeerSession, run_with_network
from spaceswarm_proxy.commands.stages import Stages
from spaceswarm_proxy.commands.standard_io import STDOUT
from spaceswarm_proxy.errors import FileMismatchError, SpaceswarmError

#: Peers that are given the file at once; each takes a file descriptor and a stream's buffers.
MAX_RECEIVERS = 100


def add_arguments(parser: ArgumentParser) -> None:
    """The file, who may have it, and the network."""
    parser.add_argument("file", metavar="FILE", type=Path, help="what to give; it must not change meanwhile")
    parser.add_argument("--once", action="store_true", help="end when somebody has received it")
    add_allow(parser, "give it to these only; by default to everybody who knows our key")
    add_network_options(parser)
    add_json(parser)


async def run(reactor: Any, options: Namespace, stdout: int = STDOUT) -> int:
    """
    Give the file to everybody who comes, until the command is cancelled; or once.

    :raises CommandError: there is no such file.
    :raises SpaceswarmError: the network does not answer.
    """
    return await run_with_network(reactor, options, stdout, _send)


async def _send(session: PeerSession) -> None:
    source = Source(session.options.file)
    session.output.narrator.progress(f"reading {source.path}")
    giving = Giving(session, source, await source.offer(session.reactor))
    try:
        await session.be_found(giving)
        await giving.stages.finished
    finally:
        giving.close()


class Source:
    """The file, which must stay as it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int, int] | None = None

    async def offer(self, reactor: Any) -> Offer:
        """
        Read all of it.

        :raises CommandError: it is no file, or its name is too long.
        """
        with self.open() as file:
            size = os.fstat(file.fileno()).st_size
            digest = await hashed(reactor, file, size, _nothing)
        name = os.fsencode(self.path.resolve().name).decode("utf-8", "replace")
        offer = Offer(name, size, digest.digest())
        try:
            offer.encode()
        except ValueError as problem:
            raise CommandError(f"{self.path}: {problem}") from problem
        return offer

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """:raises CommandError: it cannot be read, or has changed since the last time."""
        if not self.path.is_file():
            raise CommandError(f"{self.path} is not a file")
        try:
            with open(self.path, "rb", buffering=0) as file:
                self._check(os.fstat(file.fileno()))
                yield file
        except OSError as problem:
            raise CommandError(f"cannot read {self.path}: {problem.strerror}") from problem

    def _check(self, now: os.stat_result) -> None:
        stamp = now.st_ino, now.st_size, now.st_mtime_ns
        if self._stamp not in (None, stamp):
            raise CommandError(f"{self.path} has changed; it must be sent anew")
        self._stamp = stamp


class Giving(Factory):
    """The factory of the streams; each is given the file, and what comes of that is told at once."""

    noisy = False

    def __init__(self, session: PeerSession, source: Source, offer: Offer) -> None:
        #: Finished when somebody has received it, if once is enough; it fails if nobody reads what is told.
        self.stages = Stages()
        self._session = session
        self._source = source
        self._offer = offer
        self._meter = Meter(session.reactor, session.output)
        self._giving: dict[FileStream, Deferred[None]] = {}

    def buildProtocol(self, address: IAddress | None) -> FileStream | None:
        """:returns: the protocol of a stream that has come; ``None`` when there are too many."""
        return FileStream(self._begin) if len(self._giving) < MAX_RECEIVERS else None

    def close(self) -> None:
        """Give nothing more."""
        for giving in list(self._giving.values()):
            giving.cancel()

    def _begin(self, stream: FileStream) -> None:
        self._giving[stream] = giving = Deferred.fromCoroutine(self._serve(stream))
        giving.addErrback(self._broken).addBoth(self._ended, stream)

    def _ended(self, _: object, stream: FileStream) -> None:
        self._giving.pop(stream, None)

    def _broken(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.stages.fail(failure.value)

    async def _serve(self, stream: FileStream) -> None:
        key, output = stream.remote_key, self._session.output
        output.news("connection", f"connected with {key}", remote_public_key=key)
        try:
            await self._give(stream)
        except (CommandError, SpaceswarmError) as problem:
            output.narrator.say(f"{key[:8]}: {problem}")
            output.failed(problem, remote_public_key=key)
        else:
            name, size, sha256 = self._offer.name, self._offer.size, self._offer.sha256.hex()
            output.news("sent", f"{key} has received it", remote_public_key=key, name=name, size=size, sha256=sha256)
            if self._session.options.once:
                self.stages.finish()
        finally:
            stream.abort()

    async def _give(self, stream: FileStream) -> None:
        offer = self._offer
        with self._source.open() as file:
            stream.say(offer.encode())
            have = Have.parse(await stream.message(), offer)
            digest = await hashed(self._session.reactor, file, have.size, stream.check)
            offset = have.size if digest.digest() == have.sha256 else 0
            stream.say(Begin(offset).encode())
            file.seek(offset)
            with self._meter.watching(Transfer(stream.remote_key, offer.size, offset)) as transfer:
                await stream.send(file, offer.size - offset, transfer.more)
                verdict = Verdict.parse(await stream.message())
        if verdict is Verdict.MISMATCH:
            raise FileMismatchError("what the peer has received is not what was sent; has the file changed?")
        await stream.finish(self._session.reactor)


def _nothing() -> None:
    """While the file is read, nothing can come in between."""


COMMAND = Command(
    name="send",
    summary="give a file to whoever asks for it by our key",
    add_arguments=add_arguments,
    run=run,
    stays=True,
    description="""\
Print our public key, and give a file to everybody who connects to it, until Ctrl-C or SIGTERM. What was cut
goes on where it was, also after a restart if the key stays the same. On one machine, and on another:

  spaceswarm send big.iso --seed-file my.seed
  spaceswarm receive KEY""",
)
