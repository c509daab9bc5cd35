#!/usr/bin/env python3
"""A seeded, impaired UDP relay for tests. Standard library only.

Two ports face the two peers:

    peer A  <-->  [port_a | relay | port_b]  <-->  peer B

Peer A sends to port_a and receives from port_a; peer B likewise with port_b.
The address of a peer may be given, or is learned from its first datagram
(and re-learned when it changes, unless ``pin`` is set).

Impairments are drawn per direction from ``random.Random(f"{seed}/{direction}")``
with a fixed number of draws per datagram, so the decision for the n-th datagram
of a direction depends only on the seed and n.

In a test:

    from lossy_udp import LossyRelay
    with LossyRelay(b_addr=("127.0.0.1", 4000), loss=2, reorder=1, seed=7) as r:
        ...  # peer A talks to ("127.0.0.1", r.port_a)
    print(r.stats)

From a shell (prints one JSON line with the ports, and one with the counters at
the end; stops on SIGTERM, SIGINT, end of --seconds, or end of standard input
with --stdin):

    python3 lossy_udp.py --b 127.0.0.1:4000 --loss 2 --reorder 1 --dup 0.5 \
        --delay 10 --jitter 2 --seed 7
"""

import argparse
import heapq
import json
import random
import select
import signal
import socket
import sys
import threading
import time

A2B, B2A = 0, 1
NAMES = ("a2b", "b2a")


class Impairment:
    """What one direction suffers. Percentages are 0..100, times in milliseconds."""

    def __init__(
        self,
        loss=0.0,
        reorder=0.0,
        dup=0.0,
        delay=0.0,
        jitter=0.0,
        reorder_ms=5.0,
        rate=0,
        queue=256 * 1024,
        drop_first=0,
    ):
        self.loss, self.reorder, self.dup = loss, reorder, dup
        self.delay, self.jitter, self.reorder_ms = delay, jitter, reorder_ms
        self.rate = rate  # bytes per second, 0 = unlimited
        self.queue = queue  # bytes the rate limiter may hold back
        self.drop_first = drop_first


class LossyRelay:
    """hook(direction, index, data) may return None (default treatment), False
    (drop), True (pass untouched), a float (extra delay in ms), or bytes
    (replacement payload). direction is "a2b" or "b2a"."""

    def __init__(
        self,
        a_addr=None,
        b_addr=None,
        host="127.0.0.1",
        port_a=0,
        port_b=0,
        seed=0,
        loss=0.0,
        reorder=0.0,
        dup=0.0,
        delay=0.0,
        jitter=0.0,
        reorder_ms=5.0,
        rate=0,
        queue=256 * 1024,
        drop_first=0,
        a2b=None,
        b2a=None,
        hook=None,
        pin=False,
        record=None,
        sockbuf=4 * 1024 * 1024,
    ):
        common = dict(
            loss=loss,
            reorder=reorder,
            dup=dup,
            delay=delay,
            jitter=jitter,
            reorder_ms=reorder_ms,
            rate=rate,
            queue=queue,
            drop_first=drop_first,
        )
        self.imp = [Impairment(**{**common, **(a2b or {})}), Impairment(**{**common, **(b2a or {})})]
        self.rng = [random.Random(f"{seed}/{n}") for n in NAMES]
        self.hook, self.pin, self.record = hook, pin, record
        self.peer = [a_addr, b_addr]  # address behind port_a / port_b
        self.fixed = [a_addr is not None and pin, b_addr is not None and pin]
        self.socks = []
        for port in (port_a, port_b):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            for opt in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                s.setsockopt(socket.SOL_SOCKET, opt, sockbuf)
            s.bind((host, port))
            s.setblocking(False)
            self.socks.append(s)
        self.port_a = self.socks[0].getsockname()[1]
        self.port_b = self.socks[1].getsockname()[1]
        self.stats = {
            n: dict(seen=0, lost=0, reordered=0, duplicated=0, sent=0, bytes=0, queue_drops=0, no_peer=0) for n in NAMES
        }
        self._heap, self._n = [], 0
        self._link_free = [0.0, 0.0]
        self._stop = threading.Event()
        self._wake_r, self._wake_w = socket.socketpair()
        self._wake_r.setblocking(False)
        self._thread = None

    # -- life cycle ---------------------------------------------------------
    def start(self):
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()
        return self

    def stop(self):
        self._stop.set()
        try:
            self._wake_w.send(b"x")
        except OSError:
            pass
        if self._thread is not None:
            self._thread.join(5)
            self._thread = None
        for s in self.socks + [self._wake_r, self._wake_w]:
            s.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    # -- data path ----------------------------------------------------------
    def _ingest(self, d, data, src, now):
        side = d  # A2B arrives on socket 0
        if not self.fixed[side]:
            self.peer[side] = src
        st, imp, rng = self.stats[NAMES[d]], self.imp[d], self.rng[d]
        index = st["seen"]
        st["seen"] += 1
        # always the same number of draws per datagram
        r_loss, r_reorder, r_dup, r_jit = (rng.random(), rng.random(), rng.random(), rng.random())
        if self.record is not None:
            self.record(NAMES[d], index, now, data)
        verdict = self.hook(NAMES[d], index, data) if self.hook is not None else None
        extra = 0.0
        if verdict is False:
            st["lost"] += 1
            return
        if isinstance(verdict, (bytes, bytearray)):
            data = bytes(verdict)
        elif verdict is True:
            r_loss = r_reorder = r_dup = 1.0
        elif verdict is not None:
            extra = float(verdict)
        if index < imp.drop_first or r_loss * 100 < imp.loss:
            st["lost"] += 1
            return
        at = now + (imp.delay + extra + imp.jitter * r_jit) / 1000.0
        if imp.rate:
            start = max(now, self._link_free[d])
            if (start - now) * imp.rate > imp.queue:
                st["queue_drops"] += 1
                return
            self._link_free[d] = start + len(data) / imp.rate
            at += self._link_free[d] - now
        if r_reorder * 100 < imp.reorder:
            st["reordered"] += 1
            at += imp.reorder_ms / 1000.0
        self._push(at, d, data)
        if r_dup * 100 < imp.dup:
            st["duplicated"] += 1
            self._push(at, d, data)

    def _push(self, at, d, data):
        self._n += 1
        heapq.heappush(self._heap, (at, self._n, d, data))

    def _flush(self, now):
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, _, d, data = heapq.heappop(heap)
            st, dst = self.stats[NAMES[d]], self.peer[1 - d]
            if dst is None:
                st["no_peer"] += 1
                continue
            try:
                self.socks[1 - d].sendto(data, dst)
            except OSError:
                st["lost"] += 1
                continue
            st["sent"] += 1
            st["bytes"] += len(data)

    def run(self):
        fds = {self.socks[0]: A2B, self.socks[1]: B2A}
        poller = select.poll()
        by_fd = {}
        for s in list(fds) + [self._wake_r]:
            poller.register(s, select.POLLIN)
            by_fd[s.fileno()] = s
        while not self._stop.is_set():
            timeout = 200.0
            if self._heap:
                timeout = max(0.0, (self._heap[0][0] - time.monotonic()) * 1000)
            for fd, _ in poller.poll(timeout if timeout >= 1 or timeout == 0 else 1):
                s = by_fd[fd]
                if s is self._wake_r:
                    continue
                d = fds[s]
                for _ in range(64):
                    try:
                        data, src = s.recvfrom(65535)
                    except (BlockingIOError, ConnectionRefusedError):
                        break
                    except OSError:
                        break
                    self._ingest(d, data, src, time.monotonic())
            self._flush(time.monotonic())


def _addr(text):
    host, _, port = text.rpartition(":")
    return (host or "127.0.0.1", int(port))


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--a", type=_addr, help="address of peer A (else learned)")
    p.add_argument("--b", type=_addr, help="address of peer B (else learned)")
    p.add_argument("--port-a", type=int, default=0)
    p.add_argument("--port-b", type=int, default=0)
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--seed", default="0")
    for name, help_ in (
        ("loss", "percent dropped"),
        ("reorder", "percent held back"),
        ("dup", "percent sent twice"),
        ("delay", "one-way ms"),
        ("jitter", "extra one-way ms, uniform"),
    ):
        p.add_argument("--" + name, type=float, default=0.0, help=help_)
    p.add_argument("--reorder-ms", type=float, default=5.0, help="hold-back time")
    p.add_argument("--rate", type=float, default=0, help="bytes per second, 0 = no limit")
    p.add_argument("--queue", type=int, default=256 * 1024, help="bytes queued by --rate")
    p.add_argument("--drop-first", type=int, default=0)
    p.add_argument("--one-way", choices=NAMES, help="impair only this direction")
    p.add_argument("--seconds", type=float, default=0)
    p.add_argument("--stdin", action="store_true", help="stop at end of standard input")
    o = p.parse_args(argv)
    kw = dict(
        loss=o.loss,
        reorder=o.reorder,
        dup=o.dup,
        delay=o.delay,
        jitter=o.jitter,
        reorder_ms=o.reorder_ms,
        rate=o.rate,
        queue=o.queue,
        drop_first=o.drop_first,
    )
    sides = {"a2b": kw, "b2a": kw}
    if o.one_way:
        sides["b2a" if o.one_way == "a2b" else "a2b"] = {}
    r = LossyRelay(a_addr=o.a, b_addr=o.b, host=o.host, port_a=o.port_a, port_b=o.port_b, seed=o.seed, **sides)
    print(json.dumps({"event": "ready", "port_a": r.port_a, "port_b": r.port_b}), flush=True)
    done = threading.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: done.set())
    r.start()
    if o.stdin:
        threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    done.wait(o.seconds or None)
    r.stop()
    print(json.dumps({"event": "stats", **r.stats}), flush=True)


if __name__ == "__main__":
    main()
