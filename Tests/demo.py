# A demo that a test program starts, and its accounts.
# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request


class Demo:
    """A demo with its accounts, in a folder that outlives it."""

    def __init__(self, marsad, folder, *arguments):
        self.data = os.path.join(folder, "data")
        self.command = [marsad, "demo", "--json", "--http-port", "0", "--data", self.data,
                        "--set", "webrtc.port=0", *arguments]
        self.log = open(os.path.join(folder, "server.err"), "ab")
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.log)
        self.ready = json.loads(self.process.stdout.readline())
        self.url = self.ready["url"]
        self.port = int(self.url.rpartition(":")[2])
        self.passwords = {a["login_id"]: a["password"] for a in self.ready.get("accounts", [])}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def ask(self, method, path, body=None, token=None):
        """Status and JSON."""
        request = urllib.request.Request(self.url + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def token(self, login):
        _, grant = self.ask("POST", "/api/v1/auth/token",
                            {"login_id": login, "password": self.passwords[login]})
        return grant["access_token"]
