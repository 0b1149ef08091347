# How fast seats are reserved over HTTP, counted in memory and in Valkey.
# SPDX-License-Identifier: Apache-2.0
"""The server has cameras that nobody feeds: a reservation needs none of their video. The client is one
thread of `marsad bench`, on the same cores as the server; what the same client makes of an address that
does nothing (`GET /health`) stands beside it."""

import os
import subprocess

import valkey
from installation import MARSAD, load, start_server
from procs import bar, say

CLIENTS = 64
STEADY_RATE = 2000
CAMERAS = 8
# Reservations that are kept; below the 20,000 that a server holds.
KEPT = 18_000


def add_publishing_cameras(data):
    for number in range(CAMERAS):
        subprocess.run(
            [MARSAD, "camera", "add", "--whip", "--name", f"Camera {number}", "--source", "METRO",
             "--data", data], check=True, capture_output=True)


def reserving_server(name, folder, *settings):
    """Each reservation takes a seat of its own, so that each asks the store."""
    data = os.path.join(folder, name)
    add_publishing_cameras(data)
    return start_server(
        name, folder, data, "quota.unit=viewer", "limits.sources=METRO=100000", "limits.total=500000",
        *settings)


def run_store(folder, name, seconds, *settings):
    server = reserving_server(name, folder, *settings)
    say(f"{name}: {CLIENTS} clients for {seconds} s each")
    usual = ["--clients", CLIENTS, "--seconds", seconds]
    result = {
        # What the HTTP server and this client make of nothing: no run below can be faster.
        "health": load(server, "get", "--path", "/health", *usual),
        # Each reservation is released by its client before it takes the next one.
        "most": load(server, "reserve", *usual),
        "steady": load(server, "reserve", *usual, "--rate", STEADY_RATE),
        # Last, since what is kept stays for a minute.
        "most_kept": load(server, "reserve", *usual, "--keep", "--count", KEPT),
    }
    result["requests_of_health"] = round(
        result["most"]["requests_per_second"] / result["health"]["requests_per_second"], 3)
    result["exit_status"] = server.stop()
    return result


def rates(name, runs, least):
    """Reservations a second: alone, and with as many releases between them."""
    return {f"{name}_{part}_reservations_per_second": bar(
        runs[part]["reservations_per_second"], least=least) for part in ("most_kept", "most")}


def measure_reserve(folder, seconds):
    result = {"benchmark": "reserve", "seconds": seconds,
              "memory": run_store(folder, "memory", seconds)}
    result["bars"] = rates("memory", result["memory"], 20_000)
    if not valkey.is_installed():
        say("NOT MEASURED WITH VALKEY: valkey-server is not installed (scripts/bootstrap test)")
        return result
    port, program = valkey.start_valkey(folder, "store")
    cpu = program.cpu_seconds()
    result["valkey"] = run_store(
        folder, "valkey", seconds, f"valkey.url=valkey://127.0.0.1:{port}")
    result["valkey"]["valkey_cpu_seconds"] = round(program.cpu_seconds() - cpu, 2)
    result["valkey"]["version"] = valkey.version()
    program.stop()
    result["bars"].update(rates("valkey", result["valkey"], 10_000))
    result["bars"]["valkey_steady_p99_ms"] = bar(result["valkey"]["steady"]["p99_ms"], most=10)
    return result
