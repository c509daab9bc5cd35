"""Which of two connections with the same peer stays."""

from __future__ import annotations


def keep_new(own_key: bytes, remote_key: bytes, existing_is_active: bool, new_is_initiator: bool) -> bool:
    """
    Decide when a connection arrives from a peer that we have one with (open, or still being opened).

    When both sides connect at the same moment, each decides for itself; that they choose the same one is the point
    of the rule: without traffic, the connection stays that the side with the larger key opened.  One that has
    carried something both ways gives way to the new one: the peer would not have opened that, had it not lost the old.

    :param own_key: our public key, 32 bytes.
    :param remote_key: the peer's, 32 bytes; another than ours.
    :param existing_is_active: data, or at least signs of life, were both read from the existing one and written to it.
    :param new_is_initiator: this side opened the new one; false for one that arrives.
    :returns: whether the new one stays and the existing one ends; otherwise it is the other way round.
    """
    return existing_is_active or (own_key > remote_key) == new_is_initiator
