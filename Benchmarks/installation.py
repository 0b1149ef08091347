# What every benchmark begins with: simulated cameras, a server that records or shows them, a client.
# SPDX-License-Identifier: Apache-2.0
"""Each is a process of its own, measured from outside."""

import http.client
import json
import os
import subprocess
import time
import urllib.parse

from procs import BenchError, Program, Stolen, say

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

    def get(self, path, token=None):
        headers = {"Authorization": f"Bearer {token}"} if token else None
        status, body, _, _ = self.request("GET", path, headers=headers)
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


# All load of a benchmark comes from one address, and often from one user.
UNLIMITED = [
    "limits.address_per_second=1000000", "limits.address_burst=1000000",
    "limits.connections_per_address=10000", "limits.requests_per_minute=1000000"]


def start_server(name, folder, data, *settings):
    """A server on a free port; `ready` says where."""
    command = [MARSAD, "serve", "--json", "--http-port", "0", "--data", data]
    for setting in ["webrtc.port=0", *UNLIMITED, *settings]:
        command += ["--set", setting]
    return Program(name, command, folder)


def serve(options, folder, data, segment_seconds, *settings):
    program = start_server(
        "server", folder, data, "ingest.camera_networks=127.0.0.0/8",
        f"recording.segment_seconds={segment_seconds}", *settings)
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


def load(server, *arguments, token=None):
    """A run of our load client; also what the server's process spent on each answer."""
    environment = {**os.environ, **({"MARSAD_TOKEN": token} if token else {})}
    cpu, stolen = server.cpu_seconds(), Stolen()
    done = subprocess.run(
        [MARSAD, "bench", *(str(argument) for argument in arguments), "--url", server.ready(60)["url"]],
        capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        ended = server.child.poll()
        told = "" if ended is None else f"; the server ended ({ended}): {server.tail()}"
        raise BenchError(f"bench {arguments[0]}: " + done.stderr[-1000:] + told)
    cpu, stolen = server.cpu_seconds() - cpu, stolen.percent()
    found = json.loads(done.stdout)
    return {
        **{key: round(value, 3) if isinstance(value, float) else value
           for key, value in found.items()},
        "server_cpu_cores": round(cpu / found["seconds"], 3),
        "server_cpu_us_per_request": round(cpu * 1e6 / max(found["requests"], 1), 1),
        "client_cpu_us_per_request": round(
            found["client_cpu_seconds"] * 1e6 / max(found["requests"], 1), 1),
        "stolen_percent": stolen}


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
