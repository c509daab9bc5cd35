"""``spaceswarm demo``."""

from __future__ import annotations

from itertools import permutations

from spaceswarm_proxy.commands import demo
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.demo import NAMES
from tests.commands.support import TerminalCase


class DemoTests(TerminalCase):
    """What one sees first."""

    async def test_runs(self) -> None:
        """It tells step by step how everybody hears the others, and ends well by itself."""
        child = self.spawn("demo")
        self.assertEqual(0, await child.status, child.errors)
        lines = child.output.decode().splitlines()
        heard = [line for line in lines if " hears: " in line]
        wanted = [f"demo: {hearer} hears: Hello, I am {other}!" for hearer, other in permutations(NAMES, 2)]
        self.assertEqual(sorted(wanted), sorted(heard))
        for way in (
            "Alice, who is .*, by TCP",
            "Bob, who is .*, by WebSocket",
            "Carol, who is .* a node of the network",
        ):
            self.assertRegex(child.output.decode(), way)
        self.assertIn("nothing is left over", lines[-1])
        self.assertEqual(b"", child.errors)

    async def test_quiet(self) -> None:
        """With ``--quiet`` only its exit status tells."""
        child = self.spawn("demo", "--quiet")
        self.assertEqual(0, await child.status)
        self.assertEqual(b"", child.output + child.errors)

    async def test_not_in_time(self) -> None:
        """When not everything has crossed, it fails, and nothing is left over all the same."""
        self.patch(demo, "TIMEOUT", 0.001)
        status, _ = self.start("demo", "--quiet")
        problem = await self.assertFailure(status, CommandError)
        self.assertEqual("not everybody has heard the others in 0.001 s", str(problem))
