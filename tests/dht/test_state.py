"""Tests of spaceswarm_proxy.dht.state."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht import state as module
from spaceswarm_proxy.dht.contact import address_of
from spaceswarm_proxy.dht.state import DAMAGED, FILE_NAME, MAX_NODES, NodeState, StateDirectory
from tests.dht.strategies import addresses, hashes

SEED = bytes(range(32))
NODES = tuple(address_of(f"10.0.{number >> 8}.{number & 255}", 1000 + number) for number in range(MAX_NODES + 50))
GOOD: dict[str, Any] = {"version": 1, "seed": SEED.hex(), "nodes": ["10.0.0.1:80"]}

#: Files that are not ours, or not any more.
DAMAGES: dict[str, bytes] = {
    "empty": b"",
    "cut": json.dumps(GOOD).encode()[:-5],
    "binary": bytes(range(256)) * 4,
    "zeros": bytes(500),
    "not UTF-8": b'{"version": 1, "seed": "\xff"}',
    "another thing": b'"a text"',
    "a list": b"[1]",
    "null": b"null",
    "nested": b"[" * 30_000,
    "nested objects": b'{"a":' * 10_000,
    "huge": json.dumps({**GOOD, "nodes": ["10.0.0.1:80"] * 10_000}).encode(),
    "a huge number": b'{"version": ' + b"1" * 20_000 + b"}",
    "no version": json.dumps({"seed": SEED.hex(), "nodes": []}).encode(),
    "a version to come": json.dumps({**GOOD, "version": 2}).encode(),
    "version as a text": json.dumps({**GOOD, "version": "1"}).encode(),
    "no seed": json.dumps({"version": 1, "nodes": []}).encode(),
    "seed as a number": json.dumps({**GOOD, "seed": 5}).encode(),
    "short seed": json.dumps({**GOOD, "seed": "00" * 31}).encode(),
    "long seed": json.dumps({**GOOD, "seed": "00" * 33}).encode(),
    "seed is no hex": json.dumps({**GOOD, "seed": "g0" * 32}).encode(),
    "no nodes": json.dumps({"version": 1, "seed": SEED.hex()}).encode(),
    "nodes as a text": json.dumps({**GOOD, "nodes": "10.0.0.1:80"}).encode(),
    "a node is a number": json.dumps({**GOOD, "nodes": [5]}).encode(),
    "a node is a list": json.dumps({**GOOD, "nodes": [["10.0.0.1", 80]]}).encode(),
    "a node without a port": json.dumps({**GOOD, "nodes": ["10.0.0.1"]}).encode(),
    "a node with a name": json.dumps({**GOOD, "nodes": ["localhost:80"]}).encode(),
    "a node is surrogates": json.dumps({**GOOD, "nodes": ["\ud800:80"]}).encode(),
}


class StateTestCase(SynchronousTestCase):
    """A directory."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.state = StateDirectory(self.path)
        self.file = self.path / FILE_NAME

    def logged(self, function: Callable[[], Any]) -> tuple[Any, list[str]]:
        """:returns: what the function returns, and the lines that it logs."""
        with capturedLogs() as logs:
            result = function()
        return result, [formatEvent(event) for event in logs]


class NodeStateTests(SynchronousTestCase):
    """The text of the file."""

    @settings(deadline=None, max_examples=60)
    @given(hashes, st.lists(addresses.filter(lambda address: address[4:] != b"\x00\x00"), max_size=8))
    def test_round_trip(self, seed: bytes, nodes: list[bytes]) -> None:
        """What is written is read, in order."""
        state = NodeState(seed, tuple(nodes))
        self.assertEqual(state, NodeState.parse(state.encode()))

    def test_for_people(self) -> None:
        """People can read it."""
        text = NodeState(SEED, (address_of("10.0.0.1", 80),)).encode()
        self.assertEqual(GOOD, json.loads(text))
        self.assertIn('\n "nodes": [\n  "10.0.0.1:80"\n', text)

    def test_most_recent(self) -> None:
        """No more nodes are kept than are of use: the first ones."""
        text = NodeState(SEED, NODES).encode()
        self.assertEqual(NODES[:MAX_NODES], NodeState.parse(text).nodes)
        many = json.dumps({**GOOD, "nodes": [f"10.0.0.1:{port}" for port in range(1, 1000)]})
        self.assertEqual(MAX_NODES, len(NodeState.parse(many).nodes))

    def test_fits(self) -> None:
        """The largest file that we write is one that we read."""
        longest = (address_of("255.255.255.255", 65535),) * MAX_NODES
        self.assertLess(len(NodeState(SEED, longest).encode()), module._MAX_FILE)

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    )

    @settings(deadline=None, max_examples=100)
    @given(st.sampled_from(["version", "seed", "nodes"]), json_values)
    def test_anything(self, name: str, value: Any) -> None:
        """Whatever stands in a field, the file is taken, or refused as one that is not ours."""
        try:
            state = NodeState.parse(json.dumps({**GOOD, name: value}))
        except ValueError:
            return
        self.assertEqual(state, NodeState.parse(state.encode()))


class DirectoryTests(StateTestCase):
    """Keeping it."""

    def test_nothing_yet(self) -> None:
        """A directory that is not there is made; there is nothing in it, and that is not worth a line in the log."""
        self.assertFalse(self.state.exists)
        self.assertEqual((None, []), self.logged(self.state.load))
        self.assertTrue(self.path.is_dir())
        self.assertEqual([], list(self.path.iterdir()))

    def test_round_trip(self) -> None:
        """What is saved is loaded, by this one and the next one; each time takes the place of that before."""
        self.state.load()
        for nodes in (NODES[:3], (), NODES[:MAX_NODES]):
            self.state.save(SEED, nodes)
            self.assertTrue(self.state.exists)
            self.assertEqual(NodeState(SEED, nodes), StateDirectory(str(self.path)).load())
            self.assertEqual([self.file], list(self.path.iterdir()))

    def test_secret(self) -> None:
        """Nobody but its owner can read the file, whatever is usual here."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.state.load()
        for _ in range(2):
            self.state.save(SEED, NODES)
            self.assertEqual(0o600, self.file.stat().st_mode & 0o777)

    def test_no_directory(self) -> None:
        """That the directory can't be made is an error of whoever has named it."""
        self.path.write_text("a file")
        self.assertRaises(OSError, self.state.load)


class DamageTests(StateTestCase):
    """Files that are not as they should be."""

    def test_damaged(self) -> None:
        """A damaged file is set aside as it is, with one line in the log, and there is nothing to load."""
        self.state.load()
        for name, data in DAMAGES.items():
            self.file.write_bytes(data)
            result, lines = self.logged(self.state.load)
            self.assertIsNone(result, name)
            self.assertEqual(1, len(lines), name)
            self.assertIn(f"{self.file} is damaged", lines[0], name)
            self.assertLess(len(lines[0]), 500, name)
            self.assertEqual([self.path / DAMAGED], list(self.path.iterdir()), name)
            self.assertEqual(data, (self.path / DAMAGED).read_bytes(), name)
            self.assertEqual((None, []), self.logged(self.state.load), name)

    def test_begins_anew(self) -> None:
        """After that another one is kept beside it."""
        self.state.load()
        self.file.write_bytes(b"damaged")
        self.state.load()
        self.state.save(SEED, NODES[:2])
        self.assertEqual(NodeState(SEED, NODES[:2]), self.state.load())
        self.assertTrue((self.path / DAMAGED).exists())


class FullDiskTests(StateTestCase):
    """Saving that does not work out."""

    def setUp(self) -> None:
        super().setUp()
        self.state.load()
        self.state.save(SEED, NODES[:2])

    def fail(self, where: Any, name: str, code: int = errno.ENOSPC) -> Any:
        """From now on this function of the system fails."""

        def failing(*arguments: Any, **named: Any) -> None:
            raise OSError(code, os.strerror(code))

        return self.patch(where, name, failing)

    def check_old_one_stays(self, name: str) -> None:
        """Nothing is lost when a function of ``os`` fails, it is logged once, and again after a success."""
        for _ in range(2):
            patched = self.fail(os, name)
            lines = [self.logged(lambda: self.state.save(SEED, NODES[:9]))[1] for _ in range(3)]
            self.assertEqual([["the node's state cannot be saved: [Errno 28] No space left on device"], [], []], lines)
            patched.restore()
            self.assertEqual(NodeState(SEED, NODES[:2]), self.state.load())
            self.assertEqual([self.file], list(self.path.iterdir()))
            self.assertEqual([], self.logged(lambda: self.state.save(SEED, NODES[:2]))[1])

    def test_full(self) -> None:
        """When the disk is full the old file stays, whole, and nothing else is left there."""
        self.check_old_one_stays("fsync")

    def test_unwritable(self) -> None:
        """So it is when no file can be made."""
        self.check_old_one_stays("open")

    def test_not_replaced(self) -> None:
        """So it is when the new file can't take the place of the old one."""
        self.check_old_one_stays("replace")

    def test_directory_gone(self) -> None:
        """A directory that somebody has removed is one line in the log."""
        self.file.unlink()
        self.path.rmdir()
        lines = [self.logged(lambda: self.state.save(SEED, NODES))[1] for _ in range(2)]
        self.assertEqual([1, 0], list(map(len, lines)))

    def test_crash(self) -> None:
        """A process that dies before the new file is in its place leaves the old one; the next one is not troubled."""

        class Dies(BaseException):
            """The end, at once."""

        def replace(*arguments: Any) -> None:
            raise Dies

        for function in ("fsync", "replace"):
            patched = self.patch(os, function, replace)
            self.assertRaises(Dies, self.state.save, SEED, NODES[:9])
            patched.restore()
            again = StateDirectory(self.path)
            self.assertEqual(NodeState(SEED, NODES[:2]), again.load())
        again.save(SEED, NODES[:1])
        self.assertEqual(NodeState(SEED, NODES[:1]), again.load())
        self.assertEqual([self.file], list(self.path.iterdir()))
        self.assertEqual(0o600, self.file.stat().st_mode & 0o777)

    def test_complete_before_it_counts(self) -> None:
        """The new file is whole, and on the disk, before it takes the place of the old one."""
        steps: list[str] = []
        fsync, replace = os.fsync, os.replace

        def synced(descriptor: int) -> None:
            steps.append(f"sync {os.fstat(descriptor).st_size}")
            fsync(descriptor)

        def replaced(new: Any, old: Any) -> None:
            steps.append(f"replace {os.stat(new).st_size}")
            replace(new, old)

        self.patch(os, "fsync", synced)
        self.patch(os, "replace", replaced)
        self.state.save(SEED, NODES[:5])
        size = self.file.stat().st_size
        self.assertEqual([f"sync {size}", f"replace {size}"], steps)
