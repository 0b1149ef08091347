# The gateway and its WebSockets as a client meets them: raw bytes against a running server.
# SPDX-License-Identifier: Apache-2.0
"""Usage: gateway_test.py [--marsad .build/release/marsad]

Starts servers of its own on free ports in a temporary folder; needs nothing but Python. Prints one line
a check and "N passed, N failed"; exits 1 on failure.
"""
import argparse
import base64
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from checks import Checks  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE = 20


class Server:
    """A server without cameras that deliver."""

    def __init__(self, marsad, folder, *settings):
        self.data = os.path.join(folder, "data")
        os.makedirs(self.data, exist_ok=True)
        self.camera, self.other = (
            subprocess.run(
                [marsad, "camera", "add", f"rtsp://127.0.0.1:9/{name}", "--name", name,
                 "--source", "METRO", "--data", self.data],
                capture_output=True, text=True, check=True).stdout.strip()
            for name in ("none", "other"))
        arguments = [marsad, "serve", "--json", "--http-port", "0", "--data", self.data,
                     "--set", "webrtc.port=0"]
        for setting in settings:
            arguments += ["--set", setting]
        self.log = open(os.path.join(folder, "server.err"), "ab")
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self.log)
        ready = json.loads(self.process.stdout.readline())
        self.port = int(ready["url"].rpartition(":")[2])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def rss_mb(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            for line in file:
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) / 1024
        return 0


class Connection:
    """A TCP connection that reads HTTP answers and WebSocket frames."""

    def __init__(self, server, receive_bytes=None):
        self.server = server
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", server.port))
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def need(self, count):
        while len(self.buffer) < count:
            if not self.more():
                raise EOFError
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def answer(self, head_only=False):
        """Status, headers in lower case, body."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.more():
                raise EOFError
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        status = int(lines[0].split()[1])
        length = 0 if head_only or status in (101, 204) else int(headers.get("content-length", 0))
        return status, headers, self.need(length)

    def request(self, method, path, headers=None, body=b"", host=None):
        host = host or f"127.0.0.1:{self.server.port}"
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return self.answer(head_only=method == "HEAD")

    def is_closed(self):
        try:
            while self.more():
                pass
            return True
        except socket.timeout:
            return False

    def upgrade(self, path="/ws/updates", key=None, **headers):
        names = {"Upgrade": "websocket", "Connection": "keep-alive, Upgrade",
                 "Sec-WebSocket-Version": "13",
                 "Sec-WebSocket-Key": key or base64.b64encode(os.urandom(16)).decode()}
        names.update({name.replace("_", "-"): value for name, value in headers.items()})
        return self.request("GET", path, {k: v for k, v in names.items() if v is not None})

    # Frames of a client are masked.
    def frame(self, payload, opcode=1, fin=True, mask=True):
        payload = payload.encode() if isinstance(payload, str) else payload
        head = bytes([(0x80 if fin else 0) | opcode])
        bit = 0x80 if mask else 0
        if len(payload) < 126:
            head += bytes([bit | len(payload)])
        elif len(payload) < 65536:
            head += bytes([bit | 126]) + struct.pack("!H", len(payload))
        else:
            head += bytes([bit | 127]) + struct.pack("!Q", len(payload))
        if mask:
            key = os.urandom(4)
            payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
            head += key
        self.send(head + payload)
        return self

    def receive(self):
        """Opcode and payload of the next frame."""
        first, second = self.need(2)
        length = second & 127
        if length == 126:
            length = struct.unpack("!H", self.need(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self.need(8))[0]
        return first & 15, self.need(length)

    def message(self):
        while True:
            opcode, payload = self.receive()
            if opcode == 1:
                return json.loads(payload)
            if opcode == 8:
                raise EOFError(struct.unpack("!H", payload[:2])[0])

    def until(self, kind, **fields):
        while True:
            message = self.message()
            if message["type"] == kind and all(message.get(k) == v for k, v in fields.items()):
                return message

    def close_code(self):
        try:
            while True:
                opcode, payload = self.receive()
                if opcode == 8:
                    return struct.unpack("!H", payload[:2])[0]
        except EOFError:
            return None

    def subscribe(self, *topics):
        return self.frame(json.dumps({"type": "subscribe", "topics": topics}))


def error_code(body):
    try:
        return json.loads(body)["error"]["code"]
    except (ValueError, KeyError):
        return None


def reserve(server, camera=None):
    return Connection(server).request(
        "POST", "/api/v1/stream/reserve", {"Content-Type": "application/json"},
        json.dumps({"camera_id": camera or server.camera}).encode())


def check_headers(server, check):
    status, headers, _ = Connection(server).request("GET", "/")
    check(status == 200 and "script-src" in headers["content-security-policy"], "the page has its CSP")
    status, headers, body = Connection(server).request("GET", "/nothing")
    check(status == 404 and error_code(body) == "NOT_FOUND", "an unknown address is a 404 in our shape")
    wanted = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
              "cross-origin-opener-policy": "same-origin"}
    check(all(headers.get(k) == v for k, v in wanted.items())
          and "frame-ancestors 'none'" in headers["content-security-policy"],
          "every answer has the security headers", str(headers))
    status, headers, _ = Connection(server).request("PUT", "/api/v1/cameras")
    check(status == 405 and headers["allow"] == "GET, HEAD, POST", "a wrong method is a 405 with Allow")
    status, headers, _ = Connection(server).request("PROPFIND", "/api/v1/cameras")
    check(status == 405 and headers["allow"] == "GET, HEAD, POST", "so is one of another protocol")
    status, _, body = Connection(server).request("GET", "/api/v1/playback/playlist/x.m3u8?token=%00")
    check(status in (401, 404), "a link's token of any bytes is no signature", f"{status} {body}")
    _, _, body = Connection(server).request("GET", "/metrics")
    check(b"PROPFIND" not in body, "which makes no line of its own in the metrics")
    status, _, body = Connection(server).request("GET", "/health", host="evil.example")
    check((status, error_code(body)) == (403, "ORIGIN_NOT_ALLOWED"), "a foreign host name is refused")
    status, _, _ = Connection(server).request("GET", "/health", host="wall.example:443")
    check(status == 200, "a configured host name is answered")


def check_sharing(server, check):
    asked = {"Access-Control-Request-Method": "POST"}
    for origin, allowed in [
            ("https://wall.example", True), ("https://wall.example.evil", False), ("null", False),
            ("http://wall.example", False), ("https://WALL.example", False),
            ("https://wall.example:443", False), ("https://wall.example/", False),
            ("*", False), ("", False), ("https://wall.example, https://evil", False)]:
        status, headers, _ = Connection(server).request(
            "OPTIONS", "/api/v1/stream/reserve", {"Origin": origin, **asked})
        granted = headers.get("access-control-allow-origin")
        check((status == 204 and granted == origin) if allowed else
              (status == 405 and granted is None),
              f"the origin {origin!r} is {'shared with' if allowed else 'not shared with'}",
              f"{status} {granted}")
    _, headers, _ = Connection(server).request(
        "OPTIONS", f"/api/v1/live/{server.camera}/whep", {"Origin": "https://anywhere", **asked})
    check(headers.get("access-control-allow-origin") == "*", "WHEP is shared with every origin")


def check_requests(server, check):
    host = f"Host: 127.0.0.1:{server.port}\r\n"
    post = ("POST /api/v1/playback/prepare HTTP/1.1\r\n" + host
            + "Content-Type: application/json\r\n")
    get = "GET /health HTTP/1.1\r\n" + host
    table = {
        "content length and chunks": post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "two different lengths": post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        "two equal lengths": post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
        "a list of lengths": post + "Content-Length: 5, 5\r\n\r\nabcde",
        "a negative length": post + "Content-Length: -1\r\n\r\n",
        "a signed length": post + "Content-Length: +5\r\n\r\nabcde",
        "a hexadecimal length": post + "Content-Length: 0x5\r\n\r\nabcde",
        "a length that overflows": post + "Content-Length: 99999999999999999999\r\n\r\n",
        "an unknown transfer coding": post + "Transfer-Encoding: chunky\r\n\r\n",
        "chunked that is not last": post + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "two transfer codings fields":
            post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "a chunk size that is none": post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "a folded header": get + "X-A: 1\r\n 2\r\n\r\n",
        "a space before the colon": get + "X-A : 1\r\n\r\n",
        "a space in the length's name": post + "Content-Length : 5\r\n\r\nabcde",
        "a bare LF after a header": get + "X-A: 1\n\r\n",
        "bare LFs only": "GET /health HTTP/1.1\nHost: localhost\n\n",
        "a bare CR in a header": get + "X-A: 1\rX-B: 2\r\n\r\n",
        "a NUL in a header": get + "X-A: 1\0\r\n\r\n",
        "no host": "GET /health HTTP/1.1\r\n\r\n",
        "two hosts": get + host + "\r\n",
        "an empty header name": get + ": 1\r\n\r\n",
        "garbage": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
        "version 9": "GET /health HTTP/9.1\r\n" + host + "\r\n",
        "an unfinished address": "GET  HTTP/1.1\r\n" + host + "\r\n",
    }
    too_large = {
        "101 header fields": get + "".join(f"X-{i}: 1\r\n" for i in range(101)) + "\r\n",
        "17 KB of headers": get + "".join(f"X-{i}: {'a' * 1000}\r\n" for i in range(17)) + "\r\n",
        "a header of 17 KB": get + f"X-A: {'a' * 17000}\r\n\r\n",
    }
    for name, data in {**table, **too_large}.items():
        wanted = (431, "PAYLOAD_TOO_LARGE") if name in too_large else (400, "INVALID_REQUEST")
        connection = Connection(server)
        connection.socket.settimeout(5)
        status, body = None, b""
        try:
            status, _, body = connection.send(data.encode("latin-1")).answer()
            closed = connection.is_closed()
        except (EOFError, socket.timeout):
            closed = False
        check((status, error_code(body)) == wanted and closed,
              f"{name}: {wanted[0]} in our shape, and the connection ends", f"{status} {closed} {body[:80]}")
    status, _, body = Connection(server).request("GET", "/" + "a" * 9000)
    check(status == 400, "an address of 9 KB is a 400", str(status))
    status, _, body = Connection(server).request(
        "POST", "/api/v1/playback/prepare", {"Content-Type": "application/json",
                                             "Content-Length": str(10 * 1024 * 1024 + 1)})
    check((status, error_code(body)) == (413, "PAYLOAD_TOO_LARGE"), "a body above 10 MB is a 413")
    status, _, body = Connection(server).request(
        "POST", "/api/v1/stream/reserve", {"Content-Type": "application/json"}, b"[" * 60_000)
    check((status, error_code(body)) == (400, "INVALID_REQUEST"), "60,000 brackets are a 400")
    three = Connection(server).send((get + "\r\n") * 3)
    check([three.answer()[0] for _ in range(3)] == [200] * 3, "three pipelined requests are answered")


def check_connections(server, check):
    """One request after another, however they and their bodies arrive."""
    host = f"Host: 127.0.0.1:{server.port}\r\n"
    get = f"GET /health HTTP/1.1\r\n{host}\r\n"
    post = f"POST /api/v1/stream/reserve HTTP/1.1\r\n{host}Content-Type: application/json\r\n"
    body = json.dumps({"camera_id": server.camera})
    connection = Connection(server)
    connection.send(f"{post}Transfer-Encoding: chunked\r\n\r\n")
    for part in [body[:10], body[10:]]:
        connection.send(f"{len(part):x}\r\n{part}\r\n")
    connection.send("0\r\n\r\n" + get)
    check([connection.answer()[0] for _ in range(2)] == [201, 200],
          "a body in chunks is taken, and the request behind it answered")
    padded = body + " " * 40_000
    connection.send(f"{post}Content-Length: {len(padded)}\r\n\r\n{padded}{get}")
    check([connection.answer()[0] for _ in range(2)] == [201, 200], "so is one of 40 KB")
    for byte in f"{post}Content-Length: {len(body)}\r\n\r\n{body}{get}".encode():
        connection.send(bytes([byte]))
    check([connection.answer()[0] for _ in range(2)] == [201, 200], "or one byte by byte")
    connection.send(f"{post}Content-Length: 1000000\r\n\r\n")
    connection.send(" " * 100_000)
    status, _, answer = connection.answer()
    check((status, error_code(answer)) == (413, "PAYLOAD_TOO_LARGE"),
          "a body that is too large is refused before it has arrived", f"{status}")
    connection.send(" " * 900_000 + get)
    check(connection.answer()[0] == 200, "and the request behind it is answered")
    many = Connection(server).send(get * 1000)
    check([many.answer()[0] for _ in range(1000)] == [200] * 1000,
          "a thousand pipelined requests are answered")
    broken = Connection(server).send(get + "nonsense\r\n\r\n")
    check([broken.answer()[0] for _ in range(2)] == [200, 400] and broken.is_closed(),
          "what is sent before nonsense is answered before it is refused")
    half = Connection(server).send(get * 2)
    half.socket.shutdown(socket.SHUT_WR)
    check([half.answer()[0] for _ in range(2)] == [200, 200] and half.is_closed(),
          "who says that he sends no more is answered")
    cut = Connection(server).send(f"{post}Content-Length: 100\r\n\r\n{{")
    cut.socket.shutdown(socket.SHUT_WR)
    check(cut.answer()[0] == 400 and cut.is_closed(), "half a body is no body")
    last = Connection(server)
    status, headers, _ = last.request("GET", "/health", {"Connection": "close"})
    check((status, headers.get("connection")) == (200, "close") and last.is_closed(),
          "a connection ends where its client wants it")
    last = Connection(server).send(
        f"{post}Connection: close\r\nContent-Length: 5000000\r\n\r\n" + " " * 100_000)
    status, _, _ = last.answer()
    for _ in range(20):
        last.send(" " * 10_000)
    check(status == 413 and last.more() is False, "also one who is still sending, without a reset")
    torn = Connection(server).send(get + "nonsense")
    heard = [torn.answer()[0]]
    torn.send(" and more\r\n\r\n")
    heard.append(torn.answer()[0])
    torn.send("and more")
    check(heard == [200, 400] and torn.is_closed(), "nonsense in pieces takes no answer away",
          str(heard))
    endless = Connection(server).send(f"GET / HTTP/1.1\r\n{host}X-Spaces:" + " " * 200_000)
    check(endless.answer()[0] == 431 and endless.is_closed(), "a header that never ends is refused")
    behind = Connection(server)
    behind.send(f"GET /version HTTP/1.1\r\n{host}Connection: upgrade\r\nUpgrade: x\r\n\r\n" + "x" * 200_000)
    check(behind.answer()[0] == 200 and behind.is_closed(), "what comes behind no upgrade is passed over")
    tunnel = Connection(server).send(f"CONNECT other:443 HTTP/1.1\r\n{host}\r\n")
    check(tunnel.answer()[0] >= 400 and tunnel.is_closed(), "nobody tunnels")
    waiting = Connection(server).send(
        f"{post}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n")
    check(waiting.answer()[0] == 100, "who waits for a word before the body hears it")
    check(waiting.send(body).answer()[0] == 201, "and is answered")
    old = Connection(server).send("GET /openapi.json HTTP/1.0\r\n\r\n")
    status, headers, answer = old.answer()
    check(status == 200 and "transfer-encoding" not in headers and json.loads(answer)
          and old.is_closed(), "HTTP/1.0 is answered, and the connection ends")
    for sends_more in (True, False):
        slow = Connection(server, receive_bytes=4096)
        slow.send(f"GET /openapi.json HTTP/1.1\r\n{host}\r\n" * 30)
        first = json.loads(slow.answer()[2])
        if not sends_more:
            slow.socket.shutdown(socket.SHUT_WR)
        check(first and all(json.loads(slow.answer()[2]) for _ in range(29))
              and (sends_more or slow.is_closed()),
              f"who reads slowly is sent everything, though he sends {'more' if sends_more else 'no more'}")
    for _ in range(40):
        gone = Connection(server).send(f"GET /openapi.json HTTP/1.1\r\n{host}\r\n" * 10)
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.socket.close()
    check(Connection(server).request("GET", "/health")[0] == 200, "who leaves in the middle is left")
    flood = Connection(server, receive_bytes=4096)
    flood.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    flood.socket.settimeout(2)
    heads = f"HEAD /version HTTP/1.1\r\n{host}\r\n".encode() * 1000
    begun = time.monotonic()
    try:
        # The kernel takes more than the server does.
        while time.monotonic() - begun < 4:
            flood.socket.send(heads)
    except socket.timeout:
        pass
    _, _, told = Connection(server).request("GET", "/metrics")
    counted = re.search(rb'endpoint="/version",method="HEAD",status="200"\} (\d+)', told)
    check(counted and int(counted.group(1)) < 50_000, "of one who takes no answers, no more is read",
          counted and counted.group(1))
    bad = Connection(server).send("HEAD /health HTTP/1.1\r\n\r\n")
    check(bad.answer(head_only=True)[0] == 400 and bad.is_closed() and not bad.buffer,
          "a HEAD that is no request has no body either")
    head = Connection(server)
    status, headers, _ = head.request("HEAD", "/health")
    check(status == 200 and int(headers["content-length"]) > 0 and "date" in headers
          and head.request("GET", "/health")[0] == 200, "HEAD has no body")
    status, _, _ = head.request("HEAD", "/api/v1/cameras/none")
    check(status == 404 and head.request("GET", "/health")[0] == 200, "nor has its refusal one")
    check(Connection(server).request("GET", f"http://127.0.0.1:{server.port}/health")[0] == 200,
          "the absolute form of an address is understood")


def check_keys(server, check):
    def post(key, body):
        return Connection(server).request(
            "POST", "/api/v1/stream/reserve",
            {"Content-Type": "application/json", "Idempotency-Key": key}, json.dumps(body).encode())

    first, second = (post("one", {"camera_id": server.camera}) for _ in range(2))
    check(first[0] == 201 and first[2] == second[2], "the same key gives the same answer")
    third = post("two", {"camera_id": server.camera})
    check(third[2] != first[2], "another key is another request")
    status, _, body = post("one", {"camera_id": server.camera, "quality": "LOW"})
    check((status, error_code(body)) == (422, "UNPROCESSABLE"), "a key for another body is a 422")
    status, _, _ = post("bad key", {"camera_id": server.camera})
    check(status == 400, "a key with a space is a 400")


def check_upgrades(server, check):
    status, headers, _ = Connection(server).upgrade(key="dGhlIHNhbXBsZSBub25jZQ==")
    check(status == 101 and headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
          "the handshake is that of RFC 6455 §1.3", str(headers))
    check("x-request-id" in headers, "a handshake has its request id")
    status, headers, _ = Connection(server).upgrade(Sec_WebSocket_Protocol="other, marsad")
    check(headers.get("sec-websocket-protocol") == "marsad", "our subprotocol is chosen")
    kept = Connection(server)
    kept.request("GET", "/health")
    status, _, _ = kept.upgrade()
    check(status == 101, "a request before it on the connection does not hinder an upgrade")
    both = Connection(server)
    both.send(f"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    status, _, _ = both.upgrade()
    check(status == 200 and both.answer()[0] == 101, "a pipelined upgrade is answered in its turn")
    plain = Connection(server)
    status, _, body = plain.request("GET", "/ws/updates")
    check((status, error_code(body)) == (426, "INVALID_REQUEST"), "without a handshake it is a 426")
    check(plain.request("GET", "/health")[0] == 200, "and the connection goes on")
    for name, change, wanted in [
            ("another version", {"Sec_WebSocket_Version": "8"}, 426),
            ("no key", {"Sec_WebSocket_Key": None}, 400),
            ("a short key", {"key": "YQ=="}, 400),
            ("a foreign origin", {"Origin": "https://evil.example"}, 403),
            ("the origin null", {"Origin": "null"}, 403),
            ("a ticket that nobody gave", {"Sec_WebSocket_Protocol": "marsad, ticket.abc"}, 401),
            ("another address", {"path": "/health"}, 200)]:
        connection = Connection(server)
        status, headers, body = connection.upgrade(**change)
        check(status == wanted and headers.get("connection") == "close" and connection.is_closed(),
              f"an upgrade with {name}: {wanted}, and the connection ends", f"{status} {headers}")
    for origin in [f"http://127.0.0.1:{server.port}", "https://wall.example"]:
        check(Connection(server).upgrade(Origin=origin)[0] == 101, f"the origin {origin} may connect")
    status, _, body = Connection(server).request(
        "GET", "/health", {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c",
                           "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA"})
    check(status == 200, "an offer of HTTP/2 is not taken, and answered")
    status, headers, body = Connection(server).request("POST", "/api/v1/ws/ticket")
    ticket = json.loads(body)
    check(status == 200 and ticket["expires_in"] == 30, "a ticket is given")
    shown = {"Sec_WebSocket_Protocol": f"marsad, ticket.{ticket['ticket']}"}
    check(Connection(server).upgrade(**shown)[0] == 101, "it opens a socket")
    status, _, body = Connection(server).upgrade(**shown)
    check((status, error_code(body)) == (401, "INVALID_TOKEN"), "but only one")


def check_messages(server, check):
    client = Connection(server)
    client.upgrade()
    client.subscribe("cameras", "quota", "stats")
    first = client.message()
    check(first["type"] == "SNAPSHOT", "a snapshot comes first", str(first))
    told = [client.message() for _ in range(first["count"])]
    check(any(m["type"] == "CAMERA_STATUS" and m["camera_id"] == server.camera for m in told)
          and all(m["seq"] <= first["seq"] for m in told), "it holds the camera", str(told))
    before = time.monotonic()
    # Another camera than those that a seat was taken of before.
    usage = json.loads(reserve(server, server.other)[2])["current_usage"]
    update = client.until("AGENCY_LIMIT_UPDATE", source="METRO", current=usage)
    check(time.monotonic() - before < 5 and update["seq"] > first["seq"],
          "a change is told, with a higher number", str(update))
    client.frame(b"hello", opcode=9)
    check(client.receive() == (10, b"hello"), "a ping is answered")
    text = json.dumps({"type": "subscribe", "topics": ["alerts"]})
    client.frame(text[:10], fin=False).frame(text[10:20], opcode=0, fin=False)
    client.frame(b"between", opcode=9).frame(text[20:], opcode=0)
    opcode, _ = client.receive()
    check(opcode == 10 and client.until("SNAPSHOT")["topics"] == ["alerts"],
          "fragments with a ping between them are one message")
    client.frame(b"\x03\xe8bye", opcode=8)
    check(client.close_code() == 1000 and client.is_closed(), "a close is answered")
    stats = Connection(server)
    stats.upgrade("/ws/stream/stats")
    while (told := stats.until("STREAM_STATS"))["active_streams"] < usage:
        pass
    check(told["per_source_count"]["METRO"] == usage, "the statistics need no subscription", str(told))

    def closes(name, code, act):
        client = Connection(server)
        client.upgrade()
        try:
            act(client)
        except (BrokenPipeError, ConnectionResetError):
            pass
        got = client.close_code()
        check(got == code, f"{name} closes with {code}", str(got))

    closes("a message above 64 KB", 1009, lambda c: c.frame(b"a" * 65_537))
    closes("fragments above 64 KB", 1009, lambda c: [
        c.frame(b"a" * 30_000, fin=False), c.frame(b"a" * 30_000, opcode=0, fin=False),
        c.frame(b"a" * 30_000, opcode=0)])
    closes("a frame without a mask", 1002, lambda c: c.frame("{}", mask=False))
    closes("a continuation of nothing", 1002, lambda c: c.frame("{}", opcode=0))
    closes("an unknown opcode", 1002, lambda c: c.frame("{}", opcode=3))
    closes("binary", 1003, lambda c: c.frame(b"\x00", opcode=2))
    closes("text that is not UTF-8", 1007, lambda c: c.frame(b"\xff\xfe"))
    closes("the third message that says nothing", 1008,
           lambda c: [c.frame("{}"), c.frame("[]"), c.subscribe("gossip")])
    closes("the 21st message of a second", 1008, lambda c: [c.subscribe("quota") for _ in range(40)])


def check_slow(server, check):
    """Clients that do not read hold no more memory, and are told the newest when they do."""
    slow = []
    for _ in range(100):
        client = Connection(server, receive_bytes=4096)
        client.upgrade()
        client.subscribe("quota")
        slow.append(client)
    watcher = Connection(server)
    watcher.upgrade()
    watcher.subscribe("quota")
    poster = Connection(server)
    body = json.dumps({"camera_id": server.camera}).encode()

    def change(times):
        for _ in range(times):
            status, _, answer = poster.request(
                "POST", "/api/v1/stream/reserve", {"Content-Type": "application/json"}, body)
            reservation = json.loads(answer)
            poster.request("DELETE", f"/api/v1/stream/release/{reservation['reservation_id']}")
        return reservation["current_usage"]

    change(1000)
    before = server.rss_mb()
    change(4000)
    grown = server.rss_mb() - before
    check(grown < 8, "100 clients that do not read do not grow the memory", f"{grown:.1f} MB")
    # Another camera than those that a seat was taken of before.
    usage = json.loads(reserve(server, server.other)[2])["current_usage"]
    watcher.until("AGENCY_LIMIT_UPDATE", current=usage)
    check(all(client.until("AGENCY_LIMIT_UPDATE", current=usage) for client in slow[:10]),
          "they are told the newest state when they read again")


def check_limits(marsad, folder, check):
    server = Server(marsad, folder, "limits.address_burst=20", "limits.address_per_second=5",
                    "limits.request_seconds=2", "limits.idle_seconds=2",
                    "limits.connections_per_address=12", "http.trusted_proxies=127.0.0.0/8",
                    "http.operations_networks=10.0.0.0/8")
    try:
        client = Connection(server)
        answers = [client.request("GET", "/version", {"X-Forwarded-For": "203.0.113.7"})
                   for _ in range(40)]
        refused = [a for a in answers if a[0] == 429]
        check(18 <= 40 - len(refused) <= 30, "a burst is let through and no more",
              str(40 - len(refused)))
        check(refused and error_code(refused[0][2]) == "RATE_LIMIT_EXCEEDED"
              and int(refused[0][1]["retry-after"]) >= 1
              and json.loads(refused[0][2])["error"]["details"]["scope"] == "address",
              "the others hear 429 and when to come back")
        status, _, _ = client.request("GET", "/version", {"X-Forwarded-For": "203.0.113.8"})
        check(status == 200, "another client of the proxy is not in its way")
        lost = [client.request("GET", f"/nothing/{i}", {"X-Forwarded-For": "203.0.113.11"})[0]
                for i in range(40)]
        check(404 in lost and 429 in lost, "addresses where nothing is are counted", str(lost))
        status, _, body = client.request("GET", "/metrics", {"X-Forwarded-For": "203.0.113.9"})
        check((status, error_code(body)) == (403, "IP_NOT_ALLOWED"), "metrics are not for everybody")
        status, _, body = client.request("GET", "/metrics", {"X-Forwarded-For": "10.1.2.3"})
        check(status == 200 and b'cctv_rate_limit_hits_total{scope="address"}' in body,
              "but for the operations networks")
        begun = time.monotonic()
        dripping = Connection(server).send("GET /health HTTP/1.1\r\nHo")
        check(dripping.is_closed() and time.monotonic() - begun < 10, "half a request head times out")
        begun = time.monotonic()
        dripping = Connection(server).send(
            f"POST /api/v1/stream/reserve HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
            "Content-Type: application/json\r\n\r\n{")
        while time.monotonic() - begun < 10:
            try:
                dripping.send(" " if time.monotonic() - begun < 8 else "")
                if select.select([dripping.socket], [], [], 0.25)[0] and not dripping.more():
                    break
            except OSError:
                break
        check(time.monotonic() - begun < 6, "half a body times out, though it drips")
        early = Connection(server).send(
            "POST /api/v1/stream/reserve HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
            "Content-Type: text/plain\r\n\r\n")
        early.answer()
        early.send(" " * 100_000)
        check(early.is_closed(), "who was answered before the body had come is idle after it")
        deaf = Connection(server, receive_bytes=4096)
        whole = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.%d\r\n\r\n"
        deaf.send("".join(whole % (20 + i // 10) for i in range(100)))
        begun, ends = time.monotonic(), select.poll()
        # Of nothing but its end.
        ends.register(deaf.socket, 0)
        while not ends.poll(250) and time.monotonic() - begun < PATIENCE:
            try:
                deaf.send(whole % 30)
            except OSError:
                break
        check(time.monotonic() - begun < 10, "who takes nothing is left, though he asks on")
        answers = 0
        try:
            while deaf.answer()[0] == 200:
                answers += 1
        except (EOFError, OSError):
            pass
        check(answers < 100, "who takes nothing of many answers is left", str(answers))
        idle = Connection(server)
        idle.request("GET", "/health", {"X-Forwarded-For": "203.0.113.10"})
        check(idle.is_closed(), "an idle connection is closed")
    finally:
        check(server.stop() == 0, "the server with low limits ends with status 0")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--marsad", default=os.path.join(ROOT, ".build", "release", "marsad"))
    options = parser.parse_args()
    checks = Checks()
    check = checks.check
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.marsad, folder, "limits.address_burst=1000000",
                        "limits.address_per_second=1000000", "http.cors_origins=https://wall.example",
                        "http.allowed_hosts=wall.example")
        try:
            for part in [check_headers, check_sharing, check_requests, check_connections,
                         check_keys, check_upgrades, check_messages, check_slow]:
                part(server, check)
            open_socket = Connection(server)
            open_socket.upgrade()
            host = "HTTP/1.1\r\nHost: localhost\r\n"
            unfinished = [
                Connection(server, receive_bytes=4096).send(f"GET /openapi.json {host}\r\n" * 60),
                Connection(server).send(f"POST /api/v1/auth/token {host}Content-Length: 9\r\n\r\n{{")]
            # Their answers are under way.
            unfinished[0].answer()
            server.process.send_signal(signal.SIGTERM)
            check(open_socket.close_code() == 1001, "a socket hears 1001 when the server stops")
            open_socket.socket.close()
        finally:
            check(server.stop() == 0, "the server ends with status 0, whoever sends or takes no more")
            del unfinished
        check_limits(options.marsad, folder, check)
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
