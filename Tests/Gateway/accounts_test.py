# Accounts as a client meets them: sign-in, who sees which camera, and how fast rights end.
# SPDX-License-Identifier: Apache-2.0
"""Usage: accounts_test.py [--marsad .build/release/marsad]

Starts a server of its own on a free port in a temporary folder; needs nothing but Python. Prints one
line a check and "N passed, N failed"; exits 1 on failure.
"""
import argparse
import base64
import contextlib
import hashlib
import hmac
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from checks import Checks  # noqa: E402
from gateway_test import PATIENCE, ROOT, Connection, error_code  # noqa: E402

SECRET = "a secret of the identity system, shared"
PASSWORD = "nobody would guess this one"
NOBODY = "00000000-0000-4000-8000-00000000dead"
SDP = "application/sdp"


class Server:
    """A server that wants to know who asks, with cameras of two agencies; by default they deliver nothing."""

    def __init__(self, marsad, folder, cameras=None, *settings):
        self.marsad = marsad
        self.settings = [word for setting in settings for word in ("--set", setting)]
        self.data = os.path.join(folder, "data")
        os.makedirs(self.data)
        cameras = cameras or {name: ("rtsp://127.0.0.1:9/x", name) for name in ("METRO", "BUS")}
        self.metro, self.bus = (
            self.command("camera", "add", url, "--name", name, "--source", source).stdout.strip()
            for source, (url, name) in cameras.items())
        # As a version before this one left it.
        os.chmod(self.data, 0o755)
        os.chmod(os.path.join(self.data, "marsad.sqlite"), 0o644)
        self.log = open(os.path.join(folder, "server.err"), "ab")
        self.start()

    def start(self, *settings):
        environment = {**os.environ, "MARSAD_AUTH_INITIAL_ADMIN_PASSWORD": PASSWORD,
                       "MARSAD_AUTH_WEBHOOK_SECRET": SECRET}
        self.process = subprocess.Popen(
            [self.marsad, "serve", "--json", "--http-port", "0", "--data", self.data,
             "--set", "webrtc.port=0", "--set", "auth.required=on",
             "--set", "http.trusted_proxies=127.0.0.0/8",
             "--set", "limits.address_per_second=100000", "--set", "limits.address_burst=100000",
             *self.settings, *settings],
            stdout=subprocess.PIPE, stderr=self.log, env=environment)
        self.port = int(json.loads(self.process.stdout.readline())["url"].rpartition(":")[2])

    def command(self, *arguments, password=None, check=True):
        environment = dict(os.environ)
        if password:
            environment["MARSAD_PASSWORD"] = password
        return subprocess.run([self.marsad, *arguments, "--data", self.data, *self.settings],
                              env=environment, capture_output=True, text=True, check=check, timeout=60)

    def add_user(self, login, agency):
        return self.command("user", "add", login, "--name", login.title(), "--agency", agency,
                            password=PASSWORD).stdout.strip()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def ask(self, method, path, body=None, token=None, **headers):
        """Status, code of the error or None, and the body as JSON or bytes."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            names["Authorization"] = f"Bearer {token}"
        data = b""
        if body is not None:
            names.setdefault("Content-Type", "application/json")
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        connection = Connection(self)
        status, self.headers, answer = connection.request(method, path, names, data)
        connection.socket.close()
        try:
            parsed = json.loads(answer)
        except ValueError:
            parsed = answer
        return status, error_code(answer), parsed

    def sign_in(self, login, password=PASSWORD, address=None):
        headers = {"X_Forwarded_For": address} if address else {}
        return self.ask("POST", "/api/v1/auth/token", {"login_id": login, "password": password},
                        **headers)

    def token(self, login):
        status, _, grant = self.sign_in(login)
        assert status == 200, (login, status, grant)
        return grant["access_token"]


def until(seconds, condition):
    """The seconds until the condition holds; None when it does not in time."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if condition():
            return time.monotonic() - begun
        time.sleep(0.02)
    return None


def refusal(body):
    """An error without what differs in each of them."""
    error = body.get("error", {}) if isinstance(body, dict) else {}
    return {key: value for key, value in error.items() if key != "request_id"}


def reserve(server, camera, token):
    return server.ask("POST", "/api/v1/stream/reserve", {"camera_id": camera}, token)


def check_files(server, check):
    """What is private is its owner's, also where an installation of before was open to others."""
    modes = {name: oct(os.stat(os.path.join(server.data, name)).st_mode & 0o777) for name in (
        ".", "marsad.sqlite", "marsad.sqlite-wal", "marsad.sqlite-shm", "audit-heads.log",
        "audit-signing.key", "instance.key")}
    check(modes.pop(".") == "0o700", "the data folder is its owner's alone")
    check(set(modes.values()) == {"0o600"}, "so are the files that hold what is private", str(modes))


def check_sign_in(server, check):
    status, code, _ = server.ask("GET", "/api/v1/cameras")
    check((status, code) == (401, "MISSING_TOKEN"), "without a token nothing is answered")
    status, code, _ = server.ask("GET", "/api/v1/cameras", token="x.y.z")
    check((status, code) == (401, "INVALID_TOKEN"), "with one that is none neither")
    status, _, grant = server.sign_in("amina")
    check(status == 200 and set(grant) == {"access_token", "expires_in", "refresh_token"}
          and grant["expires_in"] == 900 and server.headers["cache-control"] == "no-store",
          "a user signs in", str(grant))
    token = grant["access_token"]
    status, _, me = server.ask("GET", "/api/v1/iam/me", token=token)
    check(status == 200 and me["user"]["login_id"] == "amina" and me["camera_sources"] == ["METRO"]
          and "camera:METRO:view" in [p["permission"] for p in me["permissions"]],
          "and hears who it is and what it may", str(me))
    for login, password in [("badr", "wrong"), ("no-such-user", PASSWORD)]:
        status, code, body = server.sign_in(login, password)
        check((status, code) == (401, "INVALID_CREDENTIALS"), f"{login} is refused in the same words")
    for body, wanted in [({"login_id": "amina"}, 400), ({"login_id": 1, "password": "x"}, 400),
                         ({"login_id": "amina", "password": "x", "otp": "1"}, 400)]:
        check(server.ask("POST", "/api/v1/auth/token", body)[0] == wanted,
              f"a login of {sorted(body)} is a {wanted}")
    status, _, keys = server.ask("GET", "/.well-known/jwks.json")
    check(status == 200 and [k["alg"] for k in keys["keys"]] == ["RS256"]
          and not {"d", "p", "q"} & set(keys["keys"][0]), "the public keys are published", str(keys))
    answers = [server.sign_in("target", "wrong", "203.0.113.7") for _ in range(12)]
    refused = [answer for answer in answers if answer[0] == 429]
    check(all(answer[0] in (401, 429) for answer in answers) and refused
          and server.headers.get("retry-after"), "who guesses has to wait", str(answers))
    check(until(60, lambda: server.sign_in("target")[0] == 200) is not None,
          "and its owner not for ever")


def check_refresh(server, check):
    _, _, first = server.sign_in("carla")

    def refresh(grant):
        return server.ask("POST", "/api/v1/auth/refresh", {"refresh_token": grant["refresh_token"]})

    status, _, second = refresh(first)
    check(status == 200 and second["refresh_token"] != first["refresh_token"],
          "a refresh token gives a new pair")
    check(server.ask("GET", "/api/v1/iam/me", token=second["access_token"])[0] == 200, "which is good")
    status, code, _ = refresh(first)
    check((status, code) == (401, "SESSION_REVOKED"), "used a second time it ends its session")
    check(refresh(second)[1] == "SESSION_REVOKED", "the other refresh token with it")
    check(server.ask("GET", "/api/v1/iam/me", token=second["access_token"])[1] == "SESSION_REVOKED",
          "and the access token")
    check(refresh({"refresh_token": "0" * 64})[:2] == (401, "INVALID_TOKEN"), "an unknown one is none")
    _, _, one = server.sign_in("carla")
    _, _, two = server.sign_in("carla")
    check(server.ask("POST", "/api/v1/auth/logout", token=one["access_token"])[0] == 204, "logging out: 204")
    check(server.ask("GET", "/api/v1/iam/me", token=one["access_token"])[1] == "SESSION_REVOKED"
          and refresh(one)[1] == "SESSION_REVOKED", "ends that session")
    check(server.ask("GET", "/api/v1/iam/me", token=two["access_token"])[0] == 200, "and no other")


def reads(camera):
    """Every route that reads something of one camera."""
    times = "start_time=2026-01-01T00:00:00Z&end_time=2026-01-01T00:10:00Z"
    base = f"/api/v1/cameras/{camera}"
    yield "GET", base, None
    yield "GET", base + "/snapshot.jpg", None
    yield "GET", f"/api/v1/live/{camera}/clock", None
    yield "GET", f"/api/v1/playback/timeline?camera_id={camera}&{times}", None
    yield "GET", f"/api/v1/playback/thumbnail?camera_id={camera}&at=2026-01-01T00:00:00Z", None
    yield ("POST", "/api/v1/playback/prepare",
           {"camera_id": camera, "start_time": "2026-01-01T00:00:00Z",
            "end_time": "2026-01-01T00:10:00Z"})
    yield "POST", "/api/v1/stream/reserve", {"camera_id": camera}


def check_visibility(server, check):
    token, admin = server.token("amina"), server.token("admin")
    for method, path, body in reads(server.bus):
        status, code, other = server.ask(method, path, body, token)
        _, _, unknown = server.ask(method, path.replace(server.bus, NOBODY),
                                   body and {**body, "camera_id": NOBODY}, token)
        name = f"{method} {path.partition('?')[0].replace(server.bus, 'ID')}"
        check((status, code) == (404, "CAMERA_NOT_FOUND") and refusal(other) == refusal(unknown),
              f"{name}: another agency's camera is none", f"{status} {other} {unknown}")
    for method, path, body in reads(server.metro):
        status, code, _ = server.ask(method, path, body, token)
        check(code != "CAMERA_NOT_FOUND" and status not in (401, 403),
              f"{method} {path.partition('?')[0].replace(server.metro, 'ID')}: one's own is there",
              f"{status} {code}")
    for who, wanted in [(token, {server.metro}), (admin, {server.metro, server.bus})]:
        _, _, cameras = server.ask("GET", "/api/v1/cameras", token=who)
        check({c["id"] for c in cameras["cameras"]} == wanted and cameras["total"] == len(wanted),
              f"a list holds the {len(wanted)} that may be seen", str(cameras)[:200])
    _, _, held = reserve(server, server.bus, admin)
    _, _, stats = server.ask("GET", "/api/v1/stream/stats", token=token)
    check("BUS" not in [s["source"] for s in stats["sources"]], "statistics hold one's own", str(stats))
    status, code, _ = server.ask("POST", f"/api/v1/live/{server.bus}/whep", "v=0", None,
                                 Content_Type=SDP)
    check((status, code) == (401, "MISSING_TOKEN"), "WHEP wants a reservation")
    _, _, own = reserve(server, server.metro, token)
    for camera in (server.bus, NOBODY):
        status, code, _ = server.ask("POST", f"/api/v1/live/{camera}/whep", "v=0", own["token"],
                                     Content_Type=SDP)
        check((status, code) == (404, "CAMERA_NOT_FOUND"), "whose camera must be one's own")
    first, second = (server.ask("GET", f"/api/v1/live/{camera}/whep")[0]
                     for camera in (server.bus, NOBODY))
    check(first == second, "discovery does not say which cameras there are")
    for method, path in [("POST", "heartbeat"), ("DELETE", "release")]:
        status, code, _ = server.ask(
            method, f"/api/v1/stream/{path}/{held['reservation_id']}", token=token)
        check((status, code) == (404, "RESERVATION_NOT_FOUND"), f"{path} of another's reservation: 404")
    check(server.ask("POST", f"/api/v1/stream/heartbeat/{held['reservation_id']}",
                     token=admin)[0] == 200, "which goes on")
    for reservation, who in ((held, admin), (own, token)):
        check(server.ask("DELETE", f"/api/v1/stream/release/{reservation['reservation_id']}",
                         token=who)[0] == 204, "its holder gives it back")


ROUTES = [
    ("GET", "/api/v1/iam/users"), ("POST", "/api/v1/iam/users"), ("GET", "/api/v1/iam/users/{id}"),
    ("PUT", "/api/v1/iam/users/{id}"), ("PATCH", "/api/v1/iam/users/{id}/status"),
    ("POST", "/api/v1/iam/users/{id}/groups"), ("DELETE", "/api/v1/iam/users/{id}/groups/{id}"),
    ("GET", "/api/v1/iam/groups"), ("POST", "/api/v1/iam/groups"),
    ("GET", "/api/v1/iam/groups/{id}"), ("PUT", "/api/v1/iam/groups/{id}"),
    ("DELETE", "/api/v1/iam/groups/{id}"), ("GET", "/api/v1/audit")]


def check_administration(server, check):
    admin, token = server.token("admin"), server.token("amina")
    for method, path in ROUTES:
        path = path.replace("{id}", NOBODY)
        body = None if method in ("GET", "DELETE") else {}
        check(server.ask(method, path, body)[:2] == (401, "MISSING_TOKEN")
              and server.ask(method, path, body, token)[:2] == (403, "FORBIDDEN"),
              f"{method} {path} is for administrators")

    def expect(sentence, status, method, path, body=None):
        got = server.ask(method, path, body, admin)
        check(got[0] == status, f"{sentence}: {status}", str(got))
        return got[2]

    group = expect("a group is made", 201, "POST", "/api/v1/iam/groups", {
        "name": "Gates", "name_arabic": "البوابات", "permissions": [
            {"permission": "playback:BUS:view", "playback_hours": 24},
            {"permission": "camera:BUS:view"}]})
    expect("one of its name is refused", 409, "POST", "/api/v1/iam/groups", {"name": "Gates"})
    for wrong in ({"name": "x", "permissions": [{"permission": "camera:BUS:fly"}]},
                  {"name": "x", "permissions": [{"permission": "camera:*:view", "hours": 1}]},
                  {"name": "x", "permissions": ["camera:*:view"]}, {"nome": "x"},
                  {"name": "x", "permissions": [
                      {"permission": "playback:*:view", "playback_hours": 1e300}]}):
        expect(f"a group of {wrong} is refused", 400, "POST", "/api/v1/iam/groups", wrong)
    user = expect("a user is made", 201, "POST", "/api/v1/iam/users", {
        "login_id": "Dana", "display_name": "Dana", "full_name_arabic": "دانة",
        "password": PASSWORD, "groups": [group["group_id"]],
        "agency": {"code": "METRO", "name": "Metro", "name_arabic": "المترو"}})
    expect("one of its name is refused", 409, "POST", "/api/v1/iam/users", {
        "login_id": "dana", "display_name": "Another"})
    expect("a bad password is refused", 422, "POST", "/api/v1/iam/users", {
        "login_id": "eve", "display_name": "Eve", "password": "short"})
    address = f"/api/v1/iam/users/{user['user_id']}"
    detail = expect("a user is found", 200, "GET", address)
    check("password" not in json.dumps(detail) and len(detail["groups"]) == 2
          and {"permission": "playback:BUS:view", "playback_hours": 24} in detail["permissions"],
          "with what it may", str(detail))
    dana = server.token("dana")
    old = "2026-01-01T00:00:00Z"
    status, code, body = server.ask("POST", "/api/v1/playback/prepare", {
        "camera_id": server.bus, "start_time": old, "end_time": "2026-01-01T00:10:00Z"}, dana)
    check((status, code) == (403, "FORBIDDEN") and "earliest" in body["error"]["details"],
          "what is older than may be played back is a 403 that says since when", str(body))
    status, code, _ = server.ask(
        "GET", f"/api/v1/playback/thumbnail?camera_id={server.bus}&at={old}", token=dana)
    check(status == 403, "a thumbnail of it, too")
    held = reserve(server, server.bus, dana)[2]
    changed = expect("a user is changed", 200, "PUT", address, {
        "display_name": "Dana D.", "agency": {"code": "METRO"}, "email": "dana@metro.example"})
    check(changed["user"]["email"] == "dana@metro.example", "as it was said", str(changed))
    expect("a group is changed", 200, "PUT", f"/api/v1/iam/groups/{group['group_id']}", {
        "name": "Gates", "permissions": [{"permission": "camera:BUS:ptz"}]})
    gone = until(5, lambda: server.ask("GET", f"/api/v1/cameras/{server.bus}/snapshot.jpg",
                                       token=dana)[1] == "SOURCE_FORBIDDEN")
    check(gone is not None and gone < 1.5, "what a group lost its members lose", str(gone))
    status, _, _ = server.ask("POST", f"/api/v1/stream/heartbeat/{held['reservation_id']}", token=dana)
    check(status == 404 and server.ask(
        "POST", f"/api/v1/live/{server.bus}/whep", "v=0", held["token"],
        Content_Type=SDP)[0] == 401, "and do not go on watching")
    expect("a member is taken out", 204, "DELETE", f"{address}/groups/{group['group_id']}")
    expect("and put in", 200, "POST", f"{address}/groups", {"group_id": group["group_id"]})
    expect("an unknown group: 404", 404, "POST", f"{address}/groups", {"group_id": NOBODY})
    expect("a group is deleted", 204, "DELETE", f"/api/v1/iam/groups/{group['group_id']}")
    expect("it is gone", 404, "GET", f"/api/v1/iam/groups/{group['group_id']}")
    found = expect("users are found", 200, "GET", "/api/v1/iam/users?agency=METRO&q=dan&limit=5")
    check([u["login_id"] for u in found["users"]] == ["dana"] and found["total"] == 1,
          "by agency and part of the name", str(found))
    for wrong in ("agncy=METRO", "status=GONE", "limit=0", "limit=%2B5", "limit=5&limit=6", "q="):
        expect(f"users of {wrong}: 400", 400, "GET", "/api/v1/iam/users?" + wrong)
    for path in ("cameras?status=ON", "cameras?source=metro", "iam/me?all=1", "stream/stats?x"):
        expect(f"{path}: 400", 400, "GET", "/api/v1/" + path)
    me = expect("me", 200, "GET", "/api/v1/iam/me")["user"]
    refused = expect("the last administrator stays", 409, "PATCH",
                     f"/api/v1/iam/users/{me['user_id']}/status", {"status": "DISABLED"})["error"]
    check(refused["code"] == "LAST_ADMINISTRATOR" and "left" in refused["message_en"]
          and "صلاحية" in refused["message_ar"], "for a reason that is told", str(refused))
    mine = expect("one's own groups", 200, "GET", f"/api/v1/iam/users/{me['user_id']}")["groups"][0]
    for method, path, body in [
            ("DELETE", f"users/{me['user_id']}/groups/{mine['group_id']}", None),
            ("DELETE", f"groups/{mine['group_id']}", None),
            ("PUT", f"groups/{mine['group_id']}", {"name": "Administrators", "permissions": []})]:
        expect(f"also against {method} of {path.partition('/')[0]}", 409, method,
               f"/api/v1/iam/{path}", body)
    expect("a user is disabled", 200, "PATCH", f"{address}/status", {"status": "DISABLED"})
    expect("an unknown status: 400", 400, "PATCH", f"{address}/status", {"status": "GONE"})
    rows = expect("the audit log is read", 200, "GET", "/api/v1/audit?limit=500")["rows"]
    kinds = [row["event_type"] for row in rows]
    for kind, count in [("GROUP_CREATED", 1), ("USER_UPDATED", 1), ("GROUP_UPDATED", 1),
                        ("GROUP_MEMBER_REMOVED", 1), ("GROUP_MEMBER_ADDED", 1),
                        ("GROUP_DELETED", 1), ("USER_STATUS_CHANGED", 1)]:
        mine = [row for row in rows if row["event_type"] == kind and row["actor_id"] == me["user_id"]]
        check(len(mine) == count and mine[0]["ip_address"] == "127.0.0.1" and mine[0]["request_id"],
              f"{kind}: one row, with who and from where", str(mine))
    made = [row for row in rows if row["event_type"] == "USER_CREATED"
            and row["user_id"] == user["user_id"]]
    check(len(made) == 1, "USER_CREATED: one row", str(made))
    check({"VIEW_STARTED", "VIEW_STOPPED", "ACCESS_DENIED", "LOGIN_SUCCEEDED", "LOGIN_FAILED",
           "LOGOUT", "TOKEN_REUSED"} <= set(kinds), "the rest is there as well", str(set(kinds)))
    numbers = [row["id"] for row in rows]
    check(numbers == sorted(numbers, reverse=True), "newest first")
    page = expect("a page", 200, "GET", f"/api/v1/audit?limit=3&before={numbers[1]}")
    check([row["id"] for row in page["rows"]] == numbers[2:5]
          and page["next_before"] == numbers[4], "goes on where the last one ended", str(page)[:300])
    denied = [row for row in rows if row["event_type"] == "ACCESS_DENIED"]
    check(any(row["details"]["route"].endswith("/iam/users") and row["details"]["code"] == "FORBIDDEN"
              for row in denied), "a denial says which route", str(denied[:2]))
    check(PASSWORD not in json.dumps(rows), "and no password is in it")


def check_cameras(server, check):
    admin, token = server.token("admin"), server.token("amina")
    camera = {"name": "Gate", "name_ar": "بوابة", "source": "METRO",
              "rtsp_url": "rtsp://viewer:CANARY-secret@127.0.0.1:9/gate"}
    for method, path in [("POST", "/api/v1/cameras"), ("PUT", f"/api/v1/cameras/{server.metro}"),
                         ("DELETE", f"/api/v1/cameras/{server.metro}")]:
        check(server.ask(method, path, camera)[0] == 401
              and server.ask(method, path, camera, token)[0] == 403, f"{method} of cameras is for administrators")

    def expect(sentence, status, method, path, body=None):
        got = server.ask(method, path, body, admin)
        check(got[0] == status and b"CANARY" not in json.dumps(got[2], default=str).encode(),
              f"{sentence}: {status}", str(got))
        return got[2]

    made = expect("a camera is added", 201, "POST", "/api/v1/cameras", camera)["camera"]
    for key, value in [("rtsp_url", "http://CANARY@x/"), ("rtsp_url", None), ("source", "metro"),
                       ("name", ""), ("retention_days", 10**19), ("recording", "yes"), ("nam", "x"),
                       ("recording", 0), ("retention_days", True), ("name", "a\0b"),
                       ("name", "e" + "\u0301" * 300)]:
        expect(f"{key} of {value!r:.30}", 400, "POST", "/api/v1/cameras", {**camera, key: value})
    address = f"/api/v1/cameras/{made['id']}"
    seen = expect("it is there", 200, "GET", address)
    check(seen["rtsp_url"] == "rtsp://127.0.0.1:9/gate", "its address is without its password", str(seen))
    own = server.ask("GET", address, token=token)[2]
    check("rtsp_url" not in own, "and only an administrator's to read")
    expect("a group of cameras is added", 201, "POST", "/api/v1/folders", {
        "source": "METRO", "folder_id": "gates", "name": "Gates"})
    changed = expect("it is changed", 200, "PUT", address, {
        "name": "New gate", "source": "METRO", "folder_id": "gates", "retention_days": 7})
    check((changed["name"], changed["folder_id"]) == ("New gate", "gates"), "as it was said", str(changed))
    check(expect("its address", 200, "GET", address)["rtsp_url"] == seen["rtsp_url"], "which stays")
    expect("it is moved", 200, "PUT", address, {"name": "Gate", "source": "BUS"})
    check(server.ask("GET", address, token=token)[0] == 404, "another agency's camera is not seen any more")
    whip = expect("a camera that publishes is added", 201, "POST", "/api/v1/cameras", {
        "name": "Drone", "source": "BUS", "origin": "WHIP"})
    check(len(whip["token"]) == 48 and whip["whip_url"].endswith("/whip"), "with its token", str(whip))
    expect("it is removed", 204, "DELETE", address)
    expect("twice: 404", 404, "DELETE", address)
    rows = server.ask("GET", "/api/v1/audit?limit=500", token=admin)[2]["rows"]
    mine = [row["event_type"] for row in rows if row["details"].get("camera_id") == made["id"]
            and row["event_type"].startswith("CAMERA_")]
    check(mine == ["CAMERA_DELETED", "CAMERA_UPDATED", "CAMERA_UPDATED", "CAMERA_CREATED"],
          "each change is one row of the audit log", str(mine))


def check_disabled(server, check):
    """Everything that a user holds ends within a second, whoever ended it."""
    for how in ("command", "administrator"):
        login = f"leaver-{how}"
        identity = server.add_user(login, "METRO")
        _, _, grant = server.sign_in(login)
        token = grant["access_token"]
        held = reserve(server, server.metro, token)[2]
        _, _, ticket = server.ask("POST", "/api/v1/ws/ticket", {}, token)
        socket, shown = Connection(server), f"marsad, ticket.{ticket['ticket']}"
        check(socket.upgrade(Sec_WebSocket_Protocol=shown)[0] == 101, "a socket is open")
        _, _, unused = server.ask("POST", "/api/v1/ws/ticket", {}, token)
        other, bearer = Connection(server), server.token("amina")
        check(other.upgrade(Sec_WebSocket_Protocol=f"marsad, bearer.{bearer}")[0] == 101,
              "another user's, by its token")
        if how == "command":
            server.command("user", "disable", login)
        else:
            server.ask("PATCH", f"/api/v1/iam/users/{identity}/status", {"status": "DISABLED"},
                       server.token("admin"))
        begun = time.monotonic()
        closed = socket.close_code()
        took = time.monotonic() - begun
        check(closed == 4401 and took < 1, f"disabled by {how}: the socket hears 4401 within a second",
              f"{closed} {took:.2f}")

        def is_dead():
            return server.ask("POST", f"/api/v1/live/{server.metro}/whep", "v=0", held["token"],
                              Content_Type=SDP)[1] == "TOKEN_EXPIRED"

        dead = until(1, is_dead)
        check(dead is not None, "the reservation is dead", str(dead))
        check(server.ask("GET", "/api/v1/cameras", token=token)[0] in (401, 403), "the access token")
        status, _, _ = server.ask(
            "POST", "/api/v1/auth/refresh", {"refresh_token": grant["refresh_token"]})
        check(status in (401, 403), "the refresh token")
        late = Connection(server)
        check(late.upgrade(Sec_WebSocket_Protocol=f"marsad, ticket.{unused['ticket']}")[0] == 401,
              "the ticket that was not used")
        check(server.sign_in(login)[:2] == (403, "USER_DISABLED"), "and the password")
        other.subscribe("quota")
        check(other.message()["type"] == "SNAPSHOT", "the other user's socket goes on")
        other.socket.close()
        admin, question = server.token("admin"), f"user_id={identity}&event_type=VIEW_STOPPED"

        def reasons():
            rows = server.ask("GET", f"/api/v1/audit?{question}", token=admin)[2]["rows"]
            return [row["details"]["reason"] for row in rows]

        check(until(2, lambda: reasons() == ["REVOKED"]) is not None, "the audit log says why",
              str(reasons()))


def check_changed_elsewhere(server, check):
    """Rights that another process takes away end what was opened with them."""
    identity = server.add_user("moved", "METRO")
    token = server.token("moved")
    held = reserve(server, server.metro, token)[2]
    socket = Connection(server)
    check(socket.upgrade(Sec_WebSocket_Protocol=f"marsad, bearer.{token}")[0] == 101, "a socket is open")
    # At least one look at rights that are as they were.
    time.sleep(6)

    def code():
        return server.ask("POST", f"/api/v1/live/{server.metro}/whep", "v=0", held["token"],
                          Content_Type=SDP)[1]

    check(code() != "TOKEN_EXPIRED", "whoever keeps his rights keeps what he holds", str(code()))
    with contextlib.closing(sqlite3.connect(os.path.join(server.data, "marsad.sqlite"))) as database:
        database.execute("DELETE FROM user_groups WHERE user_id = ?", [identity])
        database.commit()
    check(until(15, lambda: code() == "TOKEN_EXPIRED") is not None,
          "the reservation ends without being asked for", str(code()))
    check(socket.close_code() == 1012, "and the socket is told to come back")
    # What this process takes away ends at once; the look at what others did finds nothing then.
    admin, token = server.token("admin"), server.token("moved")
    socket = Connection(server)
    socket.upgrade(Sec_WebSocket_Protocol=f"marsad, bearer.{token}")
    _, _, group = server.ask("POST", "/api/v1/iam/groups", {
        "name": "Movers", "permissions": [{"permission": "camera:METRO:view"}]}, admin)
    server.ask("POST", f"/api/v1/iam/users/{identity}/groups", {"group_id": group["group_id"]}, admin)
    check(socket.close_code() == 1012, "a right given here is told to the socket as well")
    socket = Connection(server)
    socket.upgrade(Sec_WebSocket_Protocol=f"marsad, bearer.{token}")
    time.sleep(6)
    socket.subscribe("quota")
    check(socket.message()["type"] == "SNAPSHOT", "and told once: the next one stays open")


def check_flood(server, check):
    """Strangers do not fill the audit log, and what they did is not hidden either."""
    admin = server.token("admin")

    def refused():
        server.ask("GET", "/api/v1/cameras", X_Forwarded_For="203.0.113.9")

    def rows():
        found = server.ask("GET", "/api/v1/audit?event_type=ACCESS_DENIED&limit=500", token=admin)[2]
        return [row for row in found["rows"] if row["ip_address"] == "203.0.113.9"]

    begun = time.monotonic()
    for _ in range(300):
        refused()
    most = 25 + 2 * (time.monotonic() - begun)
    until(5, rows)
    check(0 < len(rows()) < most, "300 refusals of one address are few rows", str(len(rows())))

    def told():
        refused()
        return sum(int(row["details"].get("untold_before", 0)) for row in rows()) > 200

    check(until(5, told) is not None, "and the next row says how many were not written", str(rows()[:1]))


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """An identity provider with one key: tokens as it signs them, and the file of its keys."""

    ISSUER = "https://login.example"

    def __init__(self, folder, name="one"):
        self.name = name
        self.key, self.keys = os.path.join(folder, f"{name}.pem"), os.path.join(folder, f"{name}.json")
        subprocess.run(["openssl", "genrsa", "-out", self.key, "2048"], check=True, capture_output=True)
        told = subprocess.run(["openssl", "rsa", "-in", self.key, "-noout", "-modulus"], check=True,
                              capture_output=True, text=True).stdout
        modulus = bytes.fromhex(told.strip().partition("=")[2])
        self.set = {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": name,
                              "n": base64url(modulus), "e": "AQAB"}]}
        with open(self.keys, "w") as file:
            json.dump(self.set, file)

    def token(self, login, **claims):
        now = int(time.time())
        told = {"iss": self.ISSUER, "aud": "marsad", "sub": f"provider-{login}", "login_id": login,
                "iat": now, "nbf": now, "exp": now + 300, **claims}
        parts = [base64url(json.dumps(part).encode())
                 for part in ({"alg": "RS256", "typ": "JWT", "kid": self.name}, told)]
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key],
                                   input=".".join(parts).encode(), capture_output=True, check=True)
        return ".".join([*parts, base64url(signature.stdout)])


def check_provider(marsad, folder, check):
    """People who sign in somewhere else, by that place's tokens."""
    own = os.path.join(folder, "provider")
    os.makedirs(own)
    provider = Provider(own)
    server = Server(marsad, own, None, f"auth.provider_issuer={provider.ISSUER}",
                    f"auth.provider_keys={provider.keys}")
    try:
        server.command("user", "add", "guest", "--name", "Guest", "--agency", "METRO", "--external")
        server.add_user("local", "METRO")
        status, _, me = server.ask("GET", "/api/v1/iam/me", token=provider.token("guest"))
        check(status == 200 and me["user"]["login_id"] == "guest" and me["camera_sources"] == ["METRO"],
              "a provider's token is believed", str(me))
        now = int(time.time())
        for why, token, wanted in [
                ("for somebody else", provider.token("guest", aud="other"), "INVALID_TOKEN"),
                ("of another provider", provider.token("guest", iss="https://x.example"), "INVALID_TOKEN"),
                ("that has ended", provider.token("guest", exp=now - 60), "TOKEN_EXPIRED"),
                ("for a local account", provider.token("local"), "INVALID_TOKEN"),
                ("for nobody known", provider.token("stranger"), "INVALID_TOKEN"),
                ("with another signature", provider.token("guest")[:-8] + "AAAAAAAA", "INVALID_TOKEN")]:
            status, code, _ = server.ask("GET", "/api/v1/iam/me", token=token)
            check((status, code) == (401, wanted), f"one {why} is not: {wanted}", f"{status} {code}")
        server.command("user", "disable", "guest")
        refused = until(2, lambda: server.ask("GET", "/api/v1/iam/me", token=provider.token("guest"))[0]
                        in (401, 403))
        check(refused is not None, "nor that of a disabled user")
    finally:
        server.stop()


def check_webhook(server, check):
    def send(event, secret=SECRET, stamp=None):
        body = json.dumps(event)
        stamp = stamp or str(int(time.time()))
        signature = hmac.new(secret.encode(), f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()
        return server.ask("POST", "/webhook/iam", body, None, X_IAM_Signature=signature,
                          X_IAM_Timestamp=stamp)

    created = {"event_id": "1", "event_type": "USER_CREATED", "data": {
        "login_id": "fatima", "display_name": "Fatima", "agency": {"code": "METRO"}}}
    check(send(created)[2] == {"applied": True}, "an event makes a user")
    check(send(created)[2] == {"applied": False}, "once")
    check(send({**created, "event_id": "2"}, secret="another secret, of as many bytes as ours")[:2]
          == (401, "INVALID_SIGNATURE"), "another's signature is refused")
    check(send(created, stamp=str(int(time.time()) - 600))[0] == 401, "an old event, too")
    check(server.ask("POST", "/webhook/iam", created)[0] == 401, "and one without a signature")
    for number, event in enumerate([
            {"event_type": "GROUP_CHANGED", "data": {"login_id": "admin", "groups": []}},
            {"event_type": "USER_DISABLED", "data": {"login_id": "admin"}}]):
        check(send({"event_id": f"last {number}", **event})[:2] == (409, "LAST_ADMINISTRATOR"),
              f"{event['event_type']} of the last administrator is refused")
    gone = {"event_id": "3", "event_type": "USER_DISABLED", "data": {"login_id": "fatima"}}
    check(send(gone)[2] == {"applied": True}, "an event disables a user")
    found = server.ask("GET", "/api/v1/iam/users?q=fatima", token=server.token("admin"))[2]
    check([(u["status"], u["origin"]) for u in found["users"]] == [("DISABLED", "EXTERNAL")],
          "which is there, and disabled", str(found))


def check_configuration(marsad, folder, check):
    def run(*settings):
        arguments = [marsad, "serve", "--print-config", "--data", os.path.join(folder, "none")]
        for setting in settings:
            arguments += ["--set", setting]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=30)

    check("auth.required: off  # default" in run().stdout, "on the loopback address nobody must sign in")
    check("auth.required: on  # default" in run("http.host=0.0.0.0").stdout, "on any other everybody")
    refused = run("http.host=0.0.0.0", "auth.required=off")
    check(refused.returncode == 2 and "auth.required" in refused.stderr, "which cannot be turned off",
          refused.stderr)
    check("auth.webhook_secret: •••" in run(f"auth.webhook_secret={SECRET}").stdout,
          "a secret is not printed")
    decided = subprocess.run(
        [marsad, "bench", "decisions", "--cameras", "50", "--roles", "8", "--rounds", "1"],
        capture_output=True, text=True, timeout=60)
    check(decided.returncode == 0 and json.loads(decided.stdout)["decisions"] == 400,
          "decisions can be timed", decided.stdout + decided.stderr)
    nowhere = os.path.join(folder, "none")
    asked = subprocess.run([marsad, "migrate", "--check", "--data", nowhere], capture_output=True,
                           text=True, timeout=30)
    check(asked.returncode == 3 and not os.path.exists(nowhere),
          "asking whether migrations are due makes nothing", asked.stderr)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--marsad", default=os.path.join(ROOT, ".build", "release", "marsad"))
    options = parser.parse_args()
    checks = Checks()
    check = checks.check
    with tempfile.TemporaryDirectory() as folder:
        check_configuration(options.marsad, folder, check)
        check_provider(options.marsad, folder, check)
        server = Server(options.marsad, folder)
        try:
            for login in ("amina", "badr", "carla", "target"):
                server.add_user(login, "METRO")
            for part in [check_files, check_sign_in, check_refresh, check_visibility, check_administration,
                         check_cameras, check_disabled, check_changed_elsewhere,
                         check_webhook, check_flood]:
                try:
                    part(server, check)
                except Exception as error:  # The other parts run all the same.
                    check(False, f"{part.__name__} reaches its end", f"{type(error).__name__}: {error}")
        finally:
            check(server.stop() == 0, "the server ends with status 0")
        verified = server.command("audit", "verify", check=False)
        check(verified.returncode == 0, "the audit log is whole", verified.stdout + verified.stderr)
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
