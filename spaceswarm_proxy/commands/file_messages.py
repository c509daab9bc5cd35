"""
What ``send`` and ``receive`` say to each other, beside the bytes of the file.

Each message is a frame with a length of three bytes.  The sender speaks first, each in turn once::

    offer    53 46 01 | size:uint | sha256:32 | name:string     the sender: the file, and version 1
    have     size:uint | sha256:32                              the receiver: its first bytes are here, and their hash
    begin    offset:uint                                        the sender: what follows begins there: size, or 0
    ...      the file's bytes from there to its end, without frames
    verdict  00 or 01                                           the receiver: it has the file, or something else

The receiver refuses a name that could be more than that; the sender looks at no more of its file than it has offered.
"""

from __future__ import annotations

from enum import IntEnum
from io import BytesIO
from typing import Any, NamedTuple

from construct import Const, Construct, ConstructError, Struct, Terminated

from spaceswarm_proxy.codec.compact import FIXED32, TEXT, UINT, UINT8
from spaceswarm_proxy.errors import MessageError

#: Bytes of the longest name, so that a file system that takes 255 takes it with a suffix.
MAX_NAME = 240
#: Bytes of the longest message.
MAX_MESSAGE = 512

OFFER = Struct("magic" / Const(b"SF\x01"), "size" / UINT, "sha256" / FIXED32, "name" / TEXT, Terminated)
HAVE = Struct("size" / UINT, "sha256" / FIXED32, Terminated)
BEGIN = Struct("offset" / UINT, Terminated)
VERDICT = Struct("verdict" / UINT8, Terminated)


class Verdict(IntEnum):
    """What the receiver makes of it."""

    RECEIVED = 0
    MISMATCH = 1

    @classmethod
    def parse(cls, message: bytes) -> Verdict:
        """:raises MessageError: it is none."""
        number = _parse(VERDICT, message).verdict
        if number not in tuple(cls):
            raise MessageError("unknown-verdict", str(number))
        return cls(number)

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        return bytes((self,))


class Offer(NamedTuple):
    """The file."""

    #: What the sender calls it; to be looked at with :func:`checked_name` before it names anything.
    name: str
    #: Bytes.
    size: int
    #: Of all of it, 32 bytes.
    sha256: bytes

    @classmethod
    def parse(cls, message: bytes) -> Offer:
        """:raises MessageError: it is none."""
        fields = _parse(OFFER, message)
        return cls(fields.name, fields.size, fields.sha256)

    def encode(self) -> bytes:
        """
        :returns: it in bytes.
        :raises ValueError: the name is too long.
        """
        if len(self.name.encode()) > MAX_NAME:
            raise ValueError(f"a name has {MAX_NAME} bytes at most")
        built: bytes = OFFER.build({"size": self.size, "sha256": self.sha256, "name": self.name})
        return built


class Have(NamedTuple):
    """How much of it is there already."""

    size: int
    #: Of these bytes.
    sha256: bytes

    @classmethod
    def parse(cls, message: bytes, offer: Offer) -> Have:
        """:raises MessageError: it is none, or more than was offered."""
        fields = _parse(HAVE, message)
        if fields.size > offer.size:
            raise MessageError("more-than-offered", str(fields.size))
        return cls(fields.size, fields.sha256)

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        built: bytes = HAVE.build(self._asdict())
        return built


class Begin(NamedTuple):
    """Where the sender goes on."""

    offset: int

    @classmethod
    def parse(cls, message: bytes, have: Have) -> Begin:
        """:raises MessageError: it is none, or neither the beginning nor what was asked for."""
        offset = _parse(BEGIN, message).offset
        if offset not in (0, have.size):
            raise MessageError("bad-offset", str(offset))
        return cls(offset)

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        built: bytes = BEGIN.build(self._asdict())
        return built


def checked_name(name: str) -> str:
    """
    Look at a name that a remote has for a file.

    :returns: it, which names a file in any directory, and never one of another directory, or a hidden one.
    :raises MessageError: it is no such name.
    """
    harmless = name and not name.startswith(".") and name.isprintable() and not set(name) & set("/\\:")
    if not harmless or len(name.encode()) > MAX_NAME:
        raise MessageError("bad-name", ascii(name[:MAX_NAME]))
    return name


def _parse(grammar: Construct, message: bytes) -> Any:
    if len(message) > MAX_MESSAGE:
        raise MessageError("too-long", str(len(message)))
    try:
        return grammar.parse_stream(BytesIO(message))
    except ConstructError as problem:
        raise MessageError("bad-message", type(problem).__name__) from None
