"""What two ends of a crowd say to each other on a connection; ``crowd_talk.js`` is the same in JavaScript."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

#: How many bytes are sent in a round.
Round = tuple[int, int]


class Tell(Protocol):
    """Takes an event: ``met``, ``exchanged``, ``damaged`` or ``parted``, and what goes with it."""

    def __call__(self, event: str, /, **fields: object) -> None: ...


class Talk:
    r"""
    One end of one connection.

    ::

        hello NAME\n                     at once
        blob ROUND LENGTH\n BYTES        random bytes, in each round
        seen ROUND SHA256\n              the answer to a blob
    """

    def __init__(self, name: str, write: Callable[[bytes], object], tell: Tell) -> None:
        """
        :param name: of the end that speaks.
        :param write: sends bytes to the other.
        """
        #: The name of the other, when it has said hello.
        self.peer: str | None = None
        self._write = write
        self._tell = tell
        self._buffer = b""
        self._blob: Round | None = None
        self._sent: dict[int, str] = {}
        self._round: Round | None = None
        write(f"hello {name}\n".encode())

    def round(self, number: int, length: int) -> None:
        """Send so many random bytes, now or as soon as the other has said hello."""
        self._round = (number, length)
        if self.peer is not None:
            payload = os.urandom(length)
            self._sent[number] = sha256(payload).hexdigest()
            self._write(f"blob {number} {length}\n".encode() + payload)

    def received(self, data: bytes) -> None:
        """The other has said something."""
        self._buffer += data
        while self._take_line() if self._blob is None else self._take_blob(*self._blob):
            """There may be more in it."""

    def parted(self) -> None:
        """The connection is gone."""
        if self.peer is not None:
            self._tell("parted", peer=self.peer)

    def _take_line(self) -> bool:
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return False
        self._buffer = rest
        word, *arguments = line.decode("utf-8", "replace").split(" ")
        handlers: dict[str, Callable[..., None]] = {"hello": self._met, "blob": self._begin_blob, "seen": self._seen}
        handlers.get(word, self._damaged)(*arguments)
        return True

    def _take_blob(self, number: int, length: int) -> bool:
        if len(self._buffer) < length:
            return False
        payload, self._buffer = self._buffer[:length], self._buffer[length:]
        self._blob = None
        self._write(f"seen {number} {sha256(payload).hexdigest()}\n".encode())
        return True

    def _met(self, peer: str) -> None:
        self.peer = peer
        self._tell("met", peer=peer)
        if self._round is not None:
            self.round(*self._round)

    def _begin_blob(self, number: str, length: str) -> None:
        self._blob = (int(number), int(length))

    def _seen(self, number: str, digest: str) -> None:
        well = self._sent.pop(int(number), None) == digest
        self._tell("exchanged" if well else "damaged", peer=self.peer, round=int(number))

    def _damaged(self, *_: str) -> None:
        self._tell("damaged", peer=self.peer)
