# Plays a camera through a real coturn, by nothing but the relay that the server names.
# SPDX-License-Identifier: Apache-2.0
"""Usage: turn_test.py [--marsad .build/release/marsad] [--frames 25] [--patience 90]

Starts coturn (Debian: coturn) and a demo server with one camera, all on loopback with free ports and in
a temporary folder. Needs aiortc. Prints one line a check and "N passed, N failed"; exits 1 on failure.
"""
import argparse
import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import aiortc
from aioice import stun, turn

# The folder above holds what the test programs share.
sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from checks import Checks  # noqa: E402

MARSAD = os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), ".build", "release",
    "marsad")
REALM = "relay.example"

COTURN = """
listening-ip=127.0.0.1
listening-port={port}
relay-ip=127.0.0.1
realm={realm}
use-auth-secret
static-auth-secret={secret}
allow-loopback-peers
no-cli
no-tcp
no-tls
no-dtls
no-rfc5780
no-software-attribute
userdb={folder}/turn.db
pidfile={folder}/turn.pid
log-file=stdout
"""


# MARK: Programs


@contextlib.contextmanager
def program(arguments, log):
    """A child process that ends with the block; stdout and stderr go to a file."""
    with open(log, "wb") as file:
        child = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def tail(log):
    with open(log, "rb") as file:
        return file.read()[-1500:].decode("utf-8", "replace")


def until(seconds, condition, child, log):
    """The first true answer of `condition`; SystemExit when there is none or the child has ended."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if child.poll() is not None:
            raise SystemExit(f"{log} ended early: {tail(log)}")
        if time.monotonic() > deadline:
            raise SystemExit(f"not ready after {seconds:.0f} s: {tail(log)}")
        time.sleep(0.1)


def free_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers_stun(port):
    """Whether a binding request (RFC 8489) is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.5)
        probe.connect(("127.0.0.1", port))
        try:
            probe.send(struct.pack("!HHI", 0x0001, 0, 0x2112A442) + secrets.token_bytes(12))
            return probe.recv(1500)[:2] == b"\x01\x01"
        except OSError:
            return False


def ready_line(log):
    with open(log, "rb") as file:
        for line in file.read().splitlines():
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict) and message.get("ready"):
                    return message
    return None


def request(method, url, body=None, headers=None):
    """Status, headers and body; never by a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with opener.open(asked, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.headers, problem.read()


# MARK: Credentials


def credential(secret, end, holder="somebody"):
    """User name and password as coturn computes them of its static-auth-secret."""
    username = f"{int(end)}:{holder}"
    code = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(code).decode()


def is_signed(secret, username, password):
    end, _, holder = username.partition(":")
    return end.isdigit() and credential(secret, end, holder) == (username, password)


def linked_servers(headers):
    """The ICE servers of a WHEP answer's Link headers, in the shape of the reservation's."""
    found = []
    for value in headers.get_all("Link") or []:
        url = re.match(r"<([^>]*)>", value)
        fields = dict(re.findall(r';\s*([\w-]+)="([^"]*)"', value))
        if url and fields.get("rel") == "ice-server" and fields.get("credential-type") == "password":
            found.append({
                "urls": url.group(1), "username": fields.get("username", ""),
                "credential": fields.get("credential", "")})
    return found


def is_same(reserved, linked, secret):
    """Each is signed when it is asked for, so the later one may end some seconds later."""
    if len(reserved) != len(linked) or not reserved:
        return False
    for first, second in zip(reserved, linked):
        first_end, _, first_holder = first["username"].partition(":")
        second_end, _, second_holder = second["username"].partition(":")
        if first["urls"] != second["urls"] or first_holder != second_holder:
            return False
        if not is_signed(secret, second["username"], second["credential"]):
            return False
        if not 0 <= int(second_end) - int(first_end) <= 60:
            return False
    return True


# MARK: Relays


async def allocate(port, username, password):
    """None when coturn grants a relay address, else the code of its refusal."""
    class Nothing(asyncio.DatagramProtocol):
        pass

    try:
        async with asyncio.timeout(15):
            transport, _ = await turn.create_turn_endpoint(
                Nothing, server_addr=("127.0.0.1", port), username=username, password=password)
    except stun.TransactionFailed as problem:
        return problem.response.attributes["ERROR-CODE"][0]
    except TimeoutError:
        return "no answer"
    transport.close()
    # Closing gives the address back, which takes an exchange of its own.
    await asyncio.sleep(0.3)
    return None


async def relay_only_peer(servers):
    """A peer connection whose offer holds relay candidates alone; and the types that it offers."""
    peer = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(
        iceServers=[aiortc.RTCIceServer(**server) for server in servers],
        iceTransportPolicy=aiortc.RTCIceTransportPolicy.RELAY))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    types = re.findall(r"(?m)^a=candidate:.* typ (\w+)", peer.localDescription.sdp)
    return peer, types


async def refused(checks, port, what, username, password):
    code = await allocate(port, username, password)
    checks.check(code == 401, f"coturn refuses {what} with 401", f"{code}")
    server = {
        "urls": f"turn:127.0.0.1:{port}?transport=udp", "username": username, "credential": password}
    types = []
    try:
        peer, types = await relay_only_peer([server])
        await peer.close()
    except (stun.TransactionError, ConnectionError) as problem:
        print(f"     (gathering ends with {problem!r})", flush=True)
    checks.check(types.count("relay") == 0, f"{what} gives a viewer no relay candidate", f"{types}")


async def watch(checks, options, url, port, secret):
    _, _, body = request("GET", f"{url}/api/v1/cameras?limit=1")
    camera = json.loads(body)["cameras"][0]["id"]
    asked_at = time.time()
    status, _, body = request(
        "POST", f"{url}/api/v1/stream/reserve", json.dumps({"camera_id": camera}).encode(),
        {"Content-Type": "application/json"})
    if not checks.check(status == 201, "a viewer reserves a stream", f"{status} {body[:200]!r}"):
        return
    grant = json.loads(body)
    servers = grant["ice_servers"]
    checks.check(
        [server["urls"] for server in servers] == [f"turn:127.0.0.1:{port}?transport=udp"],
        "the reservation names the configured relay", f"{[server['urls'] for server in servers]}")
    checks.check(
        servers and all(is_signed(secret, s["username"], s["credential"]) for s in servers),
        "its credential is signed with the shared secret")
    left = [int(server["username"].split(":")[0]) - asked_at for server in servers]
    checks.check(left and all(600 - 1 <= each <= 86_400 for each in left),
                 "its credential ends by itself, and not at once", f"after {left} s")
    for server in servers:
        code = await allocate(port, server["username"], server["credential"])
        checks.check(code is None, "coturn grants an address for it", f"{code}")

    peer, types = await relay_only_peer(servers)
    try:
        await play(checks, options, url, secret, grant, peer, types)
    finally:
        await peer.close()


async def play(checks, options, url, secret, grant, peer, types):
    checks.check(types and set(types) == {"relay"}, "the offer holds relay candidates alone", f"{types}")
    tracks = asyncio.Queue()
    peer.on("track", tracks.put_nowait)
    status, headers, body = await asyncio.to_thread(
        request, "POST", url + grant["transport"]["url"], peer.localDescription.sdp.encode(),
        {"Content-Type": "application/sdp", "Authorization": f"Bearer {grant['token']}"})
    if not checks.check(status == 201, "WHEP answers 201", f"{status} {body[:200]!r}"):
        return
    checks.check(
        is_same(grant["ice_servers"], linked_servers(headers), secret),
        "the Link header of the 201 names the same relay", f"{headers.get_all('Link')}")
    await peer.setRemoteDescription(aiortc.RTCSessionDescription(body.decode(), "answer"))
    frames, times = 0, []
    try:
        async with asyncio.timeout(options.patience):
            track = await tracks.get()
            while frames < options.frames:
                frame = await track.recv()
                frames += 1
                times.append(frame.time)
    except (TimeoutError, aiortc.mediastreams.MediaStreamError):
        pass
    checks.check(frames >= options.frames, f"{options.frames} frames were decoded", f"{frames}")
    checks.check(times and len(set(times)) == len(times), "each frame has a time of its own")
    ice = peer.getTransceivers()[0].receiver.transport.transport
    pairs = list(ice._connection._nominated.values())
    checks.check(
        pairs and all(pair.local_candidate.type == "relay" for pair in pairs),
        "the pair in use goes through the relay", f"{pairs}")
    status, _, _ = request(
        "DELETE", url + headers["Location"], headers={"Authorization": f"Bearer {grant['token']}"})
    checks.check(status == 200, "the viewer leaves", f"{status}")


def run(options, checks, folder):
    port, secret = free_udp_port(), secrets.token_urlsafe(24)
    coturn_log = os.path.join(folder, "coturn.log")
    configuration = os.path.join(folder, "turnserver.conf")
    with open(configuration, "w") as file:
        file.write(COTURN.format(port=port, realm=REALM, secret=secret, folder=folder))
    server_log = os.path.join(folder, "server.log")
    server_arguments = [
        options.marsad, "demo", "--no-accounts", "--json", "--cameras", "1", "--http-port", "0",
        "--data", os.path.join(folder, "data"), "--set", "webrtc.port=0",
        "--set", "webrtc.public_addresses=127.0.0.1",
        "--set", f"webrtc.turn_urls=turn:127.0.0.1:{port}?transport=udp",
        "--set", f"webrtc.turn_secret={secret}"]
    with program(["turnserver", "-c", configuration], coturn_log) as coturn, \
            program(server_arguments, server_log) as server:
        until(20, lambda: answers_stun(port), coturn, coturn_log)
        url = until(options.patience, lambda: ready_line(server_log), server, server_log)["url"]
        until(options.patience, lambda: json.loads(
            request("GET", f"{url}/api/v1/cameras?limit=1&status=ONLINE")[2])["total"] == 1,
            server, server_log)
        asyncio.run(watch(checks, options, url, port, secret))
        past = credential(secret, time.time() - 60)
        asyncio.run(refused(checks, port, "an expired credential", *past))
        wrong = credential(secret + "x", time.time() + 3600)
        asyncio.run(refused(checks, port, "a credential of another secret", *wrong))
        with open(server_log, "rb") as file:
            checks.check(secret.encode() not in file.read(), "the server's log does not hold the secret")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--marsad", default=MARSAD)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--patience", type=float, default=90)
    options = parser.parse_args()
    if shutil.which("turnserver") is None:
        print("coturn is needed (Debian: apt-get install coturn)", file=sys.stderr)
        return 1
    # A SIGTERM must pass the cleanup below, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    checks = Checks()
    folder = tempfile.mkdtemp(prefix="marsad-turn-")
    try:
        run(options, checks, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
