# Probes of cameras as an administrator meets them: what a camera sends, and why one sends nothing.
# SPDX-License-Identifier: Apache-2.0
"""Usage: probe_test.py [--marsad .build/release/marsad]

Starts simulated cameras and a server of its own on free ports in a temporary folder; needs nothing
but Python. Prints one line a check and "N passed, N failed"; exits 1 on failure.
"""
import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from checks import Checks  # noqa: E402
from gateway_test import PATIENCE, ROOT  # noqa: E402
from accounts_test import Server  # noqa: E402
from cameras_test import SECRET, Client  # noqa: E402

LOCAL = ("--set", "ingest.camera_networks=127.0.0.0/8")


@contextlib.contextmanager
def cameras(marsad, folder, *arguments):
    """The address of simulated cameras."""
    process = subprocess.Popen(
        [marsad, "simulate", "cameras", "--count", "1", "--rtsp-port", "0", "--size", "320x180",
         "--bitrate", "300k", "--scenes", os.path.join(folder, "scenes-" + arguments[-1]), "--json",
         *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait(PATIENCE)


@contextlib.contextmanager
def listener(answer):
    """A server of TCP that says one thing to everybody, or nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    kept.append(connection)
                    if answer:
                        connection.recv(4096)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"rtsp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


def check_found(marsad, folder, admin, check):
    def probe(sentence, url):
        found = admin(sentence, 200, "POST", "/api/v1/cameras/probe", {"rtsp_url": url})
        check(SECRET not in json.dumps(found), "the password is in no answer")
        return found

    with cameras(marsad, folder, "--gop", "25", "--audio", "--fps", "25") as url:
        found = probe("a camera is probed", f"{url}/camera_1")
        check(found["ok"] and found["codec"].startswith("avc1.") and found["resolution"] == "320x180",
              "its codec and its size are told", str(found))
        check(24 < found["frames_per_second"] < 26 and found["gop_length"] == 25
              and 50 < found["bitrate_kbps"] < 2000, "its rates as well", str(found))
        check(found["audio"] == "PCMU" and found["authentication"] == "NONE"
              and found["has_b_frames"] is False and found["transport"] == "TCP",
              "its sound, and how it lets in", str(found))
        check(0 <= found["time_to_play_ms"] <= found["time_to_keyframe_ms"] < 20_000, "and how soon")
        found = probe("a path that is none", f"{url}/camera_7")
        check(not found["ok"] and found["failure"]["reason"] == "NOT_FOUND", "is said", str(found))
        again = probe("it is still there", f"{url}/camera_1")
        check(again["ok"], "afterwards")
    with cameras(marsad, folder, "--credentials", f"viewer:{SECRET}", "--codec", "h265") as url:
        inside = url.replace("rtsp://", f"rtsp://viewer:{SECRET}@")
        found = probe("a camera of H.265 with a login", f"{inside}/camera_1")
        check(found["ok"] and found["codec"].startswith("hvc1.") and found["authentication"] == "DIGEST",
              "is found with both", str(found))
        for sentence, wrong in [("the wrong password", inside.replace(SECRET, SECRET + "x")),
                                ("no password", url)]:
            found = probe(sentence, f"{wrong}/camera_1")
            check(found["failure"]["reason"] == "AUTHENTICATION" and found["failure"]["message_ar"],
                  "is refused by the camera", str(found))
        command = [marsad, "camera", "probe", f"{inside}/camera_1", "--data", os.path.join(folder, "p")]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
        check(refused.returncode == 1 and "network" in refused.stderr and SECRET not in refused.stderr,
              "the command keeps to the networks of cameras", refused.stderr)
        done = subprocess.run([*command, *LOCAL], capture_output=True, text=True, timeout=60)
        check(done.returncode == 0 and "320x180" in done.stdout and SECRET not in done.stdout,
              "and says what it finds", done.stdout + done.stderr)
        done = subprocess.run([*command, *LOCAL, "--json"], capture_output=True, text=True, timeout=60)
        check(json.loads(done.stdout)["ok"] is True, "also as JSON", done.stdout)


def check_refused(admin, guard, check):
    path = "/api/v1/cameras/probe"
    url = f"rtsp://viewer:{SECRET}@127.0.0.1:9/x"

    def reason(sentence, address, wanted):
        found = admin(sentence, 200, "POST", path, {"rtsp_url": address})
        check(not found["ok"] and found["failure"]["reason"] in wanted
              and found["failure"]["message_en"] and found["failure"]["message_ar"],
              f"is {' or '.join(wanted)}", str(found))

    guard("probing is for administrators", 403, "POST", path, {"rtsp_url": url})
    for wrong in ({}, {"rtsp_url": "http://10.0.0.1/"}, {"rtsp_url": 7}, {"rtsp_url": url, "x": 1},
                  {"rtsp_url": "rtsp://10.0.0.1:99999/"}, {"rtsp_url": "rtsp://a\r\nb/"}):
        admin(f"a request of {sorted(wrong)}", 400, "POST", path, wrong)
    reason("a port where nothing is", url, ["REFUSED"])
    for host in ("8.8.8.8", "169.254.169.254", "10.0.0.1", "[::1]", "[::ffff:10.0.0.1]", "0.0.0.0",
                 "2130706434", "0x0a000001"):
        reason(f"{host}", f"rtsp://{host}/x", ["NETWORK", "ADDRESS", "REFUSED"] if host[0] == "2"
               else ["NETWORK", "ADDRESS"])
    reason("a name that is none", "rtsp://no-such-camera.invalid/x", ["ADDRESS", "TIMEOUT"])
    with listener(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as other:
        reason("what is no camera", f"{other}/x", ["PROTOCOL"])
    with listener(None) as mute:
        answers = []

        def ask():
            answers.append(admin.server.ask("POST", path, {"rtsp_url": f"{mute}/x"}, admin.token))

        begun = time.monotonic()
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
        busy = [a for a in answers if a[:2] == (503, "OVERLOADED")]
        late = [a[2]["failure"]["reason"] for a in answers if a[0] == 200]
        check(len(busy) == 2 and late == ["TIMEOUT"] * 4, "four at once are probed, the others wait",
              str(answers)[:300])
        check(took < 30, f"one that says nothing is given up ({took:.0f} s)")
    rows = admin.events("CAMERA_PROBED")
    check(len(rows) > 10 and SECRET not in json.dumps(rows), "each is a row of the audit log")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--marsad", default=os.path.join(ROOT, ".build", "release", "marsad"))
    options = parser.parse_args()
    checks = Checks()
    check = checks.check
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.marsad, folder, None, LOCAL[1])
        try:
            server.add_user("guard", "GUARDS")
            admin, guard = Client(server, check, "admin"), Client(server, check, "guard")
            for part in [lambda: check_found(options.marsad, folder, admin, check),
                         lambda: check_refused(admin, guard, check)]:
                try:
                    part()
                except Exception as error:  # The other parts run all the same.
                    check(False, "a part reaches its end", f"{type(error).__name__}: {error}")
        finally:
            check(server.stop() == 0, "the server ends with status 0")
        with open(os.path.join(folder, "server.err"), "rb") as log:
            check(SECRET.encode() not in log.read(), "no password is in the log")
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
