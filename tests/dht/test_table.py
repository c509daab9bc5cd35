"""Tests of spaceswarm_proxy.dht.table."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.compact import ADDRESSES, encode_uint
from spaceswarm_proxy.dht.contact import Contact, address_of, host_port
from spaceswarm_proxy.dht.table import NEVER, Entry, K, RoutingTable
from tests.dht.strategies import hashes
from tests.dht.vectors import address, vectors


def bits(id: bytes) -> str:
    """An id as its 256 bits."""
    return f"{int.from_bytes(id, 'big'):0256b}"


def flipped(id: bytes, bit: int) -> bytes:
    """An id that differs in one bit, and so shares as many with the first."""
    return (int.from_bytes(id, "big") ^ 1 << 255 - bit).to_bytes(32, "big")


def shared_bits(one: bytes, other: bytes) -> int:
    """How many leading bits two ids share, counted one by one."""
    return next((place for place, (a, b) in enumerate(zip(bits(one), bits(other), strict=True)) if a != b), 255)


class NaiveTable:
    """The rows, as the specification has them: sorted when somebody asks."""

    def __init__(self, own_id: bytes) -> None:
        self.own_id = own_id
        self.rows: list[dict[bytes, Entry]] = [{} for _ in range(256)]

    def add(self, entry: Entry) -> bool:
        row = self.rows[shared_bits(self.own_id, entry.contact.id)]
        if entry.contact.id not in row and len(row) >= 20:
            return False
        row[entry.contact.id] = entry
        return True

    def remove(self, entry: Entry) -> Entry | None:
        return self.rows[shared_bits(self.own_id, entry.contact.id)].pop(entry.contact.id, None)

    def closest(self, target: bytes, count: int) -> list[Entry]:
        here = shared_bits(self.own_id, target)
        order = [*range(here, -1, -1), *range(here + 1, 256)]
        return [self.rows[number][id] for number in order for id in sorted(self.rows[number])][:count]

    def everybody(self) -> set[Entry]:
        return {entry for row in self.rows for entry in row.values()}


#: Nodes enough for full rows; most share few bits with any id.
CONTACTS = [Contact(address_of("10.1.0.1", port)) for port in range(1, 71)]
#: Ids to be the table's own: some near to a node, so that far rows have somebody too.
own_ids = st.one_of(
    hashes,
    st.builds(flipped, st.sampled_from(CONTACTS).map(lambda contact: contact.id), st.integers(0, 255)),
)
nodes = st.integers(0, len(CONTACTS) - 1)
steps = st.lists(st.tuples(st.sampled_from(["add", "add", "add", "remove"]), nodes), max_size=40)


def encoded(entries: list[Entry]) -> bytes:
    """An array of addresses as a message has it, or nothing."""
    return ADDRESSES.build([entry.contact.address for entry in entries]) if entries else b""


class VectorTests(SynchronousTestCase):
    """The table as JavaScript has it."""

    def test_closest(self) -> None:
        """The same nodes, put in one after the other, are in it, but for those that find their row full."""
        section = vectors("routing_table")
        table = RoutingTable(bytes.fromhex(section["own_id"]))
        rejected = []
        for row in section["nodes"]:
            contact = Contact(address(row))
            self.assertEqual(contact.id.hex(), row["id"])
            if not table.add(Entry(contact, 0.0)):
                rejected.append({"host": row["host"], "port": row["port"]})
        self.assertEqual(rejected, section["rejected_because_row_full"])
        for row in section["closest"]:
            target = bytes.fromhex(row["target"])
            found = [host_port(entry.contact.address) for entry in table.closest(target)]
            self.assertEqual([f"{host}:{port}" for host, port in found], row["result"])
            self.assertEqual(table.encoded_closest(target), encoded(table.closest(target)))


class ModelTests(SynchronousTestCase):
    """The table against rows that are counted and sorted by hand."""

    @settings(deadline=None, max_examples=60)
    @given(own_ids, st.lists(nodes, unique=True, max_size=60), steps, st.lists(hashes, max_size=2), st.integers(0, 30))
    def test_as_the_model(
        self,
        own_id: bytes,
        at_first: list[int],
        steps: list[tuple[str, int]],
        targets: list[bytes],
        count: int,
    ) -> None:
        """Whatever comes and goes, rows and answers are the model's; an answer that was kept is never a stale one."""
        table, model = RoutingTable(own_id), NaiveTable(own_id)
        asked = [own_id, *targets, *(flipped(own_id, bit) for bit in (0, 1, 2, 7, 8, 9, 255))]
        for action, number in [*(("add", number) for number in at_first), *steps]:
            entry = Entry(CONTACTS[number], 0.0)
            if action == "add":
                self.assertEqual(table.add(entry), model.add(entry))
            else:
                self.assertIs(table.remove(entry.contact.address), model.remove(entry))
            target = asked[number % len(asked)]
            self.assertEqual(table.encoded_closest(target), encoded(model.closest(target, 20)))
            self.assertEqual(len(table), len(model.everybody()))
        for target in asked:
            self.assertEqual(table.closest(target, count), model.closest(target, count))
            self.assertEqual(table.encoded_closest(target), encoded(model.closest(target, 20)))
            row = model.rows[shared_bits(own_id, target)]
            self.assertEqual(table.row(target), [row[id] for id in sorted(row)])
        self.assertEqual(set(table), model.everybody())
        self.assertEqual(table.entries, {entry.contact.address: entry for entry in model.everybody()})

    @settings(deadline=None, max_examples=150)
    @given(own_ids, hashes, st.integers(0, 255))
    def test_rows(self, own_id: bytes, target: bytes, bit: int) -> None:
        """An id's row is the number of leading bits that it shares with ours, and for ours the last one."""
        table = RoutingTable(own_id)
        self.assertEqual(table.row_of(target), shared_bits(own_id, target))
        self.assertEqual(table.row_of(flipped(own_id, bit)), bit)
        self.assertEqual(table.row_of(own_id), 255)


class TableTests(SynchronousTestCase):
    """Single cases."""

    def filled(self) -> RoutingTable:
        table = RoutingTable(bytes(32))
        for contact in CONTACTS:
            table.add(Entry(contact, 0.0))
        return table

    def test_empty(self) -> None:
        """An empty table has nobody to tell of, and says it with no bytes."""
        table = RoutingTable(bytes(32))
        self.assertEqual((len(table), list(table), table.row(bytes(32)), table.closest(bytes(32))), (0, [], [], []))
        self.assertEqual(table.encoded_closest(bytes(32)), b"")
        self.assertIsNone(table.remove(bytes(6)))
        self.assertEqual(table.own_id, bytes(32))

    def test_emptied(self) -> None:
        """A table that has lost everybody is as it was at first."""
        table = self.filled()
        for entry in list(table):
            self.assertIs(table.remove(entry.contact.address), entry)
            self.assertIsNone(table.remove(entry.contact.address))
        self.assertEqual((len(table), table.encoded_closest(bytes(32)), table._rows), (0, b"", {}))

    def test_full_row(self) -> None:
        """A full row takes nobody new, but a new entry for somebody in it."""
        table = self.filled()
        target = b"\xff" * 32
        row = table.row(target)
        self.assertEqual(len(row), K)
        newcomer = next(
            contact for contact in CONTACTS if contact.id[0] & 0x80 and contact.address not in table.entries
        )
        before = table.encoded_closest(target)
        self.assertFalse(table.add(Entry(newcomer, 0.0)))
        self.assertNotIn(newcomer.address, table.entries)
        again = Entry(row[3].contact, 5.0)
        self.assertTrue(table.add(again))
        self.assertIs(table.row(target)[3], again)
        self.assertIs(table.entries[again.contact.address], again)
        self.assertEqual(table.encoded_closest(target), before)
        table.remove(again.contact.address)
        self.assertTrue(table.add(Entry(newcomer, 0.0)))

    def test_kept_answers(self) -> None:
        """An answer is made once for all targets of a row, until the table changes."""
        table = self.filled()
        first = table.encoded_closest(b"\x80" + bytes(31))
        self.assertIs(table.encoded_closest(b"\xff" * 32), first)
        entry = table.row(b"\xff" * 32)[0]
        table.remove(entry.contact.address)
        without = table.encoded_closest(b"\xff" * 32)
        self.assertNotEqual(without, first)
        self.assertEqual(without[:1], encode_uint(K))
        table.add(entry)
        self.assertEqual(table.encoded_closest(b"\xff" * 32), first)

    def test_entry(self) -> None:
        """A new entry was heard from and tried when it was added; its view of our address was never taken."""
        entry = Entry(CONTACTS[0], 7.0)
        self.assertEqual((entry.added, entry.pinged, entry.heard, entry.sampled), (7.0, 7.0, 7.0, NEVER))
        self.assertLess(NEVER, -1e300)

    def test_rebuilt_around_a_node(self) -> None:
        """A node that turns out to be ourselves is not among the others."""
        table = RoutingTable(bytes(32))
        for contact in CONTACTS[:5]:
            table.add(Entry(contact, 0.0))
        rebuilt = table.rebuilt(CONTACTS[2].id)
        self.assertEqual({entry.contact for entry in rebuilt}, {*CONTACTS[:2], *CONTACTS[3:5]})

    @settings(deadline=None, max_examples=40)
    @given(own_ids, own_ids | st.sampled_from(CONTACTS).map(lambda contact: contact.id), st.lists(nodes, unique=True))
    def test_rebuilt(self, own_id: bytes, new_id: bytes, there: list[int]) -> None:
        """Around another id there are the same entries, but for ourselves and for those that find their row full."""
        table, model = RoutingTable(own_id), NaiveTable(new_id)
        for number in there:
            table.add(Entry(CONTACTS[number], 0.0))
        before = list(table)
        rebuilt = table.rebuilt(new_id)
        for entry in before:
            if entry.contact.id != new_id:
                model.add(entry)
        self.assertEqual(rebuilt.own_id, new_id)
        self.assertEqual(set(rebuilt), model.everybody())
        self.assertEqual(rebuilt.encoded_closest(new_id), encoded(model.closest(new_id, 20)))
        self.assertEqual(list(table), before)
