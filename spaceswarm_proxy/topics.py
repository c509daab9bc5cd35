"""What people call a topic, and the 32 bytes that it is."""

from __future__ import annotations

import re
from hashlib import blake2b

from spaceswarm_proxy.interfaces import TOPIC_LENGTH

_HEX = re.compile(f"[0-9a-fA-F]{{{2 * TOPIC_LENGTH}}}")


def topic(text: str) -> bytes:
    """
    The topic that a text means, everywhere in this program.

    :param text: 64 hex digits are the topic itself; of anything else, the BLAKE2b-256 hash of its UTF-8.
    :returns: 32 bytes.
    """
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    return blake2b(text.encode(), digest_size=TOPIC_LENGTH).digest()


def check_topic(value: bytes) -> bytes:
    """
    :returns: the topic, as ``bytes``.
    :raises ValueError: it is not 32 bytes.
    """
    data = bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else b""
    if len(data) != TOPIC_LENGTH:
        raise ValueError(f"a topic has {TOPIC_LENGTH} bytes, not {value!r}; topic('some text') makes one")
    return data
