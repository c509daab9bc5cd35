"""
What a node remembers from one run to the next: its seed, and whom it knew.

One small file in a directory of its own, replaced as a whole.  A damaged one is set aside, and the node begins anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import txaio

from spaceswarm_proxy.crypto.keys import SEED_LENGTH
from spaceswarm_proxy.dht.contact import address_of, host_port
from spaceswarm_proxy.interfaces import HostPort

log = txaio.make_logger()

FILE_NAME = "node.json"
DAMAGED = "node.json.damaged"
_VERSION = 1
#: Nodes that are remembered; enough to find all others by.
MAX_NODES = 200
#: Bytes of a file that can be one of ours.
_MAX_FILE = 64 * 1024


@dataclass(frozen=True, slots=True)
class NodeState:
    """What is remembered."""

    #: 32 bytes, secret.
    seed: bytes
    #: Addresses, six bytes each, the most recently heard first.
    nodes: tuple[bytes, ...] = ()

    def encode(self) -> str:
        """:returns: the file's text."""
        nodes = [str(host_port(node)) for node in self.nodes[:MAX_NODES]]
        return json.dumps({"version": _VERSION, "seed": self.seed.hex(), "nodes": nodes}, indent=1) + "\n"

    @classmethod
    def parse(cls, text: str) -> NodeState:
        """:raises ValueError: the text is none of ours."""
        fields = json.loads(text)
        if not isinstance(fields, dict) or fields.get("version") != _VERSION:
            raise ValueError("not a state of this version")
        seed, nodes = fields.get("seed"), fields.get("nodes")
        if not isinstance(seed, str) or not isinstance(nodes, list):
            raise ValueError("no seed, or no nodes")
        if len(bytes.fromhex(seed)) != SEED_LENGTH:
            raise ValueError("the seed has another length")
        return cls(bytes.fromhex(seed), tuple(address_of(*HostPort.parse(str(node))) for node in nodes[:MAX_NODES]))


class StateDirectory:
    """Where the state of one node is kept."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._saving_fails = False

    @property
    def exists(self) -> bool:
        """Is anything remembered?"""
        return (self.path / FILE_NAME).exists()

    def load(self) -> NodeState | None:
        """
        :returns: what is remembered; ``None`` if there is nothing, or nothing that can be read.
        :raises OSError: the directory can't be made or read.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / FILE_NAME
        try:
            with file.open("rb") as stream:
                data = stream.read(_MAX_FILE + 1)
        except FileNotFoundError:
            return None
        try:
            if len(data) > _MAX_FILE:
                raise ValueError("too large")
            return NodeState.parse(data.decode())
        except (ValueError, TypeError, RecursionError) as problem:
            file.replace(self.path / DAMAGED)
            log.warn("{file} is damaged ({problem}): it is now {name}", file=str(file), problem=problem, name=DAMAGED)
            return None

    def save(self, seed: bytes, nodes: Sequence[bytes]) -> None:
        """Replace what is remembered.  That it can't be, a full disk perhaps, is logged; once, until it can again."""
        try:
            self._replace(NodeState(seed, tuple(nodes)).encode().encode())
            self._saving_fails = False
        except OSError as problem:
            if not self._saving_fails:
                self._saving_fails = True
                log.warn("the node's state cannot be saved: {problem}", problem=problem)

    def _replace(self, data: bytes) -> None:
        new = self.path / (FILE_NAME + ".new")
        # Nobody else may read the seed.
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(new, self.path / FILE_NAME)
        except OSError:
            new.unlink(missing_ok=True)
            raise
