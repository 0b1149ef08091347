# Secrets that must appear nowhere: planted wherever a secret goes in, looked for wherever text comes out.
# SPDX-License-Identifier: Apache-2.0
"""Usage: canary_test.py [--marsad .build/release/marsad] [--seed N]

Starts a server of its own at the most talkative log level in a temporary folder, with a camera, a Valkey
and a PostgreSQL that refuse it; needs nothing but Python. Prints one line a check and "N passed, N failed"; exits
1 on failure.
"""
import argparse
import base64
import binascii
import html
import json
import os
import random
import re
import signal
import socket
import string
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.parse

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from accounts_test import Server as AccountsServer  # noqa: E402
from accounts_test import until  # noqa: E402
from checks import Checks  # noqa: E402
from gateway_test import ROOT, Connection  # noqa: E402

# Every symbol of ASCII that is printed, in an order of its own for each secret: so a piece says whose
# it is, and is nothing that stands anywhere else.
SYMBOLS = string.ascii_letters + string.digits + string.punctuation
PIECE = 8
ROLES = ["administrator", "user", "new user", "wrong password", "camera", "new camera", "bad camera",
         "webhook", "welcome", "TURN", "Valkey", "bearer", "link", "command", "PostgreSQL"]


def canaries(seed):
    randomness = random.Random(seed)
    return {role: "".join(randomness.sample(SYMBOLS, len(SYMBOLS))) for role in ROLES}


def readings(text):
    """The text, and what it says when its escapes are undone."""
    yield text
    yield urllib.parse.unquote(text)
    yield urllib.parse.unquote_plus(text)
    yield html.unescape(text)
    yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), text)
    yield re.sub(r"\\u\{([0-9a-fA-F]{1,6})\}", lambda m: chr(int(m[1], 16)), text)
    yield re.sub(r"\\(.)", r"\1", text)
    decoded = []
    for token in re.findall(r"[A-Za-z0-9+/_-]{16,}={0,2}", text):
        plain = token.rstrip("=").replace("-", "+").replace("_", "/")
        # Base64 of a part does not begin where a group of four does.
        for start in range(4):
            part = plain[start:]
            decoded.append(base64.b64decode(part[:len(part) // 4 * 4]).decode("latin-1"))
    for token in re.findall(r"(?:[0-9a-fA-F]{2}){8,}", text):
        decoded.append(binascii.unhexlify(token).decode("latin-1"))
    yield "\n".join(decoded)


class Search:
    """Where text comes out."""

    def __init__(self, secrets):
        self.pieces = {secret[i:i + PIECE]: role for role, secret in secrets.items()
                       for i in range(len(secret) - PIECE + 1)}
        self.found = {}
        self.places = {}

    def look(self, place, text):
        if isinstance(text, bytes):
            text = text.decode("latin-1")
        self.places[place] = self.places.get(place, 0) + len(text)
        for reading in readings(text):
            windows = {reading[i:i + PIECE] for i in range(len(reading) - PIECE + 1)}
            for piece in windows & self.pieces.keys():
                around = reading.find(piece)
                self.found.setdefault(f"{place}: {self.pieces[piece]}",
                                      reading[max(0, around - 120):around + 40])


class Peer(threading.Thread):
    """Listens, and answers each message that has come whole: `answer` gives what to say to the first one
    in a buffer, and the rest of the buffer; or nothing yet."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.answer, self.heard = self.listener.getsockname()[1], answer, b""
        self.start()

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        buffer = b""
        try:
            while data := connection.recv(65536):
                buffer, self.heard = buffer + data, self.heard + data
                while answered := self.answer(buffer):
                    said, buffer = answered
                    connection.sendall(said)
        except OSError:
            pass
        connection.close()


def refusing_valkey(buffer):
    _, found, rest = buffer.partition(b"\n")
    return (b"-WRONGPASS invalid username-password pair\r\n", rest) if found else None


def refusing_postgresql(buffer):
    """Without TLS, so that the password is sent as it is; says back what it was told."""
    start = 1 if buffer.startswith(b"p") else 0
    length = start + int.from_bytes(buffer[start:start + 4], "big")
    if len(buffer) < max(length, start + 4):
        return None
    message, rest = buffer[start + 4:length], buffer[length:]
    if start:
        fields = b"SFATAL\0C28P01\0Mno entry for " + message + b"\0"
        return b"E" + struct.pack(">I", len(fields) + 4) + fields, rest
    wants_encryption = message[:4] in (struct.pack(">I", 80877103), struct.pack(">I", 80877104))
    return (b"N" if wants_encryption else b"R" + struct.pack(">II", 8, 3)), rest


def refusing_camera(buffer):
    """Wants Basic, so that the password is sent, and says back what it was told."""
    message, found, rest = buffer.partition(b"\r\n\r\n")
    if not found:
        return None
    number = re.search(rb"CSeq: *(\d+)", message)
    head = b"RTSP/1.0 401 Unauthorized\r\nCSeq: " + (number[1] if number else b"1")
    told = re.search(rb"Authorization: *([^\r\n]*)", message)
    if told:
        head = head.replace(b"Unauthorized", b"Not " + told[1])
    return head + b"\r\nWWW-Authenticate: Basic realm=\"camera\"\r\n\r\n", rest


class Server(AccountsServer):
    def __init__(self, marsad, folder, secrets):
        self.marsad, self.secrets = marsad, secrets
        self.data = os.path.join(folder, "data")
        self.camera_peer = Peer(refusing_camera)
        self.valkey, self.postgresql = Peer(refusing_valkey), Peer(refusing_postgresql)
        quoted = urllib.parse.quote(secrets["Valkey"], safe="")
        self.environment = {
            **os.environ, "MARSAD_AUTH_INITIAL_ADMIN_PASSWORD": secrets["administrator"],
            "MARSAD_AUTH_WEBHOOK_SECRET": secrets["webhook"],
            # Nobody is there: each notice fails, and says so.
            "MARSAD_AUTH_WELCOME_URL": "https://127.0.0.1:9/welcome",
            "MARSAD_AUTH_WELCOME_SECRET": secrets["welcome"],
            "MARSAD_WEBRTC_TURN_SECRET": secrets["TURN"],
            "MARSAD_VALKEY_URL": f"redis://:{quoted}@127.0.0.1:{self.valkey.port}",
            "MARSAD_LOG_LEVEL": "trace"}
        os.makedirs(self.data)
        self.log = open(os.path.join(folder, "server.err"), "ab")
        # A core would hold all of them: the program must not leave one.
        self.process = subprocess.Popen(
            ["bash", "-c", 'ulimit -c unlimited; exec "$@"', "_", os.path.abspath(marsad), "serve",
             "--json", "--http-port", "0", "--data", self.data, "--set", "webrtc.port=0",
             "--set", "auth.required=on", "--set", "webrtc.turn_urls=turn:127.0.0.1:3478",
             "--set", "ingest.camera_networks=127.0.0.0/8",
             "--set", "limits.address_per_second=100000", "--set", "limits.address_burst=100000"],
            stdout=subprocess.PIPE, stderr=self.log, env=self.environment, cwd=folder)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(open(self.log.name).read()[-500:])
        self.port = int(json.loads(line)["url"].rpartition(":")[2])

    def run(self, search, *arguments, **environment):
        """A command, with all that it says looked through."""
        done = subprocess.run([self.marsad, *arguments], capture_output=True, text=True, timeout=60,
                              env={**self.environment, **environment})
        search.look("marsad " + " ".join(arguments[:2]), done.stdout + done.stderr)
        return done

    def told(self, search, method, path, body=None, token=None, **headers):
        """An answer, looked through with its head."""
        got = self.ask(method, path, body, token, **headers)
        answer = got[2] if isinstance(got[2], bytes) else json.dumps(got[2]).encode()
        place = f"{method} {path.partition('?')[0][:60]}" if path.isascii() else method
        search.look("answer to " + place, answer + json.dumps(self.headers).encode())
        return got


def address_of(server, secret, name="gate", user="viewer"):
    quoted = urllib.parse.quote(secret, safe="")
    return f"rtsp://{user}:{quoted}@127.0.0.1:{server.camera_peer.port}/{name}"


def drive_people(server, search, secrets, check):
    """Signing in and out, and all that is refused on the way."""
    def login(login_id, password, **more):
        return server.told(search, "POST", "/api/v1/auth/token",
                           {"login_id": login_id, "password": password, **more})

    status, _, grant = login("admin", secrets["administrator"])
    check(status == 200, "a password of every symbol signs in", str(grant)[:200])
    admin = grant["access_token"]
    check(server.told(search, "POST", "/api/v1/iam/users", {
        "login_id": "amina", "display_name": "Amina", "password": secrets["user"],
        "agency": {"code": "METRO"}}, admin)[0] == 201, "and is taken for another user")
    check(login("amina", secrets["user"])[0] == 200, "who signs in with it")
    wrong = secrets["wrong password"]
    for login_id, password, more in [
            ("admin", wrong, {}), (wrong, wrong, {}), (wrong, "x", {}), ("admin", wrong, {wrong: 1}),
            ("admin", [wrong], {}), ("admin", {wrong: wrong}, {}), (1, wrong, {}),
            ("admin", wrong * 2, {})]:
        login(login_id, password, **more)
    for body in ('{"login_id": "admin", "password": ' + json.dumps(wrong), json.dumps(wrong),
                 json.dumps([wrong]), wrong):
        server.told(search, "POST", "/api/v1/auth/token", body)
        server.told(search, "POST", "/api/v1/auth/refresh", body)
    server.told(search, "POST", "/api/v1/auth/refresh", {"refresh_token": secrets["bearer"]})
    for body in ({"login_id": "eve", "display_name": "Eve", "password": secrets["new user"][:11]},
                 {"login_id": "eve", "display_name": "Eve", "pasword": secrets["new user"]},
                 {"login_id": "amina", "display_name": "Eve", "password": secrets["new user"]},
                 {"login_id": "e", "display_name": "Eve", "password": [secrets["new user"]]},
                 {"login_id": "eve", "display_name": "Eve", "password": secrets["new user"],
                  "agency": {"code": "METRO"}}):
        server.told(search, "POST", "/api/v1/iam/users", body, admin)
    server.told(search, "POST", "/webhook/iam", {"event_id": "1"}, None,
                X_IAM_Signature=secrets["webhook"], X_IAM_Timestamp=secrets["webhook"])
    return admin


def drive_cameras(server, search, secrets, admin, check):
    body = {"name": "Gate", "source": "METRO", "rtsp_url": address_of(server, secrets["new camera"])}
    status, _, made = server.told(search, "POST", "/api/v1/cameras", body, admin)
    check(status == 201, "a camera is added with such a password", str(made)[:200])
    camera = made["camera"]["id"]
    server.run(search, "camera", "add", address_of(server, secrets["camera"], "other"), "--name",
               "Other", "--source", "METRO", "--data", server.data)

    def has_tried():
        return all(urllib.parse.quote(name).encode() in server.camera_peer.heard
                   for name in ("/gate", "/other")) and b"Authorization: Basic" in server.camera_peer.heard

    check(until(30, has_tried) is not None, "both cameras are asked, and hear their passwords")

    def has_failed():
        _, _, found = server.told(search, "GET", "/api/v1/cameras", token=admin)
        return all(c["status"] not in ("CONNECTING", "ONLINE") or c.get("last_error")
                   for c in found["cameras"] if c["name"] in ("Gate", "Other"))

    check(until(30, has_failed) is not None, "and are told to have failed")
    bad = secrets["bad camera"]
    quoted = urllib.parse.quote(bad, safe="")
    for address in (f"http://viewer:{quoted}@127.0.0.1/x", f"rtsp://viewer:{bad}@127.0.0.1/x",
                    f"rtsp://viewer:{quoted}@127.0.0.1:99999/x", f"rtsp://{quoted}@/x", bad,
                    f"rtsp://viewer:{quoted}%0d%0a@127.0.0.1/x", f"rtsp://viewer:{quoted}@169.254.1.1/",
                    f"rtsp://viewer:{quoted}@169.254.169.254/x"):
        server.told(search, "POST", "/api/v1/cameras", {**body, "rtsp_url": address}, admin)
        server.told(search, "PUT", f"/api/v1/cameras/{camera}", {**body, "rtsp_url": address}, admin)
        server.run(search, "camera", "add", address, "--name", "bad", "--data", server.data)
    for imported in (json.dumps([{**body, "rtsp_url": f"ftp://viewer:{quoted}@x/"}]),
                     f'name,source,rtsp_url\nGate,METRO,"rtsp://viewer:{quoted}@x:99999/\n'):
        server.told(search, "POST", "/api/v1/cameras/import?dry_run=true", imported, admin)
        server.told(search, "POST", "/api/v1/cameras/import", imported, admin, Content_Type="text/csv")
    return camera


def drive_routes(server, search, secrets, admin, camera):
    """Every route by its known addresses, with the secret as bearer, as a link's token, as nothing."""
    link, bearer = (urllib.parse.quote(secrets[role], safe="") for role in ("link", "bearer"))
    paths = ["/health", "/health/ready", "/metrics", "/version", "/openapi.json", "/api/v1/iam/me",
             "/api/v1/iam/users", "/api/v1/iam/groups", "/api/v1/cameras", f"/api/v1/cameras/{camera}",
             f"/api/v1/cameras/{camera}/snapshot.jpg", f"/api/v1/cameras?q={link}&{link}=1",
             "/api/v1/stream/stats", f"/api/v1/playback/playlist/{link}.m3u8?token={link}",
             f"/api/v1/playback/segment/{camera}/{link}.m4s?token={link}", f"/{link}",
             f"/api/v1/cameras/{link}", f"/api/v1/live/{camera}/clock",
             f"/api/v1/live/{camera}/hls/index.m3u8", "/.well-known/jwks.json", "/api/v1/admin/limits"]
    for path in paths:
        for token in (admin, secrets["bearer"], bearer, None):
            # What one asks for oneself may be said back; what is another's, and a token, may not.
            server.told(search, "GET", path, None, token)
        server.told(search, "GET", path, None, None,
                    Authorization="Basic " + base64.b64encode(secrets["bearer"].encode()).decode())
    for path in ("/api/v1/stream/reserve", "/api/v1/ws/ticket", f"/api/v1/live/{camera}/whep",
                 f"/api/v1/ingest/{camera}/whip", "/api/v1/playback/prepare"):
        server.told(search, "POST", path, {"camera_id": camera}, secrets["bearer"])
        server.told(search, "POST", path, {"camera_id": camera}, admin)
    for shown in (f"marsad, bearer.{bearer}", f"marsad, ticket.{bearer}"):
        status, head, body = Connection(server).upgrade(Sec_WebSocket_Protocol=shown)
        search.look("a refused socket", json.dumps(head).encode() + body)
    status, _, ticket = server.told(search, "POST", "/api/v1/ws/ticket", {}, admin)
    updates = Connection(server)
    updates.upgrade(Sec_WebSocket_Protocol=f"marsad, ticket.{ticket['ticket']}")
    updates.subscribe("quota", "cameras")
    for _ in range(3):
        search.look("the socket", json.dumps(updates.message()))
    updates.socket.close()


def drive_commands(server, search, secrets, check):
    data = ("--data", server.data)
    server.run(search, "user", "reset-password", "amina", *data, MARSAD_PASSWORD=secrets["command"])
    done = server.run(search, "user", "list", "--json", *data)
    check("amina" in done.stdout, "commands see the same users", done.stderr)
    for arguments in (["camera", "list", "--json"], ["camera", "list"], ["audit", "verify"],
                      ["audit", "report", "--json"], ["user", "list"],
                      ["token", "issue", "--user", "nobody"]):
        server.run(search, *arguments, *data)
    printed = server.run(search, "serve", "--print-config", *data)
    check("auth.webhook_secret: •••" in printed.stdout, "the configuration is printed without secrets",
          printed.stdout[-200:] + printed.stderr)
    raw, quoted = secrets["Valkey"], urllib.parse.quote(secrets["Valkey"], safe="")
    for setting in (f"valkey.url=redis://:{raw}@127.0.0.1:1", f"valkey.url=redis://:{quoted}@x:99999",
                    f"valkey.url={quoted}", f"webrtc.turn_secret={secrets['TURN']}",
                    f"auth.webhook_secret={secrets['webhook'][:20]}",
                    f"auth.welcome_secret={secrets['welcome'][:20]}", f"auth.webhok_secret={quoted}",
                    f"{quoted}"):
        server.run(search, "serve", "--print-config", "--set", setting, *data)


def drive_database(server, search, secrets, check):
    """Programs whose PostgreSQL does not take their password."""
    raw, quoted = secrets["PostgreSQL"], urllib.parse.quote(secrets["PostgreSQL"], safe="")
    data = ("--data", server.data)
    address = f"postgresql://marsad:{quoted}@127.0.0.1:{server.postgresql.port}/marsad"
    ended = [server.run(search, *arguments, *data, MARSAD_DATABASE_URL=address).returncode
             for arguments in (["migrate"], ["migrate", "--check"], ["user", "list"], ["camera", "list"],
                               ["audit", "verify"], ["serve", "--http-port", "0"])]
    check(all(ended), "no program works on a database that refuses it", str(ended))
    check(raw.encode() in server.postgresql.heard, "PostgreSQL hears its password")
    for setting in (f"postgresql://marsad:{raw}@127.0.0.1:1/marsad", f"postgres://{quoted}", quoted,
                    f"postgresql://marsad:{quoted}@127.0.0.1:99999/x", f"postgresql://m:{quoted}%zz@x/",
                    f"postgresql://marsad@127.0.0.1:1/x?password={quoted}&{quoted}=1"):
        server.run(search, "migrate", *data, MARSAD_DATABASE_URL=setting)
        server.run(search, "serve", "--print-config", *data, MARSAD_DATABASE_URL=setting)


def audit_rows(server, search, token):
    before, rows = "", 0
    while True:
        _, _, page = server.told(search, "GET", f"/api/v1/audit?limit=500{before}", token=token)
        rows += len(page["rows"])
        if not page.get("next_before"):
            return rows
        before = f"&before={page['next_before']}"


def processes(pid):
    """The process and its children."""
    found = [pid]
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    if int(file.read().rpartition(")")[2].split()[1]) in found:
                        found.append(int(name))
            except OSError:
                pass
    return found


def crash(server, folder, check):
    """The program writes where it was, with what its registers point at, and goes on: a signal from
    outside is not the end that a trap is. The next one is."""
    def has_told():
        with open(server.log.name, "rb") as file:
            return b"Backtrace took" in file.read() or server.process.poll() is not None

    server.process.send_signal(signal.SIGABRT)
    check(until(240, has_told) is not None, "the server writes what a crash writes")
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGABRT)
    status = server.process.wait(60)
    check(status == -signal.SIGABRT, "the server ends as it was told to", str(status))
    cores = [name for name in os.listdir(folder) if name.startswith("core")]
    check(not cores, "and leaves no core, which would hold everything", str(cores))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--marsad", default=os.path.join(ROOT, ".build", "release", "marsad"))
    parser.add_argument("--seed", type=int, default=20261121)
    options = parser.parse_args()
    checks = Checks()
    check = checks.check
    secrets = canaries(options.seed)
    search = Search(secrets)
    for role in ROLES:  # The search itself: a secret is found in all of its disguises.
        secret, probe = secrets[role], Search({role: secrets[role]})
        for index, text in enumerate([
                secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote(secret),
                json.dumps(secret), html.escape(secret), secret.encode().hex(), secret[40:52],
                "Basic " + base64.b64encode(f"viewer:{secret}".encode()).decode(),
                base64.urlsafe_b64encode(secret.encode()).decode()]):
            probe.look(str(index), f"before {text} after")
        if len(probe.found) != 9:
            check(False, f"the search finds the secret of {role} in any form", str(probe.found.keys()))
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.marsad, folder, secrets)
        try:
            admin = drive_people(server, search, secrets, check)
            camera = drive_cameras(server, search, secrets, admin, check)
            drive_routes(server, search, secrets, admin, camera)
            drive_commands(server, search, secrets, check)
            drive_database(server, search, secrets, check)
            check(audit_rows(server, search, admin) > 10, "the audit log is read")
            check(until(30, lambda: secrets["Valkey"].encode() in server.valkey.heard) is not None,
                  "Valkey hears its password")
            for pid in processes(server.process.pid):
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    search.look("the list of processes", file.read())
            crash(server, folder, check)
        except Exception as error:  # What came out until then is looked through all the same.
            check(False, "the test reaches its end", f"{type(error).__name__}: {error}")
        finally:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()
        with open(server.log.name, "rb") as file:
            log = file.read()
        search.look("the log", log + server.process.stdout.read())
        check(b'"level":"debug"' in log or b'"level":"trace"' in log, "the log was a talkative one")
        for place, _, names in os.walk(folder):
            for name in names:
                if name.startswith("core"):
                    continue
                with open(os.path.join(place, name), "rb") as file:
                    search.look(f"the file {name}", file.read())
    print(f"     {sum(search.places.values())} characters of {len(search.places)} places", flush=True)
    for where, around in sorted(search.found.items()):
        check(False, f"no secret is in {where}", repr(around))
    check(not search.found, "no secret came out anywhere")
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
