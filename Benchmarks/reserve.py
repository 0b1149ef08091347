# How fast seats are reserved over HTTP, counted in memory and in Valkey.
# SPDX-License-Identifier: Apache-2.0
"""The server has cameras that nobody feeds: a reservation needs none of their video."""

import json
import os
import re
import shutil
import socket
import subprocess
import time

from procs import BenchError, Program, say

CLIENTS = 64
STEADY_RATE = 2000


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_valkey(folder):
    """A Valkey that keeps nothing on disk; its port and its process."""
    port = free_port()
    child = subprocess.Popen(
        ["valkey-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
        stdout=subprocess.DEVNULL)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return port, child
        except OSError:
            time.sleep(0.05)
    child.kill()
    raise BenchError("valkey-server does not start")


def load(marsad, url, seconds, rate=0):
    done = subprocess.run(
        [marsad, "bench", "reserve", "--url", url, "--clients", str(CLIENTS),
         "--seconds", str(seconds), "--rate", str(rate)], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError("bench reserve: " + done.stderr[-1000:])
    return json.loads(done.stdout)


def run_store(marsad, folder, name, seconds, settings):
    """Each reservation takes a seat of its own, so that each asks the store."""
    data = os.path.join(folder, name)
    for number in range(8):
        subprocess.run(
            [marsad, "camera", "add", "--whip", "--name", f"Camera {number}", "--source", "METRO",
             "--data", data], check=True, capture_output=True)
    command = [marsad, "serve", "--json", "--http-port", "0", "--data", data,
               "--set", "webrtc.port=0", "--set", "quota.unit=viewer",
               # All load comes from one address here.
               "--set", "limits.address_per_second=1000000", "--set", "limits.address_burst=1000000",
               "--set", "limits.connections_per_address=10000",
               "--set", "limits.requests_per_minute=1000000",
               "--set", "limits.sources=METRO=100000", "--set", "limits.total=500000"]
    for setting in settings:
        command += ["--set", setting]
    server = Program(name, command, folder)
    url = server.ready(60)["url"]
    say(f"{name}: {CLIENTS} clients for {seconds} s, then {STEADY_RATE} a second")
    result = {"most": load(marsad, url, seconds), "steady": load(marsad, url, seconds, STEADY_RATE)}
    result["exit_status"] = server.stop()
    return result


def measure_reserve(marsad, folder, seconds):
    result = {"benchmark": "reserve", "seconds": seconds,
              "memory": run_store(marsad, folder, "memory", seconds, [])}
    if shutil.which("valkey-server") is None:
        say("NOT MEASURED WITH VALKEY: valkey-server is not installed (scripts/bootstrap test)")
        return result
    port, child = start_valkey(folder)
    try:
        result["valkey"] = run_store(
            marsad, folder, "valkey", seconds, [f"valkey.url=valkey://127.0.0.1:{port}"])
        version = subprocess.run(["valkey-server", "--version"], capture_output=True, text=True).stdout
        result["valkey"]["version"] = re.sub(r".*v=(\S+).*", r"\1", version.strip())
    finally:
        child.kill()
        child.wait()
    return result
