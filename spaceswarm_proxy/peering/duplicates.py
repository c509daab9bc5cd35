"""Which of two streams with the same peer stays in a pool."""

from __future__ import annotations


def replaces(own_key: bytes, remote_key: bytes, same_role: bool) -> bool:
    """
    Decide when a stream comes to a pool that has one with the same peer, open or still being opened.

    A peer that opens a second one has lost the first.  When both sides connect at the same moment, each meets the
    other's stream while it has its own: then the side with the larger key gives its own up, and the other keeps its
    own.  This is how the reference's pool has it; its swarm has it the other way round, and so has ours.

    :param own_key: our public key, 32 bytes.
    :param remote_key: the peer's.
    :param same_role: both streams were opened by the same side.
    :returns: whether the new one stays and the old one ends; otherwise it is the other way round.
    :source: spec/connect.md, 10.11.
    """
    return same_role or own_key > remote_key
