# The program on PostgreSQL: it records through a killed server, and the rows come when it is back.
# SPDX-License-Identifier: Apache-2.0
"""Usage: postgresql_test.py [--marsad .build/release/marsad] [--outage 12]

Starts a PostgreSQL server, four simulated cameras and a server of Marsad, all of its own in a temporary
folder. Prints one line a check and "N passed, N failed"; exits 1 on failure. Without PostgreSQL's
programs (scripts/bootstrap test) it says so and checks nothing.
"""
import argparse
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from checks import Checks  # noqa: E402

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
CLUSTER = os.path.join(ROOT, "Tests", "postgresql.sh")
CAMERAS = 4
PATIENCE = 90


def until(condition, seconds=PATIENCE):
    """What the condition answers as soon as it is true; its last answer when it is not in time."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer or time.monotonic() > end:
            return answer
        time.sleep(0.2)


class Installation:
    """A cluster, its two roles, cameras, and the commands of a program on them."""

    def __init__(self, marsad, folder):
        self.marsad = marsad
        self.data = os.path.join(folder, "data")
        self.cluster = os.path.join(folder, "pg")
        self.log = open(os.path.join(folder, "server.err"), "ab")
        self.cameras = None
        self.server = None
        # The server of PostgreSQL runs as another user.
        os.chmod(folder, 0o755)
        self.database("start")
        self.sql("CREATE ROLE marsad_owner LOGIN", "CREATE ROLE marsad LOGIN",
                 "CREATE DATABASE marsad OWNER marsad_owner TEMPLATE template0", to="postgres")
        self.environment = {**os.environ, "MARSAD_DATABASE_URL": self.url("marsad")}

    def url(self, role):
        return f"postgresql://{role}@/marsad?host={self.cluster}"

    def database(self, command):
        subprocess.run([CLUSTER, command, self.cluster], check=True, timeout=PATIENCE)

    def sql(self, *statements, to="marsad"):
        arguments = [word for statement in statements for word in ("-c", statement)]
        output = subprocess.run(
            ["psql", "-h", self.cluster, "-U", "postgres", "-At", "-F", " ", to, *arguments],
            capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
        return [line.split(" ") for line in output.splitlines()]

    def command(self, *arguments, role="marsad", check=True):
        environment = {**self.environment, "MARSAD_DATABASE_URL": self.url(role)}
        return subprocess.run(
            [self.marsad, *arguments, "--data", self.data], env=environment, capture_output=True,
            text=True, check=check, timeout=PATIENCE)

    def simulate(self, folder):
        self.cameras = subprocess.Popen(
            [self.marsad, "simulate", "cameras", "--count", str(CAMERAS), "--rtsp-port", "0",
             "--json", "--size", "320x180", "--bitrate", "300k", "--scenes", f"{folder}/scenes"],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        address = json.loads(self.cameras.stdout.readline())["url"]
        for number in range(1, CAMERAS + 1):
            self.command("camera", "add", f"{address}/camera_{number}", "--name", f"Gate {number}")

    def serve(self):
        self.server = subprocess.Popen(
            [self.marsad, "serve", "--json", "--http-port", "0", "--data", self.data,
             "--set", "webrtc.port=0", "--set", "recording.segment_seconds=2",
             "--set", "ingest.camera_networks=127.0.0.0/8"],
            stdout=subprocess.PIPE, stderr=self.log, env=self.environment, text=True)
        return json.loads(self.server.stdout.readline())["ready"]

    def files(self):
        return set(glob.glob(f"{self.data}/recordings/**/*.mp4", recursive=True))

    def rows(self):
        """Start and end of each segment, by camera."""
        segments = {}
        for camera, start, end in self.sql(
                "SELECT camera_id, start_time, end_time FROM video_segments ORDER BY start_time"):
            segments.setdefault(camera, []).append((int(start), int(end)))
        return segments

    def stop(self):
        for process in (self.server, self.cameras):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        subprocess.run([CLUSTER, "stop", self.cluster], check=False, timeout=PATIENCE)


def widest_hole(segments):
    """The longest time between two segments that follow each other, in seconds."""
    return max((b[0] - a[1] for a, b in zip(segments, segments[1:])), default=0) / 1e6


def roles(checks, there):
    result = there.command("migrate", "--check", check=False)
    checks.check(result.returncode == 3, "an empty database is said to need a migration",
                 result.stderr)
    result = there.command("camera", "list", check=False)
    checks.check(result.returncode == 1 and "permission denied" in result.stderr,
                 "the service's role may not migrate", result.stderr)
    result = there.command("migrate", "--grant", "marsad", role="marsad_owner", check=False)
    checks.check(result.returncode == 0, "the owner migrates and grants", result.stderr)
    result = there.command("migrate", "--check", check=False)
    checks.check(result.returncode == 0, "then nothing is left to do", result.stderr)
    shown = there.command("serve", "--print-config").stdout
    checks.check(re.search(r"database\.url: \S+  # MARSAD_DATABASE_URL", shown)
                 and "postgresql" not in shown, "the address is never printed", shown)


def outage(checks, there, seconds):
    enough = until(lambda: (rows := there.rows()) and len(rows) == CAMERAS
                   and all(len(segments) > 1 for segments in rows.values()))
    checks.check(enough, "the segments of every camera become rows")
    files = len(there.files())
    began = time.time()
    there.database("crash")
    time.sleep(seconds)
    checks.check(there.server.poll() is None, "the program lives on without its database")
    grown = len(there.files()) - files
    checks.check(grown >= CAMERAS * (seconds // 2 - 3), "all cameras go on recording meanwhile",
                 f"{grown} new files in {seconds} s")
    there.database("start")
    ended = time.time()
    later = (ended + 3) * 1e6
    caught_up = until(lambda: (rows := there.rows()) and len(rows) == CAMERAS
                      and all(segments[-1][1] > later for segments in rows.values()))
    checks.check(caught_up, "rows arrive again after the restart")
    print(f"     {time.time() - ended:.1f} s after the restart, {ended - began:.1f} s after the kill")
    rows = there.rows()
    holes = {camera: widest_hole(segments) for camera, segments in rows.items()}
    checks.check(all(hole < 0.5 for hole in holes.values()),
                 "every second of the outage has its row", str(holes))
    gaps = there.sql("SELECT camera_id, start_time, end_time, reason FROM gaps WHERE"
                     f" start_time > {int(began * 1e6)} AND reason <> 'RESTART'")
    checks.check(not gaps, "no gap was written for it", str(gaps))


def ending(checks, there):
    there.server.send_signal(signal.SIGTERM)
    checks.check(there.server.wait(PATIENCE) == 0, "the server ends with 0")
    without_row = {os.path.relpath(path, there.data) for path in there.files()} - {
        row[0] for row in there.sql("SELECT storage_path FROM video_segments")}
    checks.check(not without_row, "every file has its row", str(without_row))
    result = there.command("audit", "verify", check=False)
    checks.check(result.returncode == 0, "the audit log is what was written", result.stderr)
    log = open(there.log.name).read()
    checks.check("role_may_change" not in log, "the service's role cannot change the audit log")
    there.database("crash")
    result = there.command("camera", "list", check=False)
    checks.check(result.returncode == 1 and "unavailable" in result.stderr,
                 "a command without its database says so and ends with 1", result.stderr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--marsad", default=os.path.join(ROOT, ".build/release/marsad"))
    parser.add_argument("--outage", type=int, default=12, help="seconds without a database")
    arguments = parser.parse_args()
    checks = Checks()
    if not glob.glob("/usr/lib/postgresql/*/bin/initdb"):
        print("SKIPPED: PostgreSQL is not installed (scripts/bootstrap test)")
    else:
        with tempfile.TemporaryDirectory(prefix="marsad-pg-") as folder:
            there = Installation(os.path.abspath(arguments.marsad), folder)
            try:
                roles(checks, there)
                there.simulate(folder)
                checks.check(there.serve(), "the server is ready")
                outage(checks, there, arguments.outage)
                ending(checks, there)
            finally:
                there.stop()
                if checks.failed:
                    print("".join(open(there.log.name).readlines()[-30:]))
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
