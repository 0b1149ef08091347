# A server of two agencies: cameras that deliver, and people with each kind of right.
# SPDX-License-Identifier: Apache-2.0
"""Shared by the tests that ask who may do and see what."""
import contextlib
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from accounts_test import NOBODY, PASSWORD, Server, until  # noqa: E402,F401

# An expired token is taken for this long (the contract's leeway), and a little more.
LEEWAY = 35
# Which database: the server's own file where this is not given.
DATABASE = os.environ.get("MARSAD_TEST_DATABASE_URL")


@contextlib.contextmanager
def simulated_cameras(marsad, folder, count):
    """RTSP cameras of our own; the address before `/camera_N`."""
    scenes, log = os.path.join(folder, "scenes"), os.path.join(folder, "cameras.err")
    with open(log, "ab") as errors:
        process = subprocess.Popen(
            [marsad, "simulate", "cameras", "--count", str(count), "--rtsp-port", "0", "--size",
             "320x180", "--bitrate", "300k", "--scenes", scenes, "--json"],
            stdout=subprocess.PIPE, stderr=errors)
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class AgencyServer(Server):
    """`metro` and `bus` deliver; `amina` operates METRO's, `basma` BUS's, `vera` only sees METRO's live."""

    # Words that occur in the other agency's cameras and nowhere else.
    CANARY = {"METRO": "Heron Gate", "BUS": "Falcon Depot"}

    def __init__(self, marsad, folder, rtsp):
        self.rtsp = rtsp
        super().__init__(marsad, folder, {
            source: (f"{rtsp}/camera_{index + 1}", self.CANARY[source])
            for index, source in enumerate(("METRO", "BUS"))},
            "ingest.camera_networks=127.0.0.0/8", "limits.requests_per_minute=1000000",
            *([f"database.url={DATABASE}"] if DATABASE else []))
        self.identities = {login: self.add_user(login, agency) for login, agency in [
            ("amina", "METRO"), ("basma", "BUS"), ("leaver", "METRO"), ("vera", "CONTROL")]}
        admin = self.token("admin")
        groups = f"/api/v1/iam/users/{self.identities['vera']}/groups"
        for group in self.ask("GET", groups.rpartition("/")[0], token=admin)[2]["groups"]:
            self.ask("DELETE", f"{groups}/{group['group_id']}", token=admin)
        _, _, group = self.ask("POST", "/api/v1/iam/groups", {
            "name": "Viewers", "permissions": [{"permission": "camera:METRO:view"}]}, admin)
        self.ask("POST", groups, {"group_id": group["group_id"]}, admin)

    def wait_for_pictures(self):
        """Until both cameras deliver and have recorded something."""
        admin = self.token("admin")

        def deliver():
            cameras = self.ask("GET", "/api/v1/cameras", token=admin)[2]["cameras"]
            return all(camera["status"] == "ONLINE" for camera in cameras) and all(
                self.ask("GET", f"/api/v1/cameras/{camera['id']}/snapshot.jpg", token=admin)[0] == 200
                for camera in cameras)

        return until(60, deliver) is not None

    def people(self):
        """A token for each kind of caller; those of who may not come any more once were good."""
        tokens = {"anonymous": None, "viewer": self.token("vera"), "operator": self.token("amina"),
                  "other agency": self.token("basma"), "administrator": self.token("admin"),
                  "disabled": self.token("leaver")}
        issued = self.command("token", "issue", "--user", "amina", "--ttl", "1s").stdout.strip()
        self.ask("PATCH", f"/api/v1/iam/users/{self.identities['leaver']}/status",
                 {"status": "DISABLED"}, tokens["administrator"])

        def is_expired():
            return self.ask("GET", "/api/v1/iam/me", token=issued)[1] == "TOKEN_EXPIRED"

        assert until(LEEWAY, is_expired) is not None, "a token of one second does not end"
        return {**tokens, "expired": issued}


def document(server):
    status, _, document = server.ask("GET", "/openapi.json")
    assert status == 200, status
    return document


def operations(document):
    """Method, path, operation, of everything that is described."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def example(document, schema):
    """A value of a schema, from what it says itself."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return example(document, document["components"]["schemas"][name])
    for key in ("examples", "enum"):
        if key in schema:
            return schema[key][0]
    if "default" in schema:
        return schema["default"]
    kind = schema.get("type")
    if kind == "object":
        return {key: example(document, schema["properties"][key]) for key in schema.get("required", [])}
    return {"array": [], "integer": schema.get("minimum", 1), "number": 1, "boolean": True}.get(
        kind, "x" * max(1, schema.get("minLength", 1)))


def request_for(document, method, path, operation, camera, session="none"):
    """Path with query, body and headers of a well-formed request about a camera."""
    query = []
    for parameter in operation.get("parameters", []):
        name, value = parameter["name"], example(document, parameter["schema"])
        if parameter["in"] == "path":
            is_camera = name == "id" and any(
                part in path for part in ("/cameras/{id}", "/live/{id}", "/ingest/{id}"))
            value = camera if is_camera else NOBODY if name in ("id", "group") else session
            path = path.replace("{" + name + "}", value)
        elif parameter["in"] == "query" and parameter["required"]:
            query.append(f"{name}={camera if name == 'camera_id' else value}")
    headers, body = {}, None
    content = operation.get("requestBody", {}).get("content", {})
    for kind, media in content.items():
        headers["Content_Type"] = kind
        body = example(document, media["schema"])
        if isinstance(body, dict) and "camera_id" in body:
            body["camera_id"] = camera
    for start, end in [("start_time", "end_time")]:
        if isinstance(body, dict) and end in body:
            body[end] = body[start].replace("T08", "T09")
    return path + ("?" + "&".join(query) if query else ""), body, headers

