"""``docs/architecture.md``: the rooms that it tells of."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import spaceswarm_proxy
from tests.docs.pages import ABSENT, DOCS

PACKAGE = Path(spaceswarm_proxy.__file__).parent


class RoomTests(SynchronousTestCase):
    """The table."""

    skip = ABSENT

    def test_modules(self) -> None:
        """Every module that is named is there, in the room of its row or beside the rooms."""
        page = (DOCS / "architecture.md").read_text("utf-8")
        rows = re.findall(r"^\| (`.*?) \| (?:core|shell|both) \| (.*) \|$", page, re.MULTILINE)
        self.assertTrue(rows)
        for where, text in rows:
            room = PACKAGE / where[1:].rpartition("/")[0].partition("/")[0].partition("`")[0]
            for name in re.findall(r"`([\w/]+\.py)`", f"{where} {text}"):
                places = (room / Path(name).name, PACKAGE / name)
                self.assertTrue(any(place.exists() for place in places), f"{room.name}: {name}")

    def test_rooms(self) -> None:
        """Every directory of the package has its row."""
        page = (DOCS / "architecture.md").read_text("utf-8")
        for path in PACKAGE.iterdir():
            if (path / "__init__.py").exists():
                self.assertIn(f"`{path.name}/", page)
