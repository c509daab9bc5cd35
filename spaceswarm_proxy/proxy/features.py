"""What a side can do beyond the JavaScript protocol; said in READY, in force when both have said it."""

from __future__ import annotations

import enum


class Feature(enum.IntFlag):
    """The bits of READY's ``features`` field (``docs/protocol.md``, section 5)."""

    #: Streams have credit windows; WINDOW events grant more.
    WINDOWS = 1
    #: JOIN, LEAVE, CONNECT, LISTEN and UNLISTEN carry a request number, and REPLY answers it; ERROR may be sent by
    #: clients too.
    REPLIES = 2
    #: JOIN says whether to look up, to announce, or both; LISTEN asks for the streams that peers open.
    ROLES = 4
    #: PING is answered by PONG, and silence means that the link is dead.
    LIVENESS = 8
    #: READY's ``key`` chooses who the client is; the server's says who that turned out to be.
    IDENTITY = 16
    #: READY's ``token`` is looked at.
    TOKEN = 32
    #: The client keeps its secret key: the server asks for what needs it, and carries cipher text.  It takes *replies*
    #: and *identity*.
    END_TO_END = 64


#: Everything that this program can do.
ALL = (
    Feature.WINDOWS
    | Feature.REPLIES
    | Feature.ROLES
    | Feature.LIVENESS
    | Feature.IDENTITY
    | Feature.TOKEN
    | Feature.END_TO_END
)
_NEEDED = Feature.REPLIES | Feature.IDENTITY


def agreed(said: int | None, own: Feature = ALL) -> Feature:
    """
    What is in force with a remote that has said this; both sides take it from here.

    :param said: its ``features``, any number.  An enumeration remembers every value that it was ever asked for, so the
        bits that mean nothing to us go first.
    :param own: what we have said, or are about to say.
    """
    both = (said or 0) & own.value
    if both & _NEEDED.value != _NEEDED.value:
        both &= ~Feature.END_TO_END.value
    return Feature(both)


class Role(enum.IntFlag):
    """What JOIN's ``roles`` field asks for."""

    LOOKUP = 1
    ANNOUNCE = 2
