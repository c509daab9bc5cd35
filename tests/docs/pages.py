"""The pages of the documentation, and what is in them to be run."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.service.child import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
#: Why pages can't be tested, if so.
ABSENT = None if README.exists() else "the README is not installed"

#: The first line of a block that is a whole file.
_FILE = re.compile(r"(?:#|//) ([\w./-]+)\n")


def blocks(page: Path, language: str) -> list[str]:
    """:returns: the fenced blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def snippets(page: Path = README) -> list[str]:
    """:returns: the Python in it, without whole files."""
    return [block for block in blocks(page, "python") if not _FILE.match(block)]


def files(page: Path, language: str = "python") -> dict[str, str]:
    """:returns: the blocks that are whole files, by their names, which are in their first lines."""
    return {found[1]: block for block in blocks(page, language) if (found := _FILE.match(block))}


def commands(page: Path = README) -> Iterator[list[str]]:
    """:returns: the words of each line for a shell, without the remarks and redirections at its end."""
    for line in re.findall(r"^    (\S.*)$", without_blocks(page), re.MULTILINE):
        words = shlex.split(line, comments=True)
        end = next((number for number, word in enumerate(words) if word in "<>"), len(words))
        yield words[:end]


def without_blocks(page: Path) -> str:
    """:returns: the text of a page outside of fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


async def execute(snippet: str, names: dict[str, Any]) -> None:
    """Run Python that may await at its top level."""
    code = compile(snippet, "<documentation>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, names)
    if inspect.iscoroutine(running):
        await running
