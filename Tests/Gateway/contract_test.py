# Whether the running server keeps to the document that it answers.
# SPDX-License-Identifier: Apache-2.0
"""Usage: contract_test.py [--marsad .build/release/marsad]

Starts simulated cameras and a server of two agencies on free ports in a temporary folder. Needs the
packages of requirements.txt. MARSAD_CONTRACT_EXAMPLES says how many requests are made up for each
operation (12 by default), MARSAD_CONTRACT_SEED which ones, MARSAD_TEST_DATABASE_URL in which database
the server keeps what it knows. Prints one line a check and "N passed, N failed"; exits 1 on failure.
"""
import contextlib
import json
import os
import random
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))
from agencies import AgencyServer, document, simulated_cameras  # noqa: E402
from checks import run  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.environ.get("MARSAD_CONTRACT_EXAMPLES", "12")
SEED = os.environ.get("MARSAD_CONTRACT_SEED") or str(random.randrange(10**6))


def validate(server, folder, check):
    from openapi_spec_validator import OpenAPIV31SpecValidator
    told = document(server)
    errors = [error.message for error in OpenAPIV31SpecValidator(told).iter_errors()]
    check(not errors, "the document is valid OpenAPI 3.1", str(errors[:3]))
    printed = subprocess.run([server.marsad, "openapi"], capture_output=True, check=True).stdout
    check(json.loads(printed) == told, "`marsad openapi` prints the same one")


def explore(server, check, who, tokens, folder, *arguments, cameras=None):
    """Schemathesis, all checks: by somebody's tokens, each of its security scheme, or without any.

    `cameras`: which camera is asked about, by a part of the path.
    """
    environment = {**os.environ, "PYTHONPATH": HERE, "SCHEMATHESIS_HOOKS": "contract_hooks",
                   "PYTHONDONTWRITEBYTECODE": "1"}
    configuration = os.path.join(folder, "schemathesis.toml")
    with open(os.path.join(HERE, "contract.toml")) as common, open(configuration, "w") as own:
        own.write(common.read())
        for scheme, token in tokens.items():
            environment[f"MARSAD_{scheme.upper()}"] = token
            own.write(f'\n[auth.openapi.{scheme}]\nbearer = "${{MARSAD_{scheme.upper()}}}"\n')
        for part, camera in (cameras or {}).items():
            own.write(f'\n[[operations]]\ninclude-path-regex = "{part}"\n'
                      f'parameters = {{ "path.id" = "{camera}" }}\n')
    command = [
        os.path.join(os.path.dirname(sys.executable), "schemathesis"), "--config-file", configuration,
        "run", f"http://127.0.0.1:{server.port}/openapi.json", "--checks", "all", "--seed", SEED,
        "--max-examples", EXAMPLES, "--generation-database", "none", "--warnings", "off", "--no-color",
        "--continue-on-failure", *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    summary = [line for line in done.stdout.splitlines() if "generated" in line]
    if done.returncode:
        told = "\n".join(line[:600] for line in done.stdout.splitlines())
        print(told[-20_000:], done.stderr[-2000:], flush=True)
    check(done.returncode == 0, f"{who}: no answer differs from the document (seed {SEED})",
          f"exit status {done.returncode}")
    print("    ", *summary, flush=True)


@contextlib.contextmanager
def seat(server, token):
    """A reservation that is kept, and a camera that publishes: their tokens, and their cameras."""
    held = server.ask("POST", "/api/v1/stream/reserve", {"camera_id": server.metro}, token)[2]
    made = server.ask("POST", "/api/v1/cameras", {
        "name": "Drone", "source": "METRO", "origin": "WHIP"}, token)[2]
    ended = threading.Event()

    def keep():
        while not ended.wait(5):
            server.ask("POST", f"/api/v1/stream/heartbeat/{held['reservation_id']}", token=token)

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield ({"bearer": token, "reservation": held["token"], "publishing": made["token"]},
               {"/live/": server.metro, "/ingest/": made["camera"]["id"]})
    finally:
        ended.set()
        keeper.join()


def check_all(marsad, folder, check):
    with simulated_cameras(marsad, folder, 2) as rtsp:
        server = AgencyServer(marsad, folder, rtsp)
        try:
            check(server.wait_for_pictures(), "both cameras deliver")
            validate(server, folder, check)
            # Before made-up passwords let everybody at this address wait; and long enough for a long run.
            admin, operator = (
                server.command("token", "issue", "--user", login, "--ttl", "8h").stdout.strip()
                for login in ("admin", "amina"))
            leaver = server.token("basma")
            leave = ["--exclude-operation-id", "sign_out"]
            explore(server, check, "nobody", {}, folder)
            explore(server, check, "an operator", {"bearer": operator}, folder, *leave)
            with seat(server, admin) as (tokens, cameras):
                explore(server, check, "who watches and who publishes", tokens, folder,
                        "--include-path-regex", "/(live|ingest)/", cameras=cameras)
            # Last of those: it removes what it finds.
            explore(server, check, "an administrator", {"bearer": admin}, folder, *leave)
            explore(server, check, "who signs out", {"bearer": leaver}, folder,
                    "--include-operation-id", "sign_out")
            check(server.ask("GET", "/health")[0] == 200, "the server is still there")
        finally:
            status = server.stop()
        check(status == 0, "it ends with status 0", str(status))


if __name__ == "__main__":
    run("contract", check_all)
