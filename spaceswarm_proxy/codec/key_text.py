"""
Keys as people write them: 64 hex digits, or 52 characters of z-base-32, with or without ``pear://`` before them.

:source: npm ``hypercore-id-encoding`` 1; spec/dht.md, section 18.
"""

from __future__ import annotations

from binascii import unhexlify

_LENGTH = 32
_ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_DIGITS = 52
#: Zero bits after the last of the key's.
_PADDING = _DIGITS * 5 - _LENGTH * 8
_SCHEME = "pear://"


def encode_key(key: bytes) -> str:
    """
    :param key: 32 bytes.
    :returns: 52 characters of z-base-32.
    :raises ValueError: of another length.
    """
    if len(key) != _LENGTH:
        raise ValueError(f"a key has {_LENGTH} bytes, not {len(key)}")
    number = int.from_bytes(key, "big") << _PADDING
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_DIGITS - 1), -1, -5))


def decode_key(text: str) -> bytes:
    """
    :returns: the key's 32 bytes.
    :raises ValueError: neither of the forms.
    """
    digits = text.strip().removeprefix(_SCHEME)
    if len(digits) == 2 * _LENGTH:
        try:
            return unhexlify(digits)
        except ValueError:
            raise ValueError(f"{text!r} is not a key: not hex digits") from None
    if len(digits) != _DIGITS or not digits.isascii() or not all(digit in _VALUES for digit in digits.lower()):
        raise ValueError(f"{text!r} is not a key: neither {2 * _LENGTH} hex digits nor {_DIGITS} of z-base-32")
    number = 0
    for digit in digits.lower():
        number = number << 5 | _VALUES[digit]
    return (number >> _PADDING).to_bytes(_LENGTH, "big")
