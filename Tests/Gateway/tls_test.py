# TLS as a client meets it: versions, headers, WebSockets, and certificates that change under load.
# SPDX-License-Identifier: Apache-2.0
"""Usage: tls_test.py [--marsad .build/release/marsad]

Starts a server of its own on a free port in a temporary folder, with an authority of its own; needs
Python and openssl. Prints one line a check and "N passed, N failed"; exits 1 on failure.
"""
import argparse
import base64
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))
from checks import Checks  # noqa: E402
from gateway_test import PATIENCE, ROOT  # noqa: E402
from accounts_test import until  # noqa: E402


class Authority:
    """Makes certificates, each with a serial number by which it is known again."""

    def __init__(self, folder):
        self.folder = folder
        self.root = self.path("root.pem")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-days", "2", "-subj", "/CN=Test authority", "-keyout", self.path("root.key"),
                     "-out", self.root)

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)

    def issue(self, serial, days="2", names="IP:127.0.0.1,DNS:localhost"):
        """The texts of a certificate with its authority's, and of its key."""
        request, key, made = self.path("r.csr"), self.path("r.key"), self.path("r.pem")
        self.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", "/CN=marsad", "-keyout", key, "-out", request)
        extensions = self.path("extensions")
        with open(extensions, "w") as file:
            file.write(f"subjectAltName={names}\n")
        self.openssl("x509", "-req", "-in", request, "-CA", self.root, "-CAkey", self.path("root.key"),
                     "-set_serial", str(serial), "-days", days, "-extfile", extensions, "-out", made)
        return [open(made).read() + open(self.root).read(), open(key).read()]


class Server:
    def __init__(self, marsad, folder, authority):
        self.certificate = os.path.join(folder, "server.pem")
        self.key = os.path.join(folder, "server.key")
        self.authority = authority
        self.write(*authority.issue(1))
        os.chmod(self.key, 0o600)
        self.log_path = os.path.join(folder, "server.err")
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [marsad, "serve", "--json", "--http-port", "0", "--data", os.path.join(folder, "data"),
             "--set", "webrtc.port=0", "--set", f"tls.certificate={self.certificate}",
             "--set", f"tls.key={self.key}", "--set", "limits.address_per_second=100000",
             "--set", "limits.requests_per_minute=1000000", "--set", "limits.address_burst=100000",
             # A connection that waits through all renewals is not to be closed for that.
             "--set", "limits.request_seconds=600"],
            stdout=subprocess.PIPE, stderr=self.log)
        self.url = json.loads(self.process.stdout.readline())["url"]
        self.port = int(self.url.rpartition(":")[2])
        self.trust = ssl.create_default_context(cafile=authority.root)

    def write(self, certificate=None, key=None):
        for path, text in ((self.certificate, certificate), (self.key, key)):
            if text is not None:
                with open(path, "w") as file:
                    file.write(text)

    def logged(self, event):
        with open(self.log_path) as file:
            return sum(f'"event":"{event}"' in line.replace(" ", "") for line in file)

    def connect(self, context=None):
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        return (context or self.trust).wrap_socket(raw, server_hostname="127.0.0.1")

    def serial(self):
        with self.connect() as connection:
            return int(connection.getpeercert()["serialNumber"], 16)

    def get(self, path):
        client = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=PATIENCE, context=self.trust)
        client.request("GET", path)
        answer = client.getresponse()
        body = answer.read()
        client.close()
        return answer, body

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def check_protocol(server, check):
    check(server.url.startswith("https://"), "the ready line names the address with https", server.url)
    answer, body = server.get("/health")
    check(answer.status == 200 and json.loads(body) == {"status": "ok"}, "an answer comes by TLS")
    check(answer.getheader("Strict-Transport-Security") == "max-age=31536000", "with HSTS",
          str(answer.getheaders()))
    for name in ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"):
        check(answer.getheader(name), f"and {name}")
    answer, page = server.get("/")
    check(answer.status == 200 and b"<html" in page, "the page comes")
    newest = server.connect()
    check(newest.version() == "TLSv1.3", "by TLS 1.3", str(newest.version()))
    newest.close()
    older = ssl.create_default_context(cafile=server.authority.root)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    with server.connect(older) as connection:
        check(connection.version() == "TLSv1.2" and connection.cipher()[0].startswith("ECDHE"),
              "or by 1.2 with forward secrecy", str(connection.cipher()))
    warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.1 is what is tried.
    for name, version, ciphers in [("TLS 1.1", ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
                                   ("a key exchange without forward secrecy",
                                    ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"),
                                   ("CBC", ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA")]:
        context = ssl.create_default_context(cafile=server.authority.root)
        context.minimum_version = min(version, ssl.TLSVersion.TLSv1_2)
        context.maximum_version = version
        context.set_ciphers(ciphers)
        try:
            server.connect(context).close()
            check(False, f"{name} is refused")
        except ssl.SSLError as error:
            check(True, f"{name} is refused", str(error))
    try:
        server.connect(ssl.create_default_context()).close()
        check(False, "who does not know the authority does not go on")
    except ssl.SSLCertVerificationError:
        check(True, "who does not know the authority does not go on")
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    plain.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    try:
        said = plain.recv(4096)
    except OSError:
        said = b""
    check(b"HTTP/1.1 200" not in said, "without TLS nothing is answered", str(said))
    plain.close()
    key = base64.b64encode(os.urandom(16)).decode()
    with server.connect() as connection:
        connection.sendall((
            f"GET /ws/updates HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nOrigin: https://127.0.0.1:{server.port}\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
        head = connection.recv(4096)
        check(head.startswith(b"HTTP/1.1 101"), "a WebSocket opens over TLS", str(head[:200]))
        connection.sendall(b"\x88\x82" + b"\0\0\0\0" + b"\x03\xe8")
        end = b""
        while chunk := connection.recv(4096):
            end += chunk
        check(b"\x88\x02\x03\xe8" in end, "and closes", str(end[-20:]))


def check_metric(server, check):
    text = server.get("/metrics")[1].decode()
    found = re.search(r"^cctv_tls_certificate_expiry_timestamp_seconds (\S+)$", text, re.MULTILINE)
    left = float(found.group(1)) - time.time() if found else 0
    check(0 < left < 3 * 86400, "a metric says when the certificate expires", str(left))


def check_reload(server, check):
    """Certificates change while clients ask without a pause."""
    authority = server.authority
    failures, answers, ending = [], [0], threading.Event()

    def ask(is_kept):
        client = None
        while not ending.is_set():
            try:
                client = client or http.client.HTTPSConnection(
                    "127.0.0.1", server.port, timeout=PATIENCE, context=server.trust)
                client.request("GET", "/health")
                answer = client.getresponse()
                answer.read()
                if answer.status != 200:
                    failures.append(answer.status)
                answers[0] += 1
                if not is_kept:
                    client.close()
                    client = None
            except Exception as error:  # Whatever it is, the request failed.
                failures.append(repr(error))
                client = None

    threads = [threading.Thread(target=ask, args=(index % 2 == 0,)) for index in range(8)]
    kept = server.connect()
    for thread in threads:
        thread.start()
    try:
        for serial in range(2, 5):
            certificate, key = authority.issue(serial)
            server.write(certificate)
            server.write(key=key)
            check(until(10, lambda: server.serial() == serial) is not None,
                  f"new files are taken while clients ask ({serial})")
        certificate, key = authority.issue(5)
        server.write(certificate, key)
        server.process.send_signal(signal.SIGHUP)
        check(until(10, lambda: server.serial() == 5) is not None, "also at SIGHUP")
        refused = server.logged("tls_refused")
        for sentence, broken in [("that is none", ["none", None]), ("without its file", [None, None]),
                                 ("of another key", [None, authority.issue(6)[1]]),
                                 ("that has expired", authority.issue(7, "0"))]:
            server.write(*broken)
            if broken == [None, None]:
                os.remove(server.key)
            server.process.send_signal(signal.SIGHUP)
            refused += 1
            check(until(10, lambda: server.logged("tls_refused") >= refused) is not None,
                  f"a certificate {sentence} is refused, and logged")
            check(server.serial() == 5, "and the one before it goes on")
            server.write(certificate, key)
            os.chmod(server.key, 0o600)
        server.write(*authority.issue(8))
        check(until(10, lambda: server.serial() == 8) is not None, "a good one is taken again")
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    check(not failures and answers[0] > 100,
          f"meanwhile none of {answers[0]} requests failed", str(failures[:3]))
    kept.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    check(kept.recv(4096).startswith(b"HTTP/1.1 200"), "a connection of before goes on")
    kept.close()
    check(server.logged("tls_key_readable") == 0, "a private key is kept quiet about")
    os.chmod(server.key, 0o644)
    server.process.send_signal(signal.SIGHUP)
    check(until(10, lambda: server.logged("tls_key_readable") == 1) is not None,
          "of one that everybody can read the log warns")


def check_configuration(marsad, folder, authority, check):
    certificate, key = os.path.join(folder, "c.pem"), os.path.join(folder, "k.pem")
    for path, text in zip((certificate, key), (authority.issue(1)[0], authority.issue(2)[1])):
        with open(path, "w") as file:
            file.write(text)
    for sentence, settings in [("without its key", {"tls.certificate": certificate}),
                               ("without its certificate", {"tls.key": key}),
                               ("of another key", {"tls.certificate": certificate, "tls.key": key}),
                               ("that is no file", {"tls.certificate": "/none", "tls.key": key})]:
        arguments = [marsad, "serve", "--http-port", "0", "--data", os.path.join(folder, "other")]
        for name, value in settings.items():
            arguments += ["--set", f"{name}={value}"]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
        check(done.returncode == 2 and "tls" in done.stderr, f"a certificate {sentence}: status 2",
              f"{done.returncode} {done.stderr}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--marsad", default=os.path.join(ROOT, ".build", "release", "marsad"))
    options = parser.parse_args()
    checks = Checks()
    check = checks.check
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder)
        check_configuration(options.marsad, folder, authority, check)
        server = Server(options.marsad, folder, authority)
        try:
            for part in [check_protocol, check_metric, check_reload]:
                try:
                    part(server, check)
                except Exception as error:  # The other parts run all the same.
                    check(False, f"{part.__name__} reaches its end", f"{type(error).__name__}: {error}")
        finally:
            check(server.stop() == 0, "the server ends with status 0")
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
