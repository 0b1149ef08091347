# How fast an operator's list of all cameras is answered, asked for by many at a steady rate.
# SPDX-License-Identifier: Apache-2.0
"""The cameras are those that publish, so that nothing connects to them meanwhile. The operator is a user
of their agency with no more than its default group gives; the server wants a token of everybody."""

import json
import os
import subprocess

from installation import MARSAD, Client, load, start_server
from procs import BenchError, bar, say

CAMERAS = 500
RATE = 500
CLIENTS = 64
WARM_UP_SECONDS = 2


def command(data, *arguments):
    done = subprocess.run([MARSAD, *arguments, "--data", data], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"{arguments[0]} {arguments[1]}: " + done.stderr[-1000:])
    return done.stdout.strip()


def add_cameras(client, token):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    for number in range(CAMERAS):
        body = {"name": f"Camera {number}", "name_ar": f"كاميرا {number}", "source": "METRO",
                "origin": "WHIP"}
        status, answer, _, _ = client.request("POST", "/api/v1/cameras", json.dumps(body), headers)
        if status != 201:
            raise BenchError(f"POST /api/v1/cameras: {status} {answer[:300]!r}")


def measure_lists(folder, seconds):
    data = os.path.join(folder, "lists")
    command(data, "user", "add", "operator", "--name", "Operator", "--agency", "METRO")
    server = start_server("lists", folder, data, "auth.required=on")
    client = Client(server.ready(60)["url"])
    say(f"adding {CAMERAS} cameras")
    add_cameras(client, command(data, "token", "issue", "--user", "admin"))
    token = command(data, "token", "issue", "--user", "operator")
    path = f"/api/v1/cameras?limit={CAMERAS}"
    seen = len(json.loads(client.get(path, token))["cameras"])
    say(f"{RATE} lists a second for {seconds} s")
    asked = ["get", "--path", path, "--clients", CLIENTS, "--rate", RATE, "--seconds"]
    load(server, *asked, WARM_UP_SECONDS, token=token)
    found = load(server, *asked, seconds, token=token)
    # The same without an answer of that size.
    health = load(server, "get", "--path", "/health", *asked[3:], seconds, token=token)
    return {"benchmark": "lists", "cameras": CAMERAS, "cameras_seen": seen, "rate": RATE,
            "lists": found, "health": health, "bars": {"p99_ms": bar(found["p99_ms"], most=20)},
            "exit_status": server.stop()}


def is_good(result):
    return (result["exit_status"] == 0 and result["cameras_seen"] == CAMERAS
            and set(result["lists"]["statuses"]) == {"200"})
