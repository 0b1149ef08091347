# Live viewing against programs of others: aiortc, GStreamer, Chromium, and plain HTTP.
# SPDX-License-Identifier: Apache-2.0
"""Usage: live_test.py --url http://127.0.0.1:8080 [--dead-camera ID] [--data FOLDER]
                    [--seed N] [--only http,aiortc,gstreamer,lossy,quality,restart,chromium]

Watches the cameras of a running server by WHEP. Starts nothing but viewers. Prints one line a check
and "N passed, N failed"; exits 1 on failure.
"""
import argparse
import asyncio
import contextlib
import http.client
import json
import pathlib
import random
import re
import secrets
import subprocess
import sys
import time
import urllib.parse

import aioice.ice
import aioice.stun
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

# The folder above holds what the test programs share.
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from checks import Checks  # noqa: E402
from chromium import chromium  # noqa: E402

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
MARSAD = pathlib.Path(__file__).resolve().parents[2] / ".build/release/marsad"
NOBODY = "00000000-0000-4000-8000-00000000dead"

# What a browser offers to receive, shortened; nothing ever answers at its end.
OFFER = "\r\n".join([
    "v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0",
    "a=msid-semantic: WMS", "m=video 9 UDP/TLS/RTP/SAVPF 96 97", "c=IN IP4 0.0.0.0",
    "a=rtcp:9 IN IP4 0.0.0.0", "a=ice-ufrag:tEsT", "a=ice-pwd:abcdefghijklmnopqrstuvwx",
    "a=ice-options:trickle", "a=fingerprint:sha-256 " + ":".join(["AB"] * 32), "a=setup:actpass",
    "a=mid:0", "a=recvonly", "a=rtcp-mux", "a=rtcp-rsize", "a=rtpmap:96 H264/90000",
    "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli",
    "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96", "",
])
AUDIO = "\r\n".join([
    "m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=ice-ufrag:tEsT",
    "a=ice-pwd:abcdefghijklmnopqrstuvwx", "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
    "a=setup:actpass", "a=mid:1", "a=recvonly", "a=rtcp-mux", "a=rtpmap:111 opus/48000/2", "",
])


class Answer:
    """An HTTP answer, read whole."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode(errors="replace")

    @property
    def code(self):
        """The error's code, when the body is an error of the contract's shape."""
        with contextlib.suppress(ValueError, KeyError, TypeError):
            error = json.loads(self.body)["error"]
            texts = [error[key] for key in ("code", "message_en", "message_ar", "request_id")]
            if all(isinstance(text, str) and text for text in texts):
                return error["code"]
        return None

    def __str__(self):
        return f"{self.status} {dict(self.headers)} {self.text[:200]}"


class Server:
    """The HTTP side of the server under test."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.url = url.rstrip("/")
        self.host, self.port = parts.hostname, parts.port or 80

    def ask(self, method, path, body=None, token=None, **headers):
        """One request; header names are written with _ for -."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            fields["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection(self.host, self.port, timeout=15)
        try:
            connection.request(method, path, body, fields)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def cameras(self):
        return json.loads(self.ask("GET", "/api/v1/cameras").body)["cameras"]

    def reserve(self, camera, quality="AUTO"):
        """The reservation's body."""
        answer = self.ask(
            "POST", "/api/v1/stream/reserve",
            json.dumps({"camera_id": camera, "quality": quality}), Content_Type="application/json")
        if answer.status != 201:
            raise RuntimeError(f"reserve: {answer}")
        return json.loads(answer.body)

    def release(self, reservation):
        return self.ask("DELETE", f"/api/v1/stream/release/{reservation['reservation_id']}")

    def metric(self, name):
        """The sum of a metric over its labels."""
        text = self.ask("GET", "/metrics").text
        lines = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for value in lines)


def whep(camera):
    return f"/api/v1/live/{camera}/whep"


# MARK: The status table


def check_refused(checks, server, sentence, status, code, method, path, *args, **headers):
    """The answer is this error, in the one shape of errors."""
    answer = server.ask(method, path, *args, **headers)
    checks.check(answer.status == status and answer.code == code,
                 f"{sentence}: {status} {code}", str(answer))
    return answer


def check_statuses(checks, server, camera, other):
    """Every refusal of POST; `other` is another camera."""
    path, reservation = whep(camera), server.reserve(camera)
    token, foreign = reservation["token"], server.reserve(other)

    def refused(sentence, status, code, offer, token=token, path=path, kind=SDP):
        return check_refused(checks, server, sentence, status, code, "POST", path, offer, token,
                             Content_Type=kind)

    missing = refused("POST without a token", 401, "MISSING_TOKEN", OFFER, None)
    checks.check(missing.headers["WWW-Authenticate"] == "Bearer", "… and says so")
    refused("POST with a token that is none", 401, "INVALID_TOKEN", OFFER, "0" * 48)
    refused("POST with another camera's token", 403, "FORBIDDEN", OFFER, foreign["token"])
    refused("POST for an unknown camera", 404, "CAMERA_NOT_FOUND", OFFER, path=whep(NOBODY))
    refused("POST for what is no camera id", 404, "CAMERA_NOT_FOUND", OFFER, path=whep("x"))
    refused("POST of JSON", 415, "UNSUPPORTED_MEDIA_TYPE", "{}", kind="application/json")
    without_type = server.ask("POST", path, OFFER, token)
    checks.check(without_type.status == 415, "POST without a media type: 415", str(without_type))
    for sentence, offer in [
        ("an empty offer", ""), ("text that is no SDP", "hello"), ("half an offer", OFFER[:300]),
        ("an offer to send", OFFER.replace("recvonly", "sendonly")),
        ("an inactive offer", OFFER.replace("recvonly", "inactive")),
        ("an offer without a fingerprint", re.sub(r"a=fingerprint.*\r\n", "", OFFER)),
        ("an offer without ICE credentials", re.sub(r"a=ice-(ufrag|pwd).*\r\n", "", OFFER)),
    ]:
        refused(f"POST of {sentence}", 400, "INVALID_SDP", offer)
    both = OFFER.replace("BUNDLE 0", "BUNDLE 0 1") + AUDIO
    for sentence, offer in [
        ("an offer without H.264", OFFER.replace("H264", "VP8")),
        ("H.264 in packetization mode 0 alone", OFFER.replace("tion-mode=1", "tion-mode=0")),
    ]:
        refused(f"POST of {sentence}", 422, "UNPROCESSABLE", offer)
    mute = server.ask("POST", path, both, token, Content_Type=SDP)
    checks.check(mute.status == 201 and mute.text.count("a=inactive\r\n") == 1
                 and "a=group:BUNDLE 0 1\r\n" in mute.text,
                 "POST with audio for a camera without sound: that section is inactive", str(mute))
    refused("POST of a megabyte", 413, "PAYLOAD_TOO_LARGE", OFFER + "a=x\r\n" * 200_000)
    server.release(reservation)
    server.release(foreign)


def check_session(checks, server, camera, other):
    """One session's life over HTTP: its answer, PATCH by its entity tags, DELETE."""
    reservation, path = server.reserve(camera), whep(camera)
    token = reservation["token"]
    checks.check(reservation["transport"] == {"kind": "whep", "url": path},
                 "a reservation names the address to post to", str(reservation["transport"]))
    answer = server.ask("POST", path, OFFER, token, Content_Type=f"{SDP}; charset=utf-8")
    session, etag = answer.headers["Location"] or "", answer.headers["ETag"] or ""
    checks.check(answer.status == 201 and answer.headers["Content-Type"] == SDP,
                 "POST: 201 with an SDP answer", str(answer))
    checks.check(re.fullmatch(re.escape(path) + "/[0-9a-f]{32,}", session),
                 "… Location is the session, of at least 128 random bits", session)
    checks.check(re.fullmatch('"[^"]+"', etag), "… ETag is a strong one", etag)
    for line in ("a=ice-lite", "a=setup:passive", "a=sendonly", "a=rtcp-mux", "a=mid:0",
                 "a=group:BUNDLE 0"):
        checks.check(f"\r\n{line}\r\n" in answer.text, f"… the answer says {line}")
    checks.check("a=candidate:" in answer.text and "\r\nm=video 9 " in answer.text,
                 "… the answer carries the server's candidates and accepts the video")

    candidate = "a=mid:0\r\na=candidate:1 1 udp 2130706431 %s 40000 typ host\r\n"
    head = "m=video 9 UDP/TLS/RTP/SAVPF 0\r\n"
    restart = "a=ice-ufrag:%s\r\na=ice-pwd:" + "p" * 24 + "\r\n" + head + "a=mid:0\r\n"

    def patch(fragment, token=token, kind=FRAGMENT, to=session, **headers):
        return server.ask("PATCH", to, fragment, token, Content_Type=kind, **headers)

    def expect(sentence, got, status, code):
        checks.check(got.status == status and got.code == code,
                     f"PATCH {sentence}: {status} {code}", str(got))

    local = head + candidate % "127.0.0.1"
    expect("without If-Match", patch(local), 428, "PRECONDITION_REQUIRED")
    expect("with a stale tag", patch(local, If_Match='"stale"'), 412, "PRECONDITION_FAILED")
    expect("without a token", patch(local, token=None, If_Match=etag), 401, "MISSING_TOKEN")
    expect("of another type", patch(local, kind=SDP, If_Match=etag), 415, "UNSUPPORTED_MEDIA_TYPE")
    expect("of what is no fragment", patch("hello", If_Match=etag), 400, "INVALID_SDP")
    expect("of a name without a password", patch("a=ice-ufrag:abcd\r\n", If_Match="*"), 400,
           "INVALID_SDP")
    expect("of an unknown session", patch(local, to=f"{path}/{'0' * 32}", If_Match=etag), 404,
           "NOT_FOUND")
    for sentence, text in [("a candidate", local), ("an mDNS one", head + candidate % "x-1.local")]:
        got = patch(text, If_Match=etag)
        checks.check(got.status == 204 and not got.body and got.headers["ETag"] is None,
                     f"PATCH of {sentence}: 204, no body, no ETag", str(got))
    stranger = server.reserve(camera)
    expect("of a session by another viewer of the camera",
           patch(local, token=stranger["token"], If_Match=etag), 404, "NOT_FOUND")
    got = patch(restart % "nEw1", If_Match="*")
    renewed = got.headers["ETag"] or ""
    checks.check(got.status == 200 and got.headers["Content-Type"] == FRAGMENT,
                 "PATCH of new ICE names with If-Match: *: 200 with a fragment", str(got))
    checks.check(all(word in got.text for word in (
        "a=ice-lite", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=end-of-candidates")),
        "… the fragment has new names and all candidates", got.text)
    checks.check(re.fullmatch('"[^"]+"', renewed) and renewed != etag, "… the ETag is a new one")
    expect("with the tag from before the restart", patch(local, If_Match=etag), 412,
           "PRECONDITION_FAILED")
    checks.check(patch(local, If_Match=renewed).status == 204, "PATCH with the new tag: 204")

    for method, status in (("HEAD", 200), ("GET", 204)):
        got = server.ask(method, session)
        checks.check(got.status == status and not got.body, f"{method} of the session: {status}",
                     str(got))
    foreign = server.ask("DELETE", session, None, stranger["token"])
    checks.check(foreign.status == 404, "DELETE by another viewer: 404", str(foreign))
    checks.check(server.ask("DELETE", session).status == 401, "DELETE without a token: 401")
    ended = server.ask("DELETE", session, None, token, If_Match='"anything"')
    checks.check(ended.status == 200, "DELETE: 200, whatever If-Match says", str(ended))
    again = server.ask("DELETE", session, None, token)
    checks.check(again.status == 404 and again.code == "NOT_FOUND", "DELETE again: 404", str(again))
    expect("of an ended session", patch(local, If_Match=renewed), 404, "NOT_FOUND")
    server.release(reservation)
    server.release(stranger)


def check_discovery(checks, server, camera):
    """What needs no token: preflights, HEAD, GET, and methods not taken."""
    path = whep(camera)
    for where, address in (("the endpoint", path), ("a session", f"{path}/{'0' * 32}")):
        got = server.ask(
            "OPTIONS", address, Origin="http://elsewhere.example",
            Access_Control_Request_Method="POST", Access_Control_Request_Headers="authorization")
        allowed = got.headers["Access-Control-Allow-Headers"] or ""
        methods = got.headers["Access-Control-Allow-Methods"] or ""
        checks.check(got.status == 200 and got.headers["Accept-Post"] == SDP,
                     f"OPTIONS of {where}: 200 with Accept-Post", str(got))
        checks.check(all(name in allowed for name in ("Authorization", "Content-Type", "If-Match"))
                     and all(name in methods for name in ("POST", "PATCH", "DELETE"))
                     and got.headers["Access-Control-Allow-Origin"] == "*",
                     "… pages of other origins may send what WHEP needs", str(got))
        exposed = (got.headers["Access-Control-Expose-Headers"] or "").split(", ")
        checks.check({"Location", "ETag", "Link"} <= set(exposed),
                     "… they may read Location, ETag and Link", str(exposed))
    head, get = server.ask("HEAD", path), server.ask("GET", path)
    checks.check(head.status == 200 and head.headers["Content-Type"] == SDP,
                 "HEAD of the endpoint: 200 of the SDP type", str(head))
    checks.check(get.status == 204 and not get.body, "GET of the endpoint: 204", str(get))
    for method, address in (("PUT", path), ("PATCH", path), ("PUT", f"{path}/x")):
        got = check_refused(checks, server, f"{method} of {address.rsplit('/', 1)[1]}", 405,
                            "METHOD_NOT_ALLOWED", method, address, "")
        checks.check("OPTIONS" in (got.headers["Allow"] or ""), "… Allow names what is taken",
                     str(got.headers["Allow"]))
    got = server.ask("POST", path, OFFER, Content_Type=SDP, Origin="http://elsewhere.example")
    checks.check(got.headers["Access-Control-Allow-Origin"] == "*",
                 "pages of other origins may read refusals too", str(got))


def check_reservations(checks, server, camera):
    def reserve(body):
        return ("POST", "/api/v1/stream/reserve", json.dumps(body))

    as_json = {"Content_Type": "application/json"}
    check_refused(checks, server, "reserving an unknown camera", 404, "CAMERA_NOT_FOUND",
                  *reserve({"camera_id": NOBODY}), **as_json)
    check_refused(checks, server, "reserving with an unknown key", 400, "INVALID_REQUEST",
                  *reserve({"camera_id": camera, "quallity": "HIGH"}), **as_json)
    check_refused(checks, server, "reserving with a form", 415, "UNSUPPORTED_MEDIA_TYPE",
                  *reserve({"camera_id": camera}), Content_Type="text/plain")
    reservation = server.reserve(camera)
    beat = server.ask("POST", f"/api/v1/stream/heartbeat/{reservation['reservation_id']}")
    left = json.loads(beat.body).get("ttl_seconds", 0) if beat.status == 200 else 0
    checks.check(0 < left <= 60, "a heartbeat prolongs a reservation", str(beat))
    session = server.ask(
        "POST", whep(camera), OFFER, reservation["token"], Content_Type=SDP).headers["Location"]
    checks.check(server.release(reservation).status == 204, "releasing: 204")
    checks.check(server.release(reservation).status == 204, "releasing twice: 204")
    check_refused(checks, server, "a heartbeat after the release", 404, "RESERVATION_NOT_FOUND",
                  "POST", f"/api/v1/stream/heartbeat/{reservation['reservation_id']}")
    check_refused(checks, server, "a heartbeat of none", 404, "RESERVATION_NOT_FOUND",
                  "POST", f"/api/v1/stream/heartbeat/{NOBODY}")
    check_refused(checks, server, "a released token", 401, "INVALID_TOKEN", "POST", whep(camera),
                  OFFER, reservation["token"], Content_Type=SDP)
    check_refused(checks, server, "a session of a released reservation", 401, "INVALID_TOKEN",
                  "DELETE", session or whep(camera) + "/0", None, reservation["token"])


def check_dead(checks, server, camera):
    reservation = server.reserve(camera)
    got = check_refused(checks, server, "POST for a camera that is down", 409, "CAMERA_UNAVAILABLE",
                        "POST", whep(camera), OFFER, reservation["token"], Content_Type=SDP)
    checks.check((got.headers["Retry-After"] or "").isdigit(), "… with Retry-After", str(got))
    server.release(reservation)


# MARK: WHIP


def add_publisher(data):
    """A camera that publishes: its id and its token."""
    added = subprocess.run(
        [MARSAD, "camera", "add", "--whip", "--name", "An encoder", "--no-recording", "--data",
         data, "--json"], capture_output=True, text=True, timeout=30, check=True)
    body = json.loads(added.stdout)
    return body["id"], body["token"]


def check_whip(checks, server, viewed, data):
    """A publisher's session over HTTP: every refusal, PATCH by its entity tags, DELETE."""
    camera, token = add_publisher(data)
    path, offer = f"/api/v1/ingest/{camera}/whip", OFFER.replace("recvonly", "sendonly")

    def post(offer=offer, token=token, path=path, kind=SDP):
        return server.ask("POST", path, offer, token, Content_Type=kind)

    # The server takes a new camera within seconds; until then it is none, or is not ready.
    deadline = time.monotonic() + 30
    while (early := post("", token)).status in (404, 503) and time.monotonic() < deadline:
        time.sleep(0.2)
    checks.check(early.status == 400, "a new camera can be published soon", str(early))

    def refused(sentence, status, code, **arguments):
        got = post(**arguments)
        checks.check(got.status == status and got.code == code,
                     f"POST of a publisher {sentence}: {status} {code}", str(got))
        return got

    foreign = server.reserve(viewed)
    refused("without a token", 401, "MISSING_TOKEN", token=None)
    refused("with a viewer's token", 401, "INVALID_TOKEN", token=foreign["token"])
    refused("to a camera with an address", 401, "INVALID_TOKEN", path=path.replace(camera, viewed))
    refused("to an unknown camera", 401, "INVALID_TOKEN", path=path.replace(camera, NOBODY))
    refused("of JSON", 415, "UNSUPPORTED_MEDIA_TYPE", kind="application/json")
    refused("of a megabyte", 413, "PAYLOAD_TOO_LARGE", offer=offer + "a=x\r\n" * 200_000)
    refused("who offers to receive", 400, "INVALID_SDP", offer=OFFER)
    refused("of half an offer", 400, "INVALID_SDP", offer=offer[:300])
    refused("without H.264", 422, "UNPROCESSABLE", offer=offer.replace("H264", "VP8"))

    answer = post()
    session, etag = answer.headers["Location"] or "", answer.headers["ETag"] or ""
    checks.check(answer.status == 201 and answer.headers["Content-Type"] == SDP
                 and "\r\na=recvonly\r\n" in answer.text,
                 "POST of a publisher: 201 with an answer that receives", str(answer))
    checks.check(re.fullmatch(re.escape(path) + "/[0-9a-f]{32,}", session)
                 and re.fullmatch('"[^"]+"', etag), "… with Location and ETag", str(answer))
    second = refused("beside another one", 409, "CONFLICT")
    checks.check((second.headers["Retry-After"] or "").isdigit(), "… with Retry-After",
                 str(second))

    def patch(sentence, status, code, fragment, token=token, to=session, kind=FRAGMENT, **headers):
        got = server.ask("PATCH", to, fragment, token, Content_Type=kind, **headers)
        checks.check(got.status == status and got.code == code,
                     f"PATCH of a publisher {sentence}: {status} {code or ''}", str(got))
        return got

    candidate = ("m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
                 "a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host\r\n")
    patch("without If-Match", 428, "PRECONDITION_REQUIRED", candidate)
    patch("with a stale tag", 412, "PRECONDITION_FAILED", candidate, If_Match='"stale"')
    patch("of another type", 415, "UNSUPPORTED_MEDIA_TYPE", candidate, kind=SDP, If_Match=etag)
    patch("with a viewer's token", 401, "INVALID_TOKEN", candidate, token=foreign["token"],
          If_Match=etag)
    patch("of an unknown session", 404, "NOT_FOUND", candidate, to=f"{path}/{'0' * 32}",
          If_Match=etag)
    patch("of a megabyte", 413, "PAYLOAD_TOO_LARGE", candidate + "a=x\r\n" * 200_000,
          If_Match=etag)
    patch("with a candidate", 204, None, candidate, If_Match=etag)
    got = patch("with new names", 200, None, restart_body("nEw2", "p" * 24), If_Match=etag)
    checks.check((got.headers["ETag"] or etag) != etag, "… with a new ETag", str(got))
    patch("with the tag from before", 412, "PRECONDITION_FAILED", candidate, If_Match=etag)

    def delete(sentence, status, token, to=session):
        got = server.ask("DELETE", to, None, token)
        checks.check(got.status == status, f"DELETE of a publisher {sentence}: {status}", str(got))

    delete("without a token", 401, None)
    delete("with a viewer's token", 401, foreign["token"])
    delete("of an unknown session", 404, token, f"{path}/{'0' * 32}")
    delete("by itself", 200, token)
    delete("again", 404, token)
    again = post()
    checks.check(again.status == 201, "… and the next one is taken at once", str(again))
    delete("by itself", 200, token, again.headers["Location"] or path)
    for method, address, status in (("OPTIONS", path, 200), ("HEAD", path, 200),
                                    ("GET", path, 204), ("GET", session, 204), ("PUT", path, 405)):
        got = server.ask(method, address)
        checks.check(got.status == status, f"{method} where one publishes: {status}", str(got))
    server.release(foreign)
    subprocess.run([MARSAD, "camera", "remove", camera, "--data", data], capture_output=True,
                   timeout=30, check=True)


# MARK: aiortc

_host_addresses = aioice.ice.get_host_addresses


def _addresses_or_loopback(use_ipv4, use_ipv6):
    """aioice passes the loopback address over, which may be all a machine has."""
    return _host_addresses(use_ipv4, use_ipv6) or ["127.0.0.1"]


aioice.ice.get_host_addresses = _addresses_or_loopback


class Viewer:
    """One camera watched with aiortc."""

    def __init__(self, server, camera, quality="AUTO"):
        self.server = server
        self.camera = camera
        self.quality = quality
        self.peer = RTCPeerConnection()
        self.reservation = None
        self.session = None
        self.times = []
        self.sizes = set()
        self.size = None
        self.ended = asyncio.Event()
        self.reader = None
        self.peer.addTransceiver("video", direction="recvonly")
        self.peer.on("track", self._track)

    def _track(self, track):
        self.reader = asyncio.ensure_future(self._read(track))

    async def _read(self, track):
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self.times.append(time.monotonic())
                self.size = (frame.width, frame.height)
                self.sizes.add(self.size)
        self.ended.set()

    async def join(self, rewrite=lambda answer: answer):
        """Reserves, posts the offer, and takes the answer as `rewrite` returns it."""
        await self.peer.setLocalDescription(await self.peer.createOffer())
        self.reservation = await asyncio.to_thread(
            self.server.reserve, self.camera, self.quality)
        self.token = self.reservation["token"]
        answer = await asyncio.to_thread(
            self.server.ask, "POST", whep(self.camera), self.peer.localDescription.sdp,
            self.token, Content_Type=SDP)
        if answer.status != 201:
            raise RuntimeError(f"POST: {answer}")
        self.session = answer.headers["Location"]
        await self.peer.setRemoteDescription(
            RTCSessionDescription(sdp=rewrite(answer.text), type="answer"))

    async def frames(self, count, seconds):
        """Whether that many frames were decoded within the time."""
        deadline = time.monotonic() + seconds
        while len(self.times) < count and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return len(self.times) >= count

    async def sees(self, size, seconds):
        """Seconds until a frame of this size came, or None when none did within the time."""
        begun = time.monotonic()
        while self.size != size and time.monotonic() - begun < seconds:
            await asyncio.sleep(0.05)
        return time.monotonic() - begun if self.size == size else None

    async def keeps_flowing(self, seconds, pause):
        """Whether, for so long from now, no pause between frames was longer; and the longest."""
        begun = time.monotonic()
        await asyncio.sleep(seconds)
        return self.longest_pause(begun) <= pause, self.longest_pause(begun)

    def longest_pause(self, since):
        times = [since, *(t for t in self.times if t >= since), time.monotonic()]
        return max(b - a for a, b in zip(times, times[1:]))

    async def lost(self):
        stats = await self.peer.getStats()
        return sum(s.packetsLost for s in stats.values() if s.type == "inbound-rtp")

    async def leave(self):
        if self.session:
            await asyncio.to_thread(
                self.server.ask, "DELETE", self.session, None, self.token)
        await self.peer.close()
        if self.reader:
            self.reader.cancel()
        if self.reservation:
            await asyncio.to_thread(self.server.release, self.reservation)


PROFILES = {"42": "Baseline", "4D": "Main", "64": "High"}


def profile_of(camera):
    """The profile's name, from a codec field like avc1.64001F."""
    return PROFILES.get(camera["codec"].partition(".")[2][:2].upper(), camera["codec"])


async def check_aiortc(checks, server, camera):
    name, viewer = f"aiortc ({profile_of(camera)} profile)", Viewer(server, camera["id"])
    try:
        await viewer.join()
        begun = time.monotonic()
        enough = await viewer.frames(75, 20)
        checks.check(enough, f"{name} decodes 75 frames", f"{len(viewer.times)} frames")
        if not viewer.times:
            return
        print(f"     first frame decoded {viewer.times[0] - begun:.2f} s after the answer")
        width, height = (int(n) for n in camera["resolution"].split("x"))
        checks.check(viewer.sizes == {(width, height)}, f"{name} sees the camera's size",
                     f"{viewer.sizes}, not {camera['resolution']}")
        lost = await viewer.lost()
        checks.check(lost == 0, f"{name} loses no packet", f"{lost} lost")
        stats = json.loads((await asyncio.to_thread(
            server.ask, "GET", "/api/v1/stream/stats")).body)
        checks.check(stats["total"]["viewers"] >= 1, "the viewer is counted in the statistics",
                     str(stats))
    finally:
        await viewer.leave()


async def check_release(checks, server, camera):
    """A released reservation ends what was watched with it within a second."""
    viewer = Viewer(server, camera["id"])
    try:
        await viewer.join()
        if not checks.check(await viewer.frames(10, 20), "a viewer watches before its release"):
            return
        released = time.monotonic()
        await asyncio.to_thread(server.release, viewer.reservation)
        await asyncio.sleep(3)
        late = [t - released for t in viewer.times if t > released + 1]
        checks.check(not late, "frames stop within 1 s of the release",
                     f"{len(late)} later ones, the last after {max(late, default=0):.2f} s")
        checks.check(viewer.peer.connectionState in ("closed", "failed"),
                     "… and the viewer is told that the session is over",
                     viewer.peer.connectionState)
    finally:
        await viewer.leave()


# MARK: A bad network


class Relay:
    """`marsad simulate network` between viewers and the server: 5 % loss, 50 ms, both ways."""

    TREATMENT = ("--loss", "5%", "--delay", "50ms", "--reorder", "5%", "--duplicate", "2%")

    def __init__(self, seed, target):
        self.process = subprocess.Popen(
            [MARSAD, "simulate", "network", "--to", f"{target[0]}:{target[1]}", "--seed",
             str(seed), "--json", *self.TREATMENT],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        ready = json.loads(self.process.stdout.readline())
        self.address = ("127.0.0.1", int(ready["url"].rpartition(":")[2]))

    def close(self):
        """Ends it; answers what it did."""
        self.process.terminate()
        _, said = self.process.communicate(timeout=10)
        return said.strip().splitlines()[-1]

    def rewrite(self, answer):
        """The answer with this relay as its one candidate."""
        lines = [line for line in answer.split("\r\n") if not line.startswith("a=candidate:")]
        place = next(i for i, line in enumerate(lines) if line.startswith("a=mid:"))
        host, port = self.address
        lines.insert(place, f"a=candidate:1 1 udp 2130706431 {host} {port} typ host")
        return "\r\n".join(lines)


def media_address(server, camera):
    """Where the server's media port is, from an answer that nobody takes up."""
    reservation = server.reserve(camera)
    answer = server.ask("POST", whep(camera), OFFER, reservation["token"], Content_Type=SDP)
    server.release(reservation)
    found = re.search(r"a=candidate:\S+ 1 udp \d+ ([\d.]+) (\d+) ", answer.text)
    return found[1], int(found[2])


async def check_lossy(checks, server, camera, seed):
    """Video keeps flowing over a bad network. aiortc asks for what is lost only when another gap
    shows, and waits for it until 128 later packets came: its pauses are longer than a browser's."""
    print(f"     seed {seed}")
    resent = await asyncio.to_thread(server.metric, "cctv_webrtc_retransmits_total")
    target = await asyncio.to_thread(media_address, server, camera["id"])
    relay, viewer = Relay(seed, target), Viewer(server, camera["id"])
    try:
        await viewer.join(relay.rewrite)
        if not checks.check(await viewer.frames(1, 20), "a first frame crosses the bad network"):
            return
        flows, pause = await viewer.keeps_flowing(10, 3.0)
        print(f"     {len(viewer.times)} frames, longest pause {pause:.2f} s")
        checks.check(flows, "no pause between frames is longer than 3 s in 10 s", f"{pause:.2f} s")
        checks.check(len(viewer.times) > 100, "frames keep being decoded",
                     f"{len(viewer.times)} in 10 s")
    finally:
        await viewer.leave()
        print(f"     {relay.close()}")
    now = await asyncio.to_thread(server.metric, "cctv_webrtc_retransmits_total")
    print(f"     {now - resent:.0f} packets resent")
    checks.check(now > resent, "resent packets are counted")


# MARK: Quality

MOVES = "cctv_webrtc_quality_switches_total"


class Downlink(Relay):
    """Loses a share of what the server sends, and nothing else; the share changes while it runs."""

    def __init__(self, seed, target):
        self.random, self.target, self.loss = random.Random(seed), target, 0
        self.client = self.near = self.far = None

    async def start(self):
        loop, host = asyncio.get_running_loop(), "127.0.0.1"
        self.near, _ = await loop.create_datagram_endpoint(
            lambda: Side(self._from_client), local_addr=(host, 0))
        self.far, _ = await loop.create_datagram_endpoint(
            lambda: Side(self._from_server), remote_addr=self.target)
        self.address = self.near.get_extra_info("sockname")

    def _from_client(self, data, address):
        self.client = address
        self.far.sendto(data)

    def _from_server(self, data, _address):
        if self.client and self.random.random() >= self.loss:
            self.near.sendto(data, self.client)

    def close(self):
        for side in (self.near, self.far):
            if side:
                side.close()


class Side(asyncio.DatagramProtocol):
    def __init__(self, receive):
        self.receive = receive

    def datagram_received(self, data, address):
        self.receive(data, address)


async def check_quality(checks, server, camera, seed):
    """A viewer who loses a quarter of the packets is moved to the sub-stream, and comes back. aiortc
    shows the first small picture seconds after the move: it waits for what was lost before it."""
    target = await asyncio.to_thread(media_address, server, camera["id"])
    relay, viewer = Downlink(seed, target), Viewer(server, camera["id"])
    large = tuple(int(n) for n in camera["resolution"].split("x"))
    small = tuple(n // 4 * 2 for n in large)
    try:
        await relay.start()
        await viewer.join(relay.rewrite)
        if not checks.check(await viewer.sees(large, 20), "a viewer begins with the main stream"):
            return
        relay.loss, begun = 0.25, time.monotonic()
        before = moved = await asyncio.to_thread(server.metric, MOVES)
        while moved == before and time.monotonic() - begun < 15:
            await asyncio.sleep(0.1)
            moved = await asyncio.to_thread(server.metric, MOVES)
        took = time.monotonic() - begun
        checks.check(moved > before and took <= 10,
                     "one who loses a quarter of all packets is moved to the sub-stream within 10 s",
                     f"{took:.1f} s")
        checks.check(await viewer.sees(small, 20), "… and sees it", str(viewer.sizes))
        streams = [c["stream"] for c in await asyncio.to_thread(server.cameras)
                   if c["id"] == camera["id"]]
        checks.check(streams[0].get("sub", {}).get("resolution") == f"{small[0]}x{small[1]}",
                     "… and the camera's state shows it", str(streams))
        relay.loss = 0
        back = await viewer.sees(large, 40)
        checks.check(back is not None, "… and the main stream again when the loss is over",
                     str(viewer.sizes))
        print(f"     down after {took:.1f} s, up after {back or 0:.1f} s (seed {seed})")
        flows, pause = await viewer.keeps_flowing(3, 1.0)
        checks.check(flows, "… and frames keep flowing", f"pause of {pause:.2f} s")
    finally:
        await viewer.leave()
        relay.close()
    for quality, size in (("LOW", small), ("MEDIUM", small), ("HIGH", large)):
        viewer = Viewer(server, camera["id"], quality)
        try:
            await viewer.join()
            checks.check(await viewer.sees(size, 20), f"{quality} is {size[0]}x{size[1]}",
                         str(viewer.sizes))
        finally:
            await viewer.leave()


# MARK: ICE restart


def restart_body(ufrag, password):
    return (f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n"
            "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n")


async def check_restart(checks, server, camera):
    """aiortc cannot restart ICE by itself: its transport is given the new names by hand."""
    viewer = Viewer(server, camera["id"])
    try:
        await viewer.join()
        if not checks.check(await viewer.frames(25, 20), "a viewer watches before its ICE restart"):
            return
        ufrag, password = secrets.token_hex(4), secrets.token_hex(12)
        answer = await asyncio.to_thread(
            server.ask, "PATCH", viewer.session, restart_body(ufrag, password), viewer.token,
            Content_Type=FRAGMENT, If_Match="*")
        checks.check(answer.status == 200, "PATCH of new names while watching: 200", str(answer))
        flows, pause = await viewer.keeps_flowing(2, 1.0)
        checks.check(flows, "frames keep flowing by the old names until new ones are proven",
                     f"pause of {pause:.2f} s")
        ice = viewer.peer.getReceivers()[0].transport.transport.iceGatherer._connection
        ice._local_username, ice._local_password = ufrag, password
        ice.remote_username = re.search(r"a=ice-ufrag:(\S+)", answer.text)[1]
        ice.remote_password = re.search(r"a=ice-pwd:(\S+)", answer.text)[1]
        pair = ice._nominated[1]
        try:
            await pair.protocol.request(
                ice.build_request(pair, nominate=True), pair.remote_addr,
                integrity_key=ice.remote_password.encode())
            proven = True
        except aioice.stun.TransactionError as error:
            proven = error
        checks.check(proven is True, "a nominating check with the new names is answered",
                     str(proven))
        # Longer than a session lives without a sign of life.
        flows, pause = await viewer.keeps_flowing(8, 1.0)
        checks.check(flows, "frames keep flowing for 8 s after the restart",
                     f"pause of {pause:.2f} s")
        stranger = secrets.token_hex(4)
        again = await asyncio.to_thread(
            server.ask, "PATCH", viewer.session, restart_body(stranger, password), viewer.token,
            Content_Type=FRAGMENT, If_Match='"stale"')
        checks.check(again.status == 412, "a stale restart: 412", str(again))
        flows, pause = await viewer.keeps_flowing(1, 0.8)
        checks.check(flows, "… and it changes nothing", f"pause of {pause:.2f} s")
    finally:
        await viewer.leave()


# MARK: GStreamer


def check_gstreamer(checks, server, camera):
    """webrtcbin in the system's Python, where GStreamer's bindings are installed."""
    reservation = server.reserve(camera["id"])
    script = pathlib.Path(__file__).with_name("gstreamer_viewer.py")
    name = f"GStreamer ({profile_of(camera)} profile)"
    try:
        done = subprocess.run(
            ["/usr/bin/python3", script, "--whep", server.url + whep(camera["id"]), "--token",
             reservation["token"], "--frames", "75"],
            capture_output=True, text=True, timeout=60, check=False)
    finally:
        server.release(reservation)
    try:
        report = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        checks.check(False, f"{name} runs", (done.stdout + done.stderr)[-400:])
        return
    checks.check(report["frames"] >= 75, f"{name} decodes 75 frames", str(report))
    checks.check(f"{report['width']}x{report['height']}" == camera["resolution"],
                 f"{name} sees the camera's size", str(report))
    checks.check(report["packets_received"] and report["packets_lost"] == 0,
                 f"{name} loses no packet", str(report))
    checks.check(report["error"] is None, f"{name} ends its session without an error", str(report))
    print(f"     first frame decoded {report['first_frame_seconds']} s after the offer")


# MARK: Chromium

PAGE = "data:text/html,<title>viewer</title><body></body>"

PLAY = """
const [url, token, relay, transport] = arguments, done = arguments[arguments.length - 1];
const head = {Authorization: 'Bearer ' + token};
const fragment = {...head, 'Content-Type': 'application/trickle-ice-sdpfrag'};
const state = window.state = {times: [], states: [], trickled: [], error: null};
(async () => {
  const pc = state.pc = new RTCPeerConnection();
  pc.addTransceiver('video', {direction: 'recvonly'});
  pc.oniceconnectionstatechange = () => state.states.push(pc.iceConnectionState);
  const video = document.createElement('video');
  video.muted = true; document.body.append(video);
  pc.ontrack = e => { video.srcObject = new MediaStream([e.track]); video.play(); };
  const frame = () => {
    state.times.push(performance.now()); video.requestVideoFrameCallback(frame);
  };
  video.requestVideoFrameCallback(frame);
  const found = [];
  pc.onicecandidate = e => { if (e.candidate) found.push(e.candidate.candidate); };
  const offer = await pc.createOffer();
  await pc.setLocalDescription(offer);
  const answer = await fetch(url, {method: 'POST', body: offer.sdp,
                                   headers: {...head, 'Content-Type': 'application/sdp'}});
  if (answer.status != 201) throw new Error('POST: ' + answer.status + await answer.text());
  state.session = new URL(answer.headers.get('Location'), url).href;
  state.etag = answer.headers.get('ETag'); state.answer = await answer.text();
  if (transport) {
    // As if a network let nothing else through.
    state.answer = state.answer.split('\\r\\n').filter(
      l => !l.startsWith('a=candidate:') || l.split(' ')[2] == transport).join('\\r\\n');
  }
  if (relay) {
    const candidate = `a=candidate:1 1 udp 2130706431 ${relay[0]} ${relay[1]} typ host\\r\\n`;
    state.answer = state.answer.replace(/a=candidate:.*\\r\\n/g, '')
      .replace(/a=mid:/, candidate + 'a=mid:');
  }
  await pc.setRemoteDescription({type: 'answer', sdp: state.answer});
  state.video = video;
  await new Promise(r => setTimeout(r, 300));
  const lines = found.map(c => 'a=' + c + '\\r\\n').join('');
  if (found.length) state.trickled.push((await fetch(state.session, {method: 'PATCH',
    headers: {...fragment, 'If-Match': state.etag},
    body: 'm=video 9 UDP/TLS/RTP/SAVPF 0\\r\\na=mid:0\\r\\n' + lines})).status);
})().then(() => done(null), e => done(String(e)));
"""

RESTART = """
const token = arguments[0], done = arguments[arguments.length - 1], state = window.state;
const value = (sdp, name) => sdp.match(new RegExp('a=' + name + ':(\\\\S+)'))[1];
(async () => {
  const pc = state.pc;
  state.restarted = performance.now();
  pc.restartIce();
  await pc.setLocalDescription();
  const mine = pc.localDescription.sdp;
  state.fragment = value(mine, 'ice-ufrag');
  const reply = await fetch(state.session, {method: 'PATCH', headers: {
      Authorization: 'Bearer ' + token, 'If-Match': '*',
      'Content-Type': 'application/trickle-ice-sdpfrag'},
    body: `a=ice-ufrag:${state.fragment}\\r\\na=ice-pwd:${value(mine, 'ice-pwd')}\\r\\n` +
          'm=video 9 UDP/TLS/RTP/SAVPF 0\\r\\na=mid:0\\r\\n'});
  if (reply.status != 200) throw new Error('PATCH: ' + reply.status + await reply.text());
  const etag = reply.headers.get('ETag'), theirs = await reply.text();
  state.renewed = etag != null && etag != state.etag;
  const sdp = state.answer
    .replace(/a=ice-ufrag:\\S+/g, 'a=ice-ufrag:' + value(theirs, 'ice-ufrag'))
    .replace(/a=ice-pwd:\\S+/g, 'a=ice-pwd:' + value(theirs, 'ice-pwd'));
  await pc.setRemoteDescription({type: 'answer', sdp});
})().then(() => done(null), e => done(String(e)));
"""

READ = """
const done = arguments[arguments.length - 1], state = window.state;
(async () => {
  const all = [...(await state.pc.getStats()).values()];
  const transport = all.find(s => s.type == 'transport') ?? {};
  const pair = all.find(s => s.id == transport.selectedCandidatePairId) ?? {};
  const local = all.find(s => s.id == pair.localCandidateId) ?? {};
  const inbound = all.find(s => s.type == 'inbound-rtp') ?? {};
  const since = state.restarted ?? state.times[0];
  const times = [since, ...state.times.filter(t => t > since), performance.now()];
  return {frames: state.times.length, decoded: inbound.framesDecoded, lost: inbound.packetsLost,
          size: state.video.videoWidth + 'x' + state.video.videoHeight, trickled: state.trickled,
          ice: state.pc.iceConnectionState, states: state.states, renewed: state.renewed,
          selected: local.usernameFragment, fragment: state.fragment, protocol: local.protocol,
          pause: Math.max(...times.slice(1).map((t, i) => t - times[i])) / 1000};
})().then(done, e => done({error: String(e)}));
"""


def pause_of(state):
    """The longest pause between frames that the page saw; long when it saw none."""
    return state["pause"] if state.get("pause") is not None else 99.0


def check_chromium(checks, server, camera, seed):
    """A page of another origin plays, restarts ICE by its own API, and plays over a bad network."""
    reservation, name = server.reserve(camera["id"]), f"Chromium ({profile_of(camera)} profile)"
    try:
        with chromium(PAGE) as driver:
            for transport in ("udp", "tcp"):
                play_in(driver, checks, server, camera, reservation["token"], name, transport)
                driver.get("about:blank")
                driver.get(PAGE)
            play_lossy(driver, checks, server, camera, reservation["token"], seed)
    finally:
        server.release(reservation)


def play_in(driver, checks, server, camera, token, name, transport):
    name = f"{name} over {transport.upper()}"
    error = driver.execute_async_script(
        PLAY, server.url + whep(camera["id"]), token, None, transport)
    if not checks.check(error is None, f"{name} joins by WHEP from another origin", error):
        return

    def read_until(seconds, condition):
        deadline = time.monotonic() + seconds
        while True:
            now = driver.execute_async_script(READ)
            if condition(now) or time.monotonic() > deadline:
                return now
            time.sleep(0.25)

    now = read_until(15, lambda n: (n.get("decoded") or 0) >= 75)
    checks.check((now.get("decoded") or 0) >= 75, f"{name} decodes 75 frames", str(now))
    checks.check(now.get("size") == camera["resolution"], f"{name} sees the camera's size",
                 str(now))
    checks.check(now.get("lost") == 0, f"{name} loses no packet", str(now))
    checks.check(now.get("protocol") == transport, f"{name} uses no other transport", str(now))
    checks.check(now.get("trickled") in ([204], []), f"{name}'s candidates are taken: 204",
                 str(now))
    error = driver.execute_async_script(RESTART, token)
    if not checks.check(error is None, f"{name} restarts ICE by PATCH", error):
        return
    checks.check(read_until(0, bool).get("renewed"), "… and reads the new ETag")
    now = read_until(8, lambda n: n.get("selected") == n.get("fragment"))
    checks.check(now.get("selected") == now.get("fragment"), "… its new names carry the media",
                 str(now))
    time.sleep(6)
    now = read_until(0, bool)
    checks.check(pause_of(now) < 1.5, "… frames keep flowing for 6 s after it", str(now))
    checks.check(now.get("ice") in ("connected", "completed") and "failed" not in now["states"],
                 "… and the connection stays up", str(now))
    print(f"     longest pause since the restart {pause_of(now):.2f} s")


def play_lossy(driver, checks, server, camera, token, seed):
    print(f"     seed {seed}")
    relay = Relay(seed, media_address(server, camera["id"]))
    try:
        error = driver.execute_async_script(
            PLAY, server.url + whep(camera["id"]), token, relay.address)
        checks.check(error is None, "Chromium joins over the bad network", error)
        if error is None:
            time.sleep(10)
            now = driver.execute_async_script(READ)
            print(f"     {now.get('decoded')} frames, longest pause {pause_of(now):.2f} s")
            checks.check((now.get("decoded") or 0) > 100, "… frames keep being decoded", str(now))
            checks.check(pause_of(now) < 2, "… no pause is longer than 2 s in 10 s",
                         str(now))
    finally:
        print(f"     {relay.close()}")


# MARK: The whole


def run_http(checks, server, cameras, options):
    first, second = cameras[0]["id"], cameras[1]["id"]
    check_statuses(checks, server, first, second)
    check_session(checks, server, first, second)
    check_discovery(checks, server, first)
    check_reservations(checks, server, first)
    if options.dead_camera:
        check_dead(checks, server, options.dead_camera)
    if options.data:
        check_whip(checks, server, first, options.data)


def run_aiortc(checks, server, cameras, _options):
    async def all_of_them():
        for camera in cameras:
            await check_aiortc(checks, server, camera)
        await check_release(checks, server, cameras[0])

    asyncio.run(all_of_them())


def run_gstreamer(checks, server, cameras, _options):
    if not _host_addresses(True, True):
        print("     GStreamer is skipped: libnice passes over the loopback address, and there is "
              "no other")
        return
    for camera in cameras:
        check_gstreamer(checks, server, camera)


def run_lossy(checks, server, cameras, options):
    asyncio.run(check_lossy(checks, server, cameras[0], options.seed))


def run_quality(checks, server, cameras, options):
    asyncio.run(check_quality(checks, server, cameras[0], options.seed))


def run_restart(checks, server, cameras, _options):
    asyncio.run(check_restart(checks, server, cameras[0]))


def run_chromium(checks, server, cameras, options):
    high = [camera for camera in cameras if profile_of(camera) == "High"]
    check_chromium(checks, server, [*high, *cameras][0], options.seed)


CASES = {
    "http": run_http, "aiortc": run_aiortc, "gstreamer": run_gstreamer, "lossy": run_lossy,
    "quality": run_quality, "restart": run_restart, "chromium": run_chromium,
}


def chosen(cameras):
    """One online camera of each profile, two at least."""
    online = [c for c in cameras if c["status"] == "ONLINE" and c["resolution"]]
    by_profile = {profile_of(c): c for c in reversed(online)}
    rest = [c for c in online if c not in by_profile.values()]
    return [*by_profile.values(), *rest[:max(0, 2 - len(by_profile))]]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--dead-camera", metavar="ID", help="a camera that is down")
    parser.add_argument("--data", metavar="FOLDER", help="the server's, to add a publisher to")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", default=",".join(CASES), help="the cases to run")
    options = parser.parse_args()
    cases = [case for case in options.only.split(",") if case]
    if unknown := [case for case in cases if case not in CASES]:
        parser.error(f"--only: no such case {unknown[0]}; known: {', '.join(CASES)}")

    checks, server = Checks(), Server(options.url)
    cameras = chosen(server.cameras())
    checks.check(len(cameras) >= 2, "two cameras are online")
    checks.check("High" in map(profile_of, cameras), "one of them is of High profile",
                 ", ".join(c["codec"] for c in cameras))
    for case in cases if len(cameras) >= 2 else []:
        begun = time.monotonic()
        try:
            CASES[case](checks, server, cameras, options)
        except Exception as error:  # The other cases run all the same.
            checks.check(False, f"{case} reaches its end", f"{type(error).__name__}: {error}")
        print(f"     {case}: {time.monotonic() - begun:.1f} s", flush=True)
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
