"""
The routing table: 256 rows of at most 20 nodes, a row for each number of leading bits that an id shares with ours.

What a node answers to FIND_NODE and its like depends only on the *row* of the target, so it is kept in encoded form for
each row until the table changes: that is most of what makes answers cheap.

:source: npm ``kademlia-routing-table``; spec/dht.md, section 10.1.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from spaceswarm_proxy.codec.compact import encode_uint
from spaceswarm_proxy.dht.contact import ID_BITS, Contact, distance_from

#: Nodes in a row, and in an answer.
K = 20
#: The row of our own id, which no other node's can be in.
_LAST_ROW = ID_BITS - 1
#: Leading zero bits of a byte; the row of most targets is decided by the first one.
_LEADING_ZEROS = bytes(8 - byte.bit_length() for byte in range(256))


#: A time before all others.
NEVER = float("-inf")


class Entry:
    """A node in the table, and when what happened to it, in seconds."""

    __slots__ = ("added", "contact", "heard", "hints", "pinged", "sampled")

    def __init__(self, contact: Contact, now: float) -> None:
        self.contact = contact
        self.added = now
        #: When we last tried it; hearing from it counts.
        self.pinged = now
        #: When it last sent something.
        self.heard = now
        #: When its view of our address was last taken.
        self.sampled = NEVER
        #: How often others have told us that it is down.
        self.hints = 0


class RoutingTable:
    """The nodes that we know, and the nearest of them to any id."""

    def __init__(self, own_id: bytes) -> None:
        """:param own_id: 32 bytes."""
        #: By address.
        self.entries: dict[bytes, Entry] = {}
        self._own_id = own_id
        self._own_number = distance_from(own_id)
        self._first_byte = own_id[0]
        self._rows: dict[int, list[Entry]] = {}
        self._encoded: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    @property
    def own_id(self) -> bytes:
        """The id that the table is built around, 32 bytes."""
        return self._own_id

    def row_of(self, target: bytes) -> int:
        """:returns: how many leading bits it shares with our id, 255 at most."""
        difference = self._first_byte ^ target[0]
        if difference:
            return _LEADING_ZEROS[difference]
        return min(ID_BITS - (self._own_number ^ distance_from(target)).bit_length(), _LAST_ROW)

    def row(self, target: bytes) -> list[Entry]:
        """:returns: the nodes in the row of an id, by their ids; not to be changed."""
        return self._rows.get(self.row_of(target), [])

    def has_room(self, contact: Contact) -> bool:
        """:returns: whether the contact's row can take it."""
        row = self._rows.get(self.row_of(contact.id))
        return row is None or len(row) < K or contact.address in self.entries

    def add(self, entry: Entry) -> bool:
        """
        Put a node in, in place of one with the same id.

        :returns: whether it is in; a row takes no more than :data:`K`.
        """
        number = self.row_of(entry.contact.id)
        row = self._rows.setdefault(number, [])
        place = bisect_left(row, entry.contact.id, key=_id_of)
        if place < len(row) and row[place].contact.id == entry.contact.id:
            row[place] = entry
        elif len(row) < K:
            row.insert(place, entry)
        else:
            return False
        self.entries[entry.contact.address] = entry
        self._encoded.clear()
        return True

    def remove(self, address: bytes) -> Entry | None:
        """:returns: what was there."""
        entry = self.entries.pop(address, None)
        if entry is not None:
            number = self.row_of(entry.contact.id)
            row = self._rows[number]
            row.remove(entry)
            if not row:
                del self._rows[number]
            self._encoded.clear()
        return entry

    def closest(self, target: bytes, count: int = K) -> list[Entry]:
        """
        Nodes near to an id: the row of the target, then the rows before it from there, then those after it.

        :returns: ``count`` of them if there are so many; each row by the ids, not by distance.
        """
        row = self.row_of(target)
        numbers = sorted(self._rows)
        here = bisect_left(numbers, row + 1)
        found: list[Entry] = []
        for number in numbers[:here][::-1] + numbers[here:]:
            found += self._rows[number]
            if len(found) >= count:
                break
        return found[:count]

    def encoded_closest(self, target: bytes) -> bytes:
        """:returns: :meth:`closest` as an encoded array of addresses; empty bytes where there is none."""
        difference = self._first_byte ^ target[0]
        row = _LEADING_ZEROS[difference] if difference else self.row_of(target)
        encoded = self._encoded.get(row)
        if encoded is None:
            found = self.closest(target)
            encoded = encode_uint(len(found)) + b"".join([entry.contact.address for entry in found]) if found else b""
            self._encoded[row] = encoded
        return encoded

    def rebuilt(self, own_id: bytes) -> RoutingTable:
        """:returns: the same nodes around another id of ours, as far as the rows take them."""
        table = RoutingTable(own_id)
        for entry in self:
            if entry.contact.id != own_id:
                table.add(entry)
        return table


def _id_of(entry: Entry) -> bytes:
    return entry.contact.id
