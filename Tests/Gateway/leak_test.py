# Whether anything that an operator of one agency can ask tells of another agency's cameras.
# SPDX-License-Identifier: Apache-2.0
"""Usage: leak_test.py [--marsad .build/release/marsad]

Starts simulated cameras and a server of two agencies on free ports in a temporary folder; needs nothing
but Python. Every byte that the operator of METRO is answered is searched for BUS's camera: its id, its
name, its agency. Prints one line a check, how long a camera of another agency and one that does not exist
take to be denied, and "N passed, N failed"; exits 1 on failure.
"""
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))
from accounts_test import SDP, reads, refusal  # noqa: E402
from agencies import (  # noqa: E402
    NOBODY, AgencyServer, document, operations, request_for, simulated_cameras, until)
from checks import run  # noqa: E402
from gateway_test import Connection  # noqa: E402

TIMED = 300


class Listener:
    """The operator of METRO, with everything that was said to her."""

    def __init__(self, server):
        self.server = server
        self.token = server.token("amina")
        self.heard = []

    def ask(self, method, path, body=None, token=None, **headers):
        answer = self.server.ask(method, path, body, token or self.token, **headers)
        self.heard.append((f"{method} {path}", json.dumps(
            [self.server.headers, answer[2]], default=lambda value: value.decode("latin-1"),
            ensure_ascii=False)))
        return answer

    def traces(self):
        """Where something of the other agency was told. What she asked by its id may be said back."""
        found = []
        for what, text in self.heard:
            words = [AgencyServer.CANARY["BUS"], "BUS"]
            words += [self.server.bus] if self.server.bus not in what else []
            found += [f"{word} in {what}: {text[:300]}" for word in words if word in text]
        return found


def check_every_route(server, listener, check):
    """All that is described, asked about the other agency's camera."""
    told = document(server)
    for method, path, operation in operations(told):
        if operation["operationId"] in ("sign_out", "get_metrics"):
            continue
        address, body, headers = request_for(told, method, path, operation, server.bus)
        answer = listener.ask(method, address, body, **headers)
        if server.bus not in address and server.bus not in str(body):
            continue
        other = listener.ask(*(json.loads(json.dumps([method, address, body]).replace(
            server.bus, NOBODY))), **headers)
        check(answer[0] == other[0] and same(answer, other, server),
              f"{method} {path}: as of a camera that does not exist", f"{answer} {other}")
    traces = listener.traces()
    check(not traces, "no route told anything of the other agency", "; ".join(traces[:3]))


def same(answer, other, server):
    """Whether two answers differ in nothing but what was asked."""
    if not isinstance(answer[2], dict) or "error" not in answer[2]:
        return True
    one, two = refusal(answer[2]), refusal(other[2])
    return json.loads(json.dumps(one).replace(server.bus, NOBODY)) == two


def check_lists(server, listener, check):
    for question in ("", "?source=BUS", "?q=Falcon", f"?q={server.bus[:8]}", "?limit=1&offset=1",
                     "?limit=500", "?status=ONLINE", "?source=METRO&q=Depot"):
        status, _, found = listener.ask("GET", "/api/v1/cameras" + question)
        ids = {camera["id"] for camera in found["cameras"]}
        wanted = {"", "?limit=1&offset=1", "?limit=500", "?status=ONLINE"}
        check(status == 200 and ids <= {server.metro}
              and found["total"] == (1 if question in wanted else 0),
              f"a list{question and ' ' + question} counts one's own", str(found)[:200])
    _, _, me = listener.ask("GET", "/api/v1/iam/me")
    check(me["camera_sources"] == ["METRO"], "me: one's own sources", str(me["camera_sources"]))


def check_live(server, listener, admin, check):
    """While somebody watches the other agency's camera."""
    held = server.ask("POST", "/api/v1/stream/reserve", {"camera_id": server.bus}, admin)[2]
    _, _, stats = listener.ask("GET", "/api/v1/stream/stats")
    check([line["source"] for line in stats["sources"]] in ([], ["METRO"])
          and stats["total"]["current"] == 0, "statistics: one's own seats", str(stats))
    own = listener.ask("POST", "/api/v1/stream/reserve", {"camera_id": server.metro})[2]
    for what, method, part, body, kind in [
            ("WHEP", "POST", "whep", "v=0", SDP), ("live HLS", "GET", "hls/index.m3u8", None, None),
            ("a part of live HLS", "GET", "hls/init/0.mp4", None, None)]:
        answers = []
        for camera in (server.bus, NOBODY):
            headers = {"Content_Type": kind} if kind else {}
            answers.append(listener.ask(
                method, f"/api/v1/live/{camera}/{part}", body, own["token"], **headers))
        check([a[:2] for a in answers] == [(404, "CAMERA_NOT_FOUND")] * 2 and same(*answers, server),
              f"{what} with one's own reservation finds no other camera", str(answers))
    for method, part in [("POST", "heartbeat"), ("DELETE", "release")]:
        answers = [listener.ask(method, f"/api/v1/stream/{part}/{identity}")
                   for identity in (held["reservation_id"], NOBODY)]
        # Giving back what was never taken is no error; which numbers were taken nobody can guess.
        check(answers[0][0] == 404 and (part == "release" or same(*answers, server)),
              f"{part}: another's reservation is none", str(answers))
    check(server.ask("POST", f"/api/v1/stream/heartbeat/{held['reservation_id']}", token=admin)[0] == 200,
          "which goes on")
    answers = [listener.ask("POST", f"/api/v1/ingest/{camera}/whip", "v=0", "f" * 48,
                            Content_Type=SDP) for camera in (server.whip, server.bus, NOBODY)]
    check({a[:2] for a in answers} == {(401, "INVALID_TOKEN")},
          "publishing: each camera is refused alike", str(answers))
    server.ask("DELETE", f"/api/v1/stream/release/{held['reservation_id']}", token=admin)
    listener.ask("DELETE", f"/api/v1/stream/release/{own['reservation_id']}")


def check_playback(server, listener, admin, check):
    now = time.time()

    def iso(seconds):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

    def prepare(camera, ask, token):
        return ask("POST", "/api/v1/playback/prepare",
                   {"camera_id": camera, "start_time": iso(now - 600), "end_time": iso(now + 60)}, token)

    theirs = until(60, lambda: prepare(server.bus, server.ask, admin)[0] == 200)
    check(theirs is not None, "the other agency has a recording")
    session = prepare(server.bus, server.ask, admin)[2]
    answers = [prepare(camera, listener.ask, None) for camera in (server.bus, NOBODY)]
    check([a[:2] for a in answers] == [(404, "CAMERA_NOT_FOUND")] * 2 and same(*answers, server),
          "which cannot be opened", str(answers))
    answers = [listener.ask("GET", f"/api/v1/playback/status/{identity}")
               for identity in (session["session_id"], NOBODY)]
    check([a[:2] for a in answers] == [(404, "NOT_FOUND")] * 2, "another's session is none", str(answers))
    until(60, lambda: prepare(server.metro, listener.ask, None)[0] == 200)
    own = prepare(server.metro, listener.ask, None)[2]
    link = session["playlist_url"].partition("?")[0]
    token = own["playlist_url"].partition("token=")[2]
    status, code, _ = listener.ask("GET", f"{link}?token={token}")
    check((status, code) == (401, "INVALID_SIGNATURE"), "nor opened with one's own link's token", code)


def check_idempotency(server, listener, admin, check):
    key, body = "the-same-key", {"camera_id": server.bus}
    first = server.ask("POST", "/api/v1/stream/reserve", body, admin, Idempotency_Key=key)
    second = listener.ask("POST", "/api/v1/stream/reserve", body, Idempotency_Key=key)
    check(first[0] == 201 and second[:2] == (404, "CAMERA_NOT_FOUND"),
          "another's answer is not given again under its key", str(second))
    server.ask("DELETE", f"/api/v1/stream/release/{first[2]['reservation_id']}", token=admin)


def check_sockets(server, listener, admin, check):
    """Both listen to everything; what the administrator has heard, the operator's socket has passed."""
    topics = ("cameras", "quota", "stats", "alerts", "detections")
    sockets = {}
    for who, token in (("admin", admin), ("amina", listener.token)):
        sockets[who] = Connection(server)
        sockets[who].upgrade(Sec_WebSocket_Protocol=f"marsad, bearer.{token}")
        sockets[who].subscribe(*topics)
    held = server.ask("POST", "/api/v1/stream/reserve", {"camera_id": server.bus}, admin)[2]
    sockets["admin"].until("AGENCY_LIMIT_UPDATE", source="BUS", current=1)
    made = server.ask("POST", "/api/v1/cameras", {
        "name": AgencyServer.CANARY["BUS"] + " 2", "source": "BUS",
        "rtsp_url": "rtsp://127.0.0.1:9/x"}, admin)[2]["camera"]["id"]
    sockets["admin"].until("CAMERA_STATUS", camera_id=made)
    server.ask("DELETE", f"/api/v1/stream/release/{held['reservation_id']}", token=admin)
    server.ask("DELETE", f"/api/v1/cameras/{made}", token=admin)
    sockets["admin"].until("AGENCY_LIMIT_UPDATE", source="BUS", current=0)
    own = listener.ask("POST", "/api/v1/stream/reserve", {"camera_id": server.metro})[2]
    heard = []
    while not heard or heard[-1].get("current") != 1:
        heard.append(sockets["amina"].message())
    listener.ask("DELETE", f"/api/v1/stream/release/{own['reservation_id']}")
    text = json.dumps(heard)
    kinds = sorted({message["type"] for message in heard})
    check("SNAPSHOT" in kinds and "METRO" in text, "the socket tells of one's own", str(kinds))
    traces = [word for word in (server.bus, made, "BUS", AgencyServer.CANARY["BUS"]) if word in text]
    check(not traces, "and of nothing else, snapshot included", f"{traces} {text[:400]}")
    for socket in sockets.values():
        socket.socket.close()


def check_operations(server, listener, check):
    away = listener.ask("GET", "/metrics", X_Forwarded_For="203.0.113.60")
    check(away[:2] == (403, "IP_NOT_ALLOWED"), "metrics are for the operations networks", str(away[:2]))
    # Who runs the server counts by agency; which cameras there are is not said there either.
    _, _, metrics = server.ask("GET", "/metrics")
    named = [word for word in AgencyServer.CANARY.values() if word.encode() in metrics]
    check(not named, "no camera's name is in the metrics", str(named))
    check(listener.ask("GET", "/api/v1/audit")[:2] == (403, "FORBIDDEN"), "nor may the log be read")


def tell_times(server, listener):
    """Told, not judged: a machine that does other things makes any limit wrong one day."""
    for name, path in [("camera", "/api/v1/cameras/{}"), ("snapshot", "/api/v1/cameras/{}/snapshot.jpg")]:
        took = {server.bus: [], NOBODY: []}
        connection = Connection(server)
        headers = {"Authorization": f"Bearer {listener.token}"}
        for _ in range(TIMED):
            for camera in took:
                begun = time.perf_counter()
                connection.request("GET", path.format(camera), headers)
                took[camera].append((time.perf_counter() - begun) * 1000)
        connection.socket.close()
        medians = [statistics.median(values) for values in took.values()]
        spread = statistics.median(abs(value - medians[1]) for value in took[NOBODY])
        print(f"     {name}: another agency's {medians[0]:.3f} ms, none {medians[1]:.3f} ms (medians of "
              f"{TIMED}; difference {medians[0] - medians[1]:+.3f}, half of all within {spread:.3f})")


def check_all(marsad, folder, check):
    with simulated_cameras(marsad, folder, 2) as rtsp:
        server = AgencyServer(marsad, folder, rtsp)
        try:
            check(server.wait_for_pictures(), "both cameras deliver")
            admin = server.token("admin")
            server.whip = server.ask("POST", "/api/v1/cameras", {
                "name": AgencyServer.CANARY["BUS"] + " drone", "source": "BUS", "origin": "WHIP"},
                admin)[2]["camera"]["id"]
            listener = Listener(server)
            for method, path, body in reads(server.metro):
                status, _, own = listener.ask(method, path, body)
                check(status not in (401, 403), f"{method} {path.partition('?')[0][:40]}: one's own", status)
                if status == 201:
                    listener.ask("DELETE", f"/api/v1/stream/release/{own['reservation_id']}")
            check_lists(server, listener, check)
            check_live(server, listener, admin, check)
            check_playback(server, listener, admin, check)
            check_idempotency(server, listener, admin, check)
            check_sockets(server, listener, admin, check)
            check_operations(server, listener, check)
            check_every_route(server, listener, check)
            tell_times(server, listener)
        finally:
            server.stop()


if __name__ == "__main__":
    run("leak", check_all)
