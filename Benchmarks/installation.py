# What every benchmark begins with: simulated cameras, a server that records or shows them, a client.
# SPDX-License-Identifier: Apache-2.0
"""Each is a process of its own, measured from outside."""

import http.client
import json
import os
import subprocess
import time
import urllib.parse

from procs import BenchError, Program, say

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MARSAD = os.path.join(ROOT, ".build", "release", "marsad")
SCENES = os.path.join(ROOT, ".build", "bench-scenes")


class Client:
    """One keep-alive connection to the server."""

    def __init__(self, url):
        self.host = urllib.parse.urlsplit(url).netloc
        self.connection = http.client.HTTPConnection(self.host, timeout=30)

    def request(self, method, path, body=None, headers=None):
        """Status, body, and the seconds to the first byte and to the last one."""
        begun = time.perf_counter()
        self.connection.request(method, path, body=body, headers=headers or {})
        response = self.connection.getresponse()
        first = response.read(1)
        first_at = time.perf_counter()
        rest = response.read()
        return response.status, first + rest, first_at - begun, time.perf_counter() - begun

    def get(self, path):
        status, body, _, _ = self.request("GET", path)
        if status != 200:
            raise BenchError(f"GET {path.split('?')[0]}: {status} {body[:300]!r}")
        return body

    def total(self, query):
        return json.loads(self.get("/api/v1/cameras?limit=1" + query))["total"]


def simulate(options, folder):
    say(f"{options.cameras} simulated cameras, {options.size} {options.fps} fps {options.bitrate}")
    program = Program(
        "simulator",
        [MARSAD, "simulate", "cameras", "--count", str(options.cameras), "--rtsp-port", "0",
         "--json", "--scenes", SCENES, "--size", options.size, "--fps", str(options.fps),
         "--gop", str(options.gop), "--bitrate", options.bitrate]
        + (["--spread-packets"] if options.spread_packets else []), folder)
    return program, program.ready(600)["rtsp_url"]


def add_cameras(options, data, rtsp_url, is_recorded):
    for number in range(1, options.cameras + 1):
        command = [MARSAD, "camera", "add", f"{rtsp_url}/camera_{number}",
                   "--name", f"Camera {number}", "--data", data]
        if not is_recorded:
            command.append("--no-recording")
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise BenchError("camera add: " + done.stderr)


def serve(options, folder, data, segment_seconds, *settings):
    program = Program(
        "server",
        [MARSAD, "serve", "--json", "--http-port", "0", "--data", data,
         "--set", "ingest.camera_networks=127.0.0.0/8", "--set", "webrtc.port=0",
         # All load comes from one address here.
         "--set", "limits.address_per_second=1000000", "--set", "limits.address_burst=1000000",
         "--set", "limits.connections_per_address=10000",
         "--set", "limits.requests_per_minute=1000000",
         "--set", f"recording.segment_seconds={segment_seconds}", *settings], folder)
    client = Client(program.ready(60)["url"])
    patience = 60 + options.cameras / 5
    deadline = time.monotonic() + patience
    while client.total("&status=ONLINE") < options.cameras:
        if time.monotonic() > deadline:
            raise BenchError(
                f"{client.total('&status=ONLINE')} of {options.cameras} cameras are ONLINE "
                f"after {patience:.0f} s: {program.tail()}")
        time.sleep(0.2)
    return program, client


def measure(program, simulator, seconds):
    """CPU of a program, and of the simulator that feeds it, over a time."""
    begun = time.monotonic()
    cpu, sim, written = program.cpu_seconds(), simulator.cpu_seconds(), program.written_bytes()
    time.sleep(seconds)
    took = time.monotonic() - begun
    return {
        "measured_seconds": round(took, 2),
        "cpu_cores": round((program.cpu_seconds() - cpu) / took, 4),
        "simulator_cpu_cores": round((simulator.cpu_seconds() - sim) / took, 4),
        "written_bytes_per_second": round((program.written_bytes() - written) / took),
        "rss_mb_peak": round(program.rss_peak_mb(), 1),
        "rss_mb_end": round(program.rss_mb(), 1),
        "threads": program.threads(),
    }


def checked(data):
    done = subprocess.run(
        [MARSAD, "check", os.path.join(data, "recordings")], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError("check: " + done.stderr)
    return json.loads(done.stdout)
