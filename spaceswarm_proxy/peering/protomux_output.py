"""What a mux has to say: messages of its channels, put together to messages of the stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spaceswarm_proxy.peering.protomux_wire import Message, encode_messages

#: Bytes of a batch that we make, and what a message in it takes besides its body.
_FULL_BATCH = 32 * 1024
_OVERHEAD = 16


class MuxOutput:
    """Keeps what is said until it is fetched."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """:param wake: called when there may be something to fetch."""
        self._wake = wake
        self._messages: list[bytes] = []
        self._batch: list[Message] = []
        self._batch_size = 0
        self._depth = 0
        self._closed = False

    @contextmanager
    def batch(self) -> Iterator[None]:
        """What is written inside becomes one message of the stream, if it is not too much for one."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._end_batch()
                self._wake()

    def write(self, message: Message) -> None:
        """Say something; after :meth:`close`, nothing."""
        if self._closed:
            return
        with self.batch():
            size = len(message.body) + _OVERHEAD
            if self._batch_size + size > _FULL_BATCH:
                self._end_batch()
            self._batch.append(message)
            self._batch_size += size

    def close(self) -> None:
        """Say nothing more; what was said can still be fetched."""
        self._closed = True

    def fetch(self) -> list[bytes]:
        """:returns: messages of the stream, in order; each once."""
        messages, self._messages = self._messages, []
        return messages

    def _end_batch(self) -> None:
        if self._batch:
            self._messages.append(encode_messages(self._batch))
            self._batch = []
            self._batch_size = 0
