"""Tests of spaceswarm_proxy.udx.notes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.notes import MAX_NOTES, NOTE_TIME, Note, Notes

ADDRESS = b"\x0a\x00\x00\x01\x01\x00"


class NotesTests(SynchronousTestCase):
    """What is remembered."""

    def setUp(self) -> None:
        self.notes = Notes()
        self.notes.add(5, b"answer", 1, ADDRESS, 50.0)

    def test_for_a_while(self) -> None:
        """It is for some seconds."""
        self.assertEqual(Note(b"answer", 1, ADDRESS, 50.0 + NOTE_TIME), self.notes.find(5, 50.0 + NOTE_TIME))
        self.assertIsNone(self.notes.find(5, 50.1 + NOTE_TIME))
        self.assertIsNone(self.notes.find(6, 50.0))
        self.assertEqual((True, False), (5 in self.notes, 6 in self.notes))

    def test_old_ones_go(self) -> None:
        """Those that are too old make room for others."""
        self.notes.add(6, b"", 1, ADDRESS, 55.0)
        self.notes.add(7, b"", 1, ADDRESS, 51.0 + NOTE_TIME)
        self.assertEqual([False, True, True], [id in self.notes for id in (5, 6, 7)])

    def test_again(self) -> None:
        """A number that was had again is remembered as it was last."""
        self.notes.add(6, b"", 1, ADDRESS, 52.0)
        self.notes.add(5, b"other", 1, ADDRESS, 55.0)
        self.notes.add(7, b"", 1, ADDRESS, 52.5 + NOTE_TIME)
        note = self.notes.find(5, 55.0)
        assert note is not None
        self.assertEqual((b"other", False), (note.answer, 6 in self.notes))

    def test_bound(self) -> None:
        """Of so many streams only."""
        for id in range(2 * MAX_NOTES):
            self.notes.add(id, b"", 1, ADDRESS, 50.0)
        self.assertEqual(MAX_NOTES, len(self.notes))
        self.notes.clear()
        self.assertEqual(0, len(self.notes))
