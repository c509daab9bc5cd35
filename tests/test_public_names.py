"""What ``spaceswarm_proxy`` itself offers: :mod:`spaceswarm_proxy`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

import spaceswarm_proxy

SOURCE = Path(spaceswarm_proxy.__file__)


def run(program: str) -> str:
    """:returns: what a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", program], cwd=SOURCE.parent.parent, capture_output=True, text=True)
    return done.stdout + done.stderr


class PublicNamesTests(SynchronousTestCase):
    """The names that programs import."""

    def test_each(self) -> None:
        """Each name is there, and is the very thing that its module has."""
        for name in spaceswarm_proxy.__all__:
            value = getattr(spaceswarm_proxy, name)
            own_name = value.__name__.rpartition(".")[2]
            self.assertEqual(name, own_name)
            where = value.__name__ if isinstance(value, ModuleType) else value.__module__
            self.assertTrue(where.startswith("spaceswarm_proxy."), where)

    def test_star(self) -> None:
        """``from spaceswarm_proxy import *`` brings all of them, and nothing else."""
        names: dict[str, object] = {}
        exec("from spaceswarm_proxy import *", names)
        self.assertEqual(set(spaceswarm_proxy.__all__), set(names) - {"__builtins__"})

    def test_lists_agree(self) -> None:
        """What type checkers see, what can be imported, and what says so is the same, in order."""
        checked = [
            alias.name
            for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spaceswarm_proxy")
            for alias in node.names
        ]
        self.assertEqual(spaceswarm_proxy.__all__, sorted(checked))
        self.assertEqual(spaceswarm_proxy.__all__, list(spaceswarm_proxy._MODULE_OF))

    def test_dir(self) -> None:
        """``dir()`` tells of them before they are used: editors and shells complete them."""
        listed = run("import spaceswarm_proxy; print(*dir(spaceswarm_proxy))").split()
        self.assertEqual(set(), {*spaceswarm_proxy.__all__, "__version__"} - set(listed))
        self.assertEqual(len(set(listed)), len(listed))

    def test_unknown(self) -> None:
        """A name that there is not is told as of any module."""
        error = self.assertRaises(AttributeError, getattr, spaceswarm_proxy, "Swamp")
        self.assertEqual("module 'spaceswarm_proxy' has no attribute 'Swamp'", str(error))

    def test_light(self) -> None:
        """To import the package imports nothing of it; a name brings only what it needs."""
        loaded = "print(*(name for name in sys.modules if name.startswith('spaceswarm_proxy.')))"
        self.assertEqual("\n", run(f"import sys, spaceswarm_proxy; {loaded}"))
        brought = run(f"import sys; from spaceswarm_proxy import topic; {loaded}").split()
        self.assertIn("spaceswarm_proxy.topics", brought)
        self.assertNotIn("spaceswarm_proxy.proxy", brought)

    def test_version(self) -> None:
        """The version can be read without running anything: that is how the package is built."""
        values = [
            node.value
            for node in ast.parse(SOURCE.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
        ]
        self.assertEqual([spaceswarm_proxy.__version__], [ast.literal_eval(value) for value in values])
