"""
The headers of packets that leave together, written all at once; and of those that come so, read all at once.

They differ in the lowest byte of their number only, as long as that does not wrap: so they are copies of one, and the
numbers are written into them as a column.  What comes is compared with what it would be if it were written so.
"""

from __future__ import annotations

from spaceswarm_proxy.udx.flights import Flight
from spaceswarm_proxy.udx.packet import DATA, END, HEADER_LENGTH, encode_header

#: Where the flags and the lowest byte of the number are in a header.
_FLAGS = 2
_SEQ = 12
_COUNTING = bytes(range(256))


def single_packet(flight: Flight, id: int, window: int, ack: int) -> bytes:
    """:returns: the only packet of a flight."""
    kind = (DATA if flight.payload else 0) | (END if flight.end else 0) or DATA
    header = encode_header(kind, flight.padding, id, window, flight.first, ack)
    return b"".join((header, bytes(flight.padding), flight.payload))


def packets(flight: Flight, id: int, window: int, ack: int) -> list[memoryview]:
    """
    :param flight: of packets without padding.
    :returns: header, payload, header, payload...
    """
    count, size = flight.count, flight.size
    headers = bytearray(encode_header(DATA, 0, id, window, flight.first, ack) * count)
    low = flight.first & 0xFF
    if low + count <= len(_COUNTING):
        headers[_SEQ::HEADER_LENGTH] = _COUNTING[low : low + count]
    else:
        for place in range(count):
            start = place * HEADER_LENGTH
            headers[start : start + HEADER_LENGTH] = encode_header(DATA, 0, id, window, flight.first + place, ack)
    if flight.end:
        headers[_FLAGS - HEADER_LENGTH] |= END
    written, payload = memoryview(headers), memoryview(flight.payload)
    parts: list[memoryview] = [written] * (2 * count)
    parts[0::2] = [written[start : start + HEADER_LENGTH] for start in range(0, count * HEADER_LENGTH, HEADER_LENGTH)]
    parts[1::2] = [payload[start : start + size] for start in range(0, count * size, size)]
    return parts


def alike(data: memoryview, position: int, segment: int, stride: int) -> list[memoryview]:
    """
    The packets of a train that are as :func:`packets` writes them: the same headers, but for the number, which counts.

    :param data: packets of ``segment`` bytes, ``stride`` bytes from one to the next; the last one may be shorter.
    :param position: where the first one begins.
    :returns: the payloads of all up to the end; none if one of them is different.
    """
    starts = range(position, len(data) - HEADER_LENGTH, stride)
    found = b"".join([data[start : start + HEADER_LENGTH] for start in starts])
    low = found[_SEQ]
    if low + len(starts) > len(_COUNTING):
        return []
    expected = bytearray(found[:HEADER_LENGTH] * len(starts))
    expected[_SEQ::HEADER_LENGTH] = _COUNTING[low : low + len(starts)]
    if found != expected:
        return []
    return [data[start + HEADER_LENGTH : start + segment] for start in starts]
