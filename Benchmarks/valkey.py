# The script that takes a seat, through our client and through valkey-benchmark, on the same Valkey.
# SPDX-License-Identifier: Apache-2.0
"""Imported by bench.py; also starts Valkey for the other benchmarks."""

import csv
import json
import re
import shutil
import socket
import statistics
import subprocess
import time

from installation import MARSAD
from procs import BenchError, Program, say

ROUNDS = 3
# Tasks of ours, over one connection.
TASKS = [1, 50, 200]
# Connections of valkey-benchmark, and commands that it sends on each before it waits for an answer.
PEERS = [(1, 1), (50, 1), (50, 16), (1, 200)]
# What is compared: as many commands under way; for the most that each can do, also theirs at best.
PAIRS = {"1": "-c 1 -P 1", "50": "-c 50 -P 1", "200": "-c 1 -P 200"}


def is_installed():
    return shutil.which("valkey-server") is not None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_valkey(folder, name="valkey"):
    """A Valkey that keeps nothing on disk: its port and its process."""
    if not is_installed():
        raise BenchError("valkey-server is not installed (scripts/bootstrap test)")
    port = free_port()
    program = Program(
        name, ["valkey-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
        folder)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return port, program
        except OSError:
            time.sleep(0.05)
    raise BenchError("valkey-server does not start")


def version():
    said = subprocess.run(["valkey-server", "--version"], capture_output=True, text=True).stdout
    return re.sub(r".*v=(\S+).*", r"\1", said.strip())


def measure_ours(port, tasks, seconds):
    done = subprocess.run(
        [MARSAD, "bench", "valkey", "--url", f"valkey://127.0.0.1:{port}", "--tasks", str(tasks),
         "--seconds", str(seconds)], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError("bench valkey: " + done.stderr[-1000:])
    return json.loads(done.stdout)


def measure_theirs(port, connections, depth, count, command):
    done = subprocess.run(
        ["valkey-benchmark", "-p", str(port), "-c", str(connections), "-P", str(depth), "-n", str(count),
         "--csv", *command], capture_output=True, text=True)
    rows = list(csv.DictReader(line for line in done.stdout.splitlines() if line.startswith('"')))
    if done.returncode != 0 or not rows:
        raise BenchError("valkey-benchmark: " + done.stdout[-500:] + done.stderr[-500:])
    row = rows[-1]
    return {"operations_per_second": float(row["rps"]), "p50_ms": float(row["p50_latency_ms"]),
            "p99_ms": float(row["p99_latency_ms"]), "max_ms": float(row["max_latency_ms"])}


def middle(runs):
    return {key: round(statistics.median(run[key] for run in runs), 3)
            for key in ("operations_per_second", "p50_ms", "p99_ms", "max_ms")}


def measure_script(folder, seconds):
    """Ours and theirs in turn, several rounds: whatever else the machine does hits both."""
    port, server = start_valkey(folder)
    ours = {str(tasks): [] for tasks in TASKS}
    theirs = {f"-c {connections} -P {depth}": [] for connections, depth in PEERS}
    cpu, operations = 0, 0
    for number in range(ROUNDS):
        say(f"round {number + 1} of {ROUNDS}")
        for tasks in TASKS:
            before = server.cpu_seconds()
            found = measure_ours(port, tasks, seconds)
            if tasks == TASKS[-1]:
                cpu += server.cpu_seconds() - before
                operations += found["operations"]
            ours[str(tasks)].append(found)
        # As many as ours made: the same time, about.
        command = found["command"]
        for connections, depth in PEERS:
            tasks = str(min((t for t in TASKS if t >= connections * depth), default=TASKS[-1]))
            theirs[f"-c {connections} -P {depth}"].append(
                measure_theirs(port, connections, depth, ours[tasks][-1]["operations"], command))
    server.stop()
    ours = {key: middle(runs) for key, runs in ours.items()}
    theirs = {key: middle(runs) for key, runs in theirs.items()}

    def rate(side, key):
        return side[key]["operations_per_second"]

    best = max(run["operations_per_second"] for run in theirs.values())
    return {
        "benchmark": "valkey", "version": version(), "rounds": ROUNDS, "seconds": seconds,
        "marsad_by_tasks": ours, "valkey_benchmark": theirs,
        "valkey_cpu_us_per_script": round(cpu * 1e6 / max(operations, 1), 2),
        "ratio_by_tasks": {key: round(rate(ours, key) / rate(theirs, peer), 3)
                           for key, peer in PAIRS.items()},
        "ratio_of_the_most": round(rate(ours, str(TASKS[-1])) / best, 3)}
