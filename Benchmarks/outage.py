# A Valkey that hangs: what those who reserve meanwhile wait for, and how soon the counts are right again.
# SPDX-License-Identifier: Apache-2.0
"""Valkey is stopped (SIGSTOP) under a steady load, and goes on (SIGCONT) after it. Some reservations are
held from before, and some are taken meanwhile: in the end Valkey itself must count all of them and no
more."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import time

import reserve
import valkey
from installation import MARSAD, Client
from procs import BenchError, Program, bar, percentile, say

RATE = 50
BEFORE_SECONDS = 3
HELD_BEFORE = 20
HELD_MEANWHILE = 10
# What was asked of the hanging Valkey it does when it goes on; then a lease of 20 s ends it.
PATIENCE_SECONDS = 30


class Watch:
    """What the server says of its circuit, and Valkey of its seats."""

    def __init__(self, url, port):
        self.client = Client(url)
        self.port = port

    def circuit(self):
        text = self.client.get("/metrics").decode()
        found = re.search(r'^cctv_circuit_breaker_state\{name="valkey"\} (\S+)', text, re.MULTILINE)
        # A circuit that never opened is not told.
        return float(found.group(1)) if found else 0

    def until(self, wanted, patience):
        """Seconds until the circuit is closed (0) or is not."""
        begun = time.monotonic()
        while time.monotonic() - begun < patience:
            if (self.circuit() == 0) == (wanted == 0):
                return time.monotonic() - begun
            time.sleep(0.005)
        raise BenchError(f"the circuit is not {wanted} within {patience} s")

    def in_valkey(self):
        with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
            now = int(time.time() * 1000)
            connection.sendall(b"ZCOUNT marsad:{quota}:viewer:all (%d +inf\r\n" % now)
            return int(connection.makefile("rb").readline()[1:])

    def in_server(self):
        sources = json.loads(self.client.get("/api/v1/stream/stats"))["sources"]
        return sum(source["current"] for source in sources)

    def hold(self, count):
        camera = json.loads(self.client.get("/api/v1/cameras?limit=1"))["cameras"][0]["id"]
        for _ in range(count):
            status, body, _, _ = self.client.request(
                "POST", "/api/v1/stream/reserve", json.dumps({"camera_id": camera}),
                {"Content-Type": "application/json"})
            if status != 201:
                raise BenchError(f"reserve: {status} {body[:300]!r}")


def summary(rows):
    times = [float(row["milliseconds"]) for row in rows]
    if not times:
        return None
    statuses = {}
    for row in rows:
        statuses[row["status"]] = statuses.get(row["status"], 0) + 1
    return {"count": len(times), "p50_ms": round(percentile(times, 50), 3),
            "p99_ms": round(percentile(times, 99), 3), "max_ms": round(max(times), 3),
            "statuses": statuses}


def settle(watch, wanted):
    """Until both count what is held, and go on doing so."""
    begun = time.monotonic()
    right, first_right, counts = None, None, []
    while time.monotonic() - begun < PATIENCE_SECONDS:
        counts = [watch.in_server(), watch.in_valkey()]
        now = time.monotonic() - begun
        if counts != [wanted, wanted]:
            right = None
        elif right is None:
            right = now
            first_right = now if first_right is None else first_right
        time.sleep(0.05)
    return right, first_right, counts


def measure_outage(folder, seconds):
    port, store = valkey.start_valkey(folder, "store")
    server = reserve.reserving_server("server", folder, f"valkey.url=valkey://127.0.0.1:{port}")
    url = server.ready(60)["url"]
    watch = Watch(url, port)
    watch.hold(HELD_BEFORE)
    if watch.in_valkey() != HELD_BEFORE:
        raise BenchError(f"Valkey counts {watch.in_valkey()} of {HELD_BEFORE} seats")
    say(f"{RATE} reservations a second; Valkey hangs for {seconds} s")
    trace = os.path.join(folder, "trace.csv")
    client = Program(
        "client", [MARSAD, "bench", "reserve", "--url", url, "--rate", str(RATE), "--seconds",
                   str(BEFORE_SECONDS + seconds), "--trace", trace], folder)
    time.sleep(BEFORE_SECONDS)
    os.kill(store.pid, signal.SIGSTOP)
    stopped = time.monotonic()
    opened = stopped + watch.until(1, 10)
    watch.hold(HELD_MEANWHILE)
    try:
        client.child.wait(seconds + 40)
    except subprocess.TimeoutExpired:
        raise BenchError("the client does not end") from None
    if client.child.returncode != 0:
        raise BenchError("bench reserve: " + client.tail())
    hung = time.monotonic() - stopped
    os.kill(store.pid, signal.SIGCONT)
    closed_after = watch.until(0, 10)
    right, first_right, counts = settle(watch, HELD_BEFORE + HELD_MEANWHILE)
    with open(trace, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["due"] = float(row["due_seconds"])
        row["answered"] = row["due"] + float(row["milliseconds"]) / 1000
    result = {
        "benchmark": "outage", "version": valkey.version(), "rate": RATE,
        "hung_seconds": round(hung, 2), "circuit_opened_after_ms": round((opened - stopped) * 1000, 1),
        "before": summary([row for row in rows if row["answered"] < stopped]),
        "until_open": summary(
            [row for row in rows if row["answered"] >= stopped and row["due"] < opened]),
        "while_open": summary([row for row in rows if row["due"] >= opened]),
        "circuit_closed_after_seconds": round(closed_after, 2),
        # Of what is held, by the server and by Valkey, for good.
        "counts_right_after_seconds": None if right is None else round(closed_after + right, 2),
        "counts_first_right_after_seconds":
            None if first_right is None else round(closed_after + first_right, 2),
        "held": HELD_BEFORE + HELD_MEANWHILE, "counts_at_end": counts,
        "exit_status": server.stop()}
    store.stop()
    result["bars"] = {
        "until_open_p99_ms": bar((result["until_open"] or {}).get("p99_ms"), most=600),
        "while_open_p99_ms": bar((result["while_open"] or {}).get("p99_ms"), most=5),
        "counts_right_after_seconds": bar(result["counts_right_after_seconds"], most=30)}
    return result


def is_good(result):
    parts = [result[name] for name in ("before", "until_open", "while_open")]
    return (result["exit_status"] == 0 and result["counts_right_after_seconds"] is not None
            and all(part and set(part["statuses"]) == {"201"} for part in parts))
