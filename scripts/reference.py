"""
The reference: a web site of the package's docstrings, which pydoctor makes.

    python scripts/reference.py [DIRECTORY]     by default build/reference

What our docstrings have beyond what pydoctor reads is put into its words first, in a copy.  Whatever it still warns of
(a link that leads nowhere, a parameter that is none) fails.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = "spaceswarm_proxy"

#: A link of which only the last name is to be seen, as Sphinx has it.
_SHORT_LINK = re.compile(r":\w+:`~([\w.]*?)(\w+)`")
#: A field that is about several parameters, with the lines that belong to it.
_SHARED_PARAMETERS = re.compile(r"^( *):param (\w+(?:, \w+)+):(.*\n(?:\1 +\S.*\n)*)", re.MULTILINE)
_SOURCE = re.compile(r"^( *):source:", re.MULTILINE)


def translated(text: str, package: str) -> str:
    """
    A module's source, with docstrings that pydoctor understands.

    :param package: the dotted name of the package that the module is in.
    """
    text = _SHORT_LINK.sub(lambda link: _long_link(link[1], link[2], package), text)
    text = _SHARED_PARAMETERS.sub(lambda field: "".join(_each_parameter(*field.groups())), text)
    return _SOURCE.sub(r"\1:see:", text)


def _long_link(where: str, name: str, package: str) -> str:
    if where.startswith("."):
        where = package + where
    return f"`{name} <{where}{name}>`"


def _each_parameter(indent: str, names: str, body: str) -> Iterator[str]:
    for name in names.split(", "):
        yield f"{indent}:param {name}:{body}"


def translate(source: Path, target: Path) -> None:
    """Copy a package, with the package's modules translated."""
    for path in sorted(source.rglob("*.py")):
        relative = path.relative_to(source.parent)
        copy = target / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(translated(path.read_text("utf-8"), ".".join(relative.parent.parts)), "utf-8")


def main(output: str = str(PROJECT / "build" / "reference")) -> int:
    """:returns: the exit code: 0, or another if pydoctor has anything to complain of."""
    shutil.rmtree(output, ignore_errors=True)
    with TemporaryDirectory() as directory:
        translate(PROJECT / PACKAGE, Path(directory))
        options = ["--docformat=restructuredtext", f"--project-name={PACKAGE}", f"--project-base-dir={directory}"]
        command = [sys.executable, "-m", "pydoctor", "--warnings-as-errors", *options]
        return subprocess.call([*command, f"--html-output={output}", f"{directory}/{PACKAGE}"])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
