"""``spaceswarm demo``."""

from __future__ import annotations

from tests.commands.support import CommandCase


class DemoTests(CommandCase):
    """What one sees first."""

    async def test_runs(self) -> None:
        """It tells step by step how a text crosses in both directions, and ends well by itself."""
        child = self.spawn("demo")
        self.assertEqual(0, await child.status, child.errors)
        lines = child.output.decode().splitlines()
        heard = [line.partition(" hears: ")[2] for line in lines if " hears: " in line]
        self.assertEqual(["Hello, is anybody there?", "I am. Hello!"], heard)
        self.assertIn("nothing is left over", lines[-1])
        self.assertEqual(b"", child.errors)

    async def test_quiet(self) -> None:
        """With ``--quiet`` only its exit status tells."""
        child = self.spawn("demo", "--quiet")
        self.assertEqual(0, await child.status)
        self.assertEqual(b"", child.output + child.errors)
