# Services elsewhere: a provider's keys at its JWKS address, and notices of new users.
# SPDX-License-Identifier: Apache-2.0
"""Usage: outbound_test.py [--marsad .build/release/marsad]

Starts a server of its own on a free port in a temporary folder, with an identity provider and a
receiver of notices that behave badly in turn; needs Python and openssl. Prints one line a check and
"N passed, N failed"; exits 1 on failure.
"""
import hashlib
import hmac
import http.server
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from checks import run  # noqa: E402
from accounts_test import PASSWORD, SECRET, Provider, Server, until  # noqa: E402
from gateway_test import PATIENCE  # noqa: E402
from tls_test import Authority  # noqa: E402

WELCOME_SECRET = "a secret of the one who welcomes people"
LOOPBACK = "outbound.networks=127.0.0.0/8,::1/128"
GIBIBYTE = 1 << 30


class Service:
    """An HTTPS service at localhost whose `answer(handler)` a test changes; it keeps what it was asked."""

    def __init__(self, context, port=0):
        self.requests = []
        self.connections = 0
        self.answer = lambda handler: reply(handler, 404)
        self.context = context
        self.open(port)

    def open(self, port):
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                service.requests.append((self.path, self.headers, self.body))
                try:
                    service.answer(self)
                except OSError:
                    self.close_connection = True

            do_POST = do_GET

            def log_message(self, *_):
                pass

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.getaddrinfo("localhost", 0)[0][0]

            def finish_request(self, request, address):
                service.connections += 1
                request.settimeout(PATIENCE)
                try:
                    if service.context:
                        request = service.context.wrap_socket(request, server_side=True)
                    super().finish_request(request, address)
                except OSError:
                    pass
                finally:
                    request.close()

        self.listener = Listener(("localhost", port), Handler)
        self.port = self.listener.server_address[1]
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()

    def close(self):
        self.listener.shutdown()
        self.listener.server_close()


def context_of(authority, serial, names="DNS:localhost"):
    """Answers with a certificate of the authority for these names."""
    paths = [authority.path(f"{serial}.{end}") for end in ("pem", "key")]
    for path, text in zip(paths, authority.issue(serial, names=names)):
        with open(path, "w") as file:
            file.write(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*paths)
    return context


def reply(handler, status, body=b"", **headers):
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def publish(*providers):
    keys = json.dumps({"keys": [key for one in providers for key in one.set["keys"]]}).encode()
    return lambda handler: reply(handler, 200, keys, Content_Type="application/json")


class Flood:
    """Answers with two gibibytes, and knows how much of them was taken."""

    def __init__(self, with_length):
        self.with_length = with_length
        self.sent = 0

    def __call__(self, handler):
        handler.send_response(200)
        if self.with_length:
            handler.send_header("Content-Length", str(2 * GIBIBYTE))
        handler.end_headers()
        handler.close_connection = True
        while self.sent < 2 * GIBIBYTE:
            self.sent += handler.wfile.write(b" " * 65536)


def hang(_):
    time.sleep(2 * PATIENCE)


def fetched(server, result):
    """How many fetches of keys had this result."""
    return counted(server, "cctv_identity_key_fetches_total", result)


def counted(server, name, result):
    text = server.ask("GET", "/metrics")[2].decode()
    found = re.search(rf'^{name}{{result="{result}"}} (\d+)$', text, re.MULTILINE)
    return int(found.group(1)) if found else 0


def logged(server, event):
    with open(server.log.name) as file:
        return [line for line in file if f'"event":"{event}"' in line.replace(" ", "")]


def accepts(server, provider):
    return server.ask("GET", "/api/v1/iam/me", token=provider.token("guest"))[0] == 200


def resident(server):
    """The server's memory in bytes."""
    with open(f"/proc/{server.process.pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


def check_provider(marsad, folder, check):
    authority = Authority(folder)
    service = Service(context_of(authority, 1))
    one, two = Provider(folder, "one"), Provider(folder, "two")
    server = Server(
        marsad, folder, None, f"auth.provider_issuer={one.ISSUER}",
        f"auth.provider_jwks_url=https://localhost:{service.port}/keys?realm=a",
        f"outbound.authorities={authority.root}", LOOPBACK)
    try:
        server.command("user", "add", "guest", "--name", "Guest", "--agency", "METRO", "--external")
        service.answer = publish(one)
        check(accepts(server, one), "a token of a provider whose keys are at an address is believed")
        check(service.requests[0][0] == "/keys?realm=a"
              and service.requests[0][1]["Host"] == f"localhost:{service.port}",
              "which is asked as it is written", str(service.requests))
        check(all(accepts(server, one) for _ in range(20)) and len(service.requests) == 1
              and fetched(server, "taken") == 1, "once, however many tokens come",
              str(len(service.requests)))
        check(not accepts(server, two), "one by another key is not")
        check_failures(server, service, authority, one, check)
        check_rotation(server, service, one, two, check)
    finally:
        server.stop()
        service.close()


def check_failures(server, service, authority, one, check):
    """A server that knows no key yet, and a provider that gives it none."""
    elsewhere = Service(service.context)
    elsewhere.answer = publish(one)
    floods = [Flood(True), Flood(False)]
    here = service.context
    stranger_folder = authority.path("stranger")
    os.makedirs(stranger_folder)
    stranger = context_of(Authority(stranger_folder), 3)
    for sentence, result, answer, context in [
            ("redirects to its keys", "status",
             lambda handler: reply(handler, 302, Location=f"https://localhost:{elsewhere.port}/"), here),
            ("fails", "status", lambda handler: reply(handler, 500, b"{}"), here),
            ("answers with a page", "malformed", lambda handler: reply(handler, 200, b"<html>"), here),
            ("has no keys", "malformed", lambda handler: reply(handler, 200, b'{"keys": []}'), here),
            ("announces 2 GB", "too_large", floods[0], here),
            ("sends 2 GB", "too_large", floods[1], here),
            ("hangs", "timeout", hang, here),
            ("shows a certificate of another name", "certificate", publish(one),
             context_of(authority, 2, "DNS:login.example")),
            ("shows a certificate of nobody we know", "certificate", publish(one), stranger)]:
        server.stop()
        service.answer, service.context = answer, context
        server.start()
        before, begun = resident(server), time.monotonic()
        status, code, _ = server.ask("GET", "/api/v1/iam/me", token=one.token("guest"))
        took = time.monotonic() - begun
        check((status, code) == (401, "INVALID_TOKEN") and fetched(server, result) == 1,
              f"a provider that {sentence} lets nobody in", f"{status} {code} {result}")
        check(took < 8, "nor holds the server up for long", f"{took:.1f} s")
        check(resident(server) - before < 32 << 20, "nor fills its memory",
              f"{(resident(server) - before) >> 20} MiB")
    service.context = here
    check(elsewhere.connections == 0, "nobody is followed")
    check(all(until(5, lambda: flood.sent < 64 << 20) is not None for flood in floods),
          "what is too large is not taken", str([flood.sent for flood in floods]))
    check(len(logged(server, "provider_keys_failed")) == 9, "each failure is in the log",
          str(len(logged(server, "provider_keys_failed"))))
    elsewhere.close()


def check_rotation(server, service, one, two, check):
    """Keys that change, and a provider that is away, while the server runs."""
    server.stop()
    service.close()
    server.start()
    check(not accepts(server, one) and fetched(server, "connection") == 1,
          "while the provider is down nobody is let in whose key is not known")
    service.open(service.port)
    service.answer = publish(one)
    check(until(40, lambda: accepts(server, one)) is not None,
          "once it is back, its people are")
    check(len(logged(server, "provider_keys_taken")) == 1, "which is in the log")
    service.answer = publish(two)
    check(until(40, lambda: accepts(server, two)) is not None, "a new key is taken while the server runs")
    check(not accepts(server, one), "and the one that it replaces is gone")
    service.close()
    check(accepts(server, two), "a key that is known outlives its provider")
    service.open(service.port)


def check_guard(marsad, folder, check):
    """Where requests do not go."""
    authority = Authority(folder)
    service = Service(context_of(authority, 1))
    one = Provider(folder)
    service.answer = publish(one)
    server = Server(
        marsad, folder, None, f"auth.provider_issuer={one.ISSUER}",
        f"outbound.authorities={authority.root}", "auth.provider_jwks_url=https://login.example/")
    try:
        server.command("user", "add", "guest", "--name", "Guest", "--agency", "METRO", "--external")
        for host in ("localhost", "127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]",
                     "169.254.169.254"):
            server.stop()
            server.start("--set", f"auth.provider_jwks_url=https://{host}:{service.port}/keys")
            check(not accepts(server, one) and fetched(server, "refused_address") == 1,
                  f"{host} is not asked unless its network is configured")
        check(service.connections == 0, "nor connected to")
        plain = Service(None)
        plain.answer = publish(one)
        server.stop()
        server.start("--set", f"auth.provider_jwks_url=http://localhost:{plain.port}/keys",
                     "--set", LOOPBACK)
        check(accepts(server, one), "in a network that is configured, http is spoken")
        plain.close()
    finally:
        server.stop()
        service.close()


def check_configuration(marsad, folder, check):
    keys = os.path.join(folder, "keys.json")
    with open(keys, "w") as file:
        file.write('{"keys": []}')
    issuer, url = "auth.provider_issuer=https://login.example", "https://login.example/keys"
    for sentence, words, settings in [
            ("a file and an address", ["auth.provider_jwks_url", "auth.provider_keys"],
             [issuer, f"auth.provider_jwks_url={url}", f"auth.provider_keys={keys}"]),
            ("an address without an issuer", ["auth.provider_issuer"], [f"auth.provider_jwks_url={url}"]),
            ("http to anywhere", ["auth.provider_jwks_url", "outbound.networks"],
             [issuer, "auth.provider_jwks_url=http://login.example/keys"]),
            ("a password in an address", ["auth.provider_jwks_url", "https://"],
             [issuer, "auth.provider_jwks_url=https://a:b@login.example/"]),
            ("a file as an address", ["auth.provider_jwks_url"],
             [issuer, "auth.provider_jwks_url=file:///etc/passwd"]),
            ("a file of authorities without any", ["outbound.authorities"],
             [issuer, f"auth.provider_jwks_url={url}", f"outbound.authorities={keys}"]),
            ("nobody's networks", ["outbound.networks", "\"lan\""], ["outbound.networks=lan"]),
            ("a welcome without a secret", ["auth.welcome_secret"], [f"auth.welcome_url={url}"]),
            ("a welcome with the events' secret", ["auth.welcome_secret"],
             [f"auth.welcome_url={url}", f"auth.welcome_secret={WELCOME_SECRET}",
              f"auth.webhook_secret={WELCOME_SECRET}"]),
            ("a welcome with a short secret", ["auth.welcome_secret"],
             [f"auth.welcome_url={url}", "auth.welcome_secret=short"]),
            ("a secret without a welcome", ["auth.welcome_url"],
             [f"auth.welcome_secret={WELCOME_SECRET}"])]:
        arguments = [word for setting in settings for word in ("--set", setting)]
        refused = subprocess.run(
            [marsad, "serve", "--http-port", "0", "--data", os.path.join(folder, "none"), *arguments],
            capture_output=True, text=True, timeout=PATIENCE)
        check(refused.returncode == 2 and all(word in refused.stderr for word in words),
              f"{sentence} ends the program with 2", f"{refused.returncode} {refused.stderr[-300:]}")
        check(WELCOME_SECRET not in refused.stderr, "and no secret is said")


    printed = subprocess.run(
        [marsad, "serve", "--print-config", "--set", f"auth.welcome_secret={WELCOME_SECRET}"],
        capture_output=True, text=True, timeout=PATIENCE)
    check("auth.welcome_secret: •••" in printed.stdout, "the secret is not printed", printed.stdout)


def notice(request):
    """The event of a request whose signature is right; None of any other."""
    _, headers, body = request
    stamp = headers.get("X-IAM-Timestamp", "")
    wanted = hmac.new(WELCOME_SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256)
    given = headers.get("X-IAM-Signature", "")
    if given != "sha256=" + wanted.hexdigest() or abs(time.time() - int(stamp)) > 60:
        return None
    return json.loads(body)


def check_welcome(marsad, folder, check):
    authority = Authority(folder)
    service = Service(context_of(authority, 1))
    service.answer = lambda handler: reply(handler, 204)
    secret = os.path.join(folder, "welcome-secret")
    with open(secret, "w") as file:
        file.write(WELCOME_SECRET + "\n")
    os.environ["MARSAD_AUTH_WELCOME_SECRET_FILE"] = secret
    server = Server(marsad, folder, None, f"auth.welcome_url=https://localhost:{service.port}/new",
                    f"outbound.authorities={authority.root}", LOOPBACK)

    def events(login):
        found = [notice(request) for request in service.requests]
        return [event for event in found if event and event["data"]["login_id"] == login]

    def delivered(result):
        return counted(server, "cctv_welcome_notices_total", result)

    try:
        admin = server.token("admin")

        def make(login):
            begun = time.monotonic()
            status, _, made = server.ask("POST", "/api/v1/iam/users", {
                "login_id": login, "display_name": login.title(), "full_name_arabic": "فاطمة",
                "password": PASSWORD, "agency": {
                    "code": "METRO", "name": "Metro", "name_arabic": "المترو"}}, admin)
            check(status == 201, f"{login} is made", str(made))
            return made.get("user_id"), time.monotonic() - begun

        check(until(5, lambda: events("admin")) is not None, "the first administrator is told of")
        identifier, _ = make("fatima")
        check(until(5, lambda: events("fatima")) is not None, "a user made over HTTP is")
        told = events("fatima")[0]
        check(told == {"event_id": told["event_id"], "event_type": "USER_CREATED", "data": {
            "user_id": identifier, "login_id": "fatima", "display_name": "Fatima",
            "full_name_arabic": "فاطمة", "status": "ACTIVE", "origin": "LOCAL",
            "agency": {"code": "METRO", "name": "Metro", "name_arabic": "المترو"}}},
            "by name in both languages and agency", str(told))
        body = json.dumps({"event_id": "1", "event_type": "USER_CREATED", "data": {
            "login_id": "omar", "display_name": "Omar", "agency": {"code": "METRO"}}})
        stamp = str(int(time.time()))
        signature = hmac.new(SECRET.encode(), f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()
        for _ in range(2):
            server.ask("POST", "/webhook/iam", body, X_IAM_Signature=signature, X_IAM_Timestamp=stamp)
        check(until(5, lambda: events("omar")) is not None, "one of the identity system is")
        server.add_user("layla", "METRO")
        check(len(events("layla")) == 1, "one made by a command is, before the command ends")
        check(len(service.requests) == 4 and all(notice(request) for request in service.requests),
              "each once and signed, and nobody else", str([r[2] for r in service.requests]))
        sent = b"".join(body for _, _, body in service.requests).decode()
        check(PASSWORD not in sent and "password" not in sent, "without a password")

        refusals = iter([503, 302])
        service.answer = lambda handler: reply(handler, next(refusals, 200))
        make("zayed")
        check(until(15, lambda: len(events("zayed")) == 3) is not None, "a refused notice is sent again, twice")
        check(len({event["event_id"] for event in events("zayed")}) == 1, "as the same event")
        check(until(5, lambda: delivered("delivered") == 4) is not None, "then it is delivered")

        service.answer = hang
        _, took = make("noura")
        check(took < 2, "a receiver that hangs delays nobody", f"{took:.1f} s")
        service.close()
        _, took = make("hamad")
        check(took < 2, "nor does one that is down", f"{took:.1f} s")
        check(until(30, lambda: delivered("failed") == 2) is not None, "both are given up after three tries")
        lines = logged(server, "welcome_failed")
        check(len(lines) == 2 and WELCOME_SECRET not in "".join(lines), "which is in the log", str(lines))
        check(server.sign_in("hamad")[0] == 200, "the user is there all the same")
        made = server.command("user", "add", "salim", "--name", "Salim", "--agency", "METRO", password=PASSWORD,
                              check=False)
        check(made.returncode == 0 and "salim could not be welcomed" in made.stderr,
              "a command says so", made.stderr)
    finally:
        del os.environ["MARSAD_AUTH_WELCOME_SECRET_FILE"]
        check(server.stop() == 0, "the server ends with status 0")


def check_all(marsad, folder, check):
    for part in [check_configuration, check_provider, check_guard, check_welcome]:
        own = os.path.join(folder, part.__name__)
        os.makedirs(own)
        try:
            part(marsad, own, check)
        except Exception as error:  # The other parts run all the same.
            check(False, f"{part.__name__} reaches its end", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    run("outbound", check_all)
