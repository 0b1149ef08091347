# What somebody watches ends with his rights: packets, playlists, links, sockets and tokens, timed.
# SPDX-License-Identifier: Apache-2.0
"""Usage: revocation_test.py [--marsad .build/release/marsad]

Starts a demo of its own on a free port in a temporary folder, and watches it with aiortc. Prints one
line a check and "N passed, N failed"; exits 1 on failure.
"""
import argparse
import asyncio
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "Gateway")]
from checks import Checks  # noqa: E402
from demo import Demo  # noqa: E402
from gateway_test import Connection  # noqa: E402
from live_test import MARSAD, SDP, Server, Viewer, whep  # noqa: E402

PASSWORD = "nobody would guess this one"
# What the contract allows, and how long after it nothing may come any more.
LIMIT, AFTERWARDS = 1.0, 1.5


class Person(Server):
    """The server as one signed-in user asks it."""

    def __init__(self, demo, login, password=PASSWORD):
        super().__init__(demo.url)
        _, grant = demo.ask("POST", "/api/v1/auth/token", {"login_id": login, "password": password})
        self.access, self.refresh = grant["access_token"], grant["refresh_token"]

    def ask(self, method, path, body=None, token=None, **headers):
        if isinstance(body, dict):
            body, headers = json.dumps(body), {**headers, "Content_Type": "application/json"}
        return super().ask(method, path, body, token or self.access, **headers)


class Probe(threading.Thread):
    """Does something again and again; `last` is when the last time began that it worked."""

    def __init__(self, name, action):
        super().__init__(daemon=True)
        self.label, self.action, self.last, self.times = name, action, None, 0
        self.ended = threading.Event()
        self.start()

    def run(self):
        while not self.ended.is_set():
            begun = time.monotonic()
            try:
                works = self.action()
            except (OSError, EOFError):
                works = False
            if works:
                self.last, self.times = begun, self.times + 1
            self.ended.wait(0.05)


class Holding:
    """Everything that one user can have open, all of it working."""

    def __init__(self, demo, login, cameras):
        self.person = Person(demo, login)
        self.cameras = cameras
        self.packets, self.last_packet = 0, None
        self.probes = []
        self.closed = None

    async def open(self, demo):
        await self.join()
        self.seat = await asyncio.to_thread(self.person.reserve, self.cameras[1])
        self.probes = [Probe("the live playlist", self.reads_live),
                       Probe("a heartbeat", self.beats),
                       Probe("a new reservation", self.reserves),
                       Probe("the access token", self.lists),
                       Probe("the refresh token", self.refreshes)]
        self.links = await asyncio.to_thread(self.prepare)
        self.probes.append(Probe("a playlist's link", lambda: self.reads(self.links[0])))
        self.probes.append(Probe("a link to recorded video", lambda: self.reads(self.links[-1])))
        self.socket = Connection(demo)
        shown = f"marsad, bearer.{self.person.access}"
        assert self.socket.upgrade(Sec_WebSocket_Protocol=shown)[0] == 101
        self.socket.subscribe("quota", "cameras")
        self.listening = threading.Thread(target=self.listen, daemon=True)
        self.listening.start()
        deadline = time.monotonic() + 20
        while not all(p.times > 2 for p in self.probes):
            assert time.monotonic() < deadline, {p.label: p.times for p in self.probes}
            await asyncio.sleep(0.05)

    async def join(self):
        """A camera that was just given to another agency connects anew: its viewers come back."""
        deadline = time.monotonic() + 60
        while (problem := await self.watches()) is not None:
            await self.viewer.leave()
            assert time.monotonic() < deadline, problem
            await asyncio.sleep(0.5)

    async def watches(self):
        """Joins once; returns why no picture came, None when some did."""
        self.viewer = Viewer(self.person, self.cameras[0])
        self.count(self.viewer.peer.getReceivers()[0])
        try:
            await self.viewer.join()
        except RuntimeError as error:
            if "CAMERA_UNAVAILABLE" not in str(error):
                await self.viewer.leave()
                raise
            return str(error)
        return None if await self.viewer.frames(5, 15) else "no frames"

    def count(self, receiver):
        """Every packet as it comes: aiortc's own figures are a second old, and older under load."""
        take = receiver._handle_rtp_packet

        async def counted(*args, **kwargs):
            self.packets, self.last_packet = self.packets + 1, time.monotonic()
            await take(*args, **kwargs)

        receiver._handle_rtp_packet = counted

    def reads_live(self):
        path = f"/api/v1/live/{self.cameras[1]}/hls/index.m3u8"
        return self.person.ask("GET", path, None, self.seat["token"]).status == 200

    def beats(self):
        return self.person.ask(
            "POST", f"/api/v1/stream/heartbeat/{self.seat['reservation_id']}").status == 200

    def reserves(self):
        taken = self.person.ask("POST", "/api/v1/stream/reserve", {"camera_id": self.cameras[1]})
        if taken.status == 201:
            self.person.release(json.loads(taken.body))
        return taken.status == 201

    def lists(self):
        return self.person.ask("GET", "/api/v1/cameras").status == 200

    def refreshes(self):
        answer = self.person.ask("POST", "/api/v1/auth/refresh", {"refresh_token": self.person.refresh})
        if answer.status == 200:
            grant = json.loads(answer.body)
            self.person.access, self.person.refresh = grant["access_token"], grant["refresh_token"]
        return answer.status == 200

    def reads(self, link):
        return Server.ask(self.person, "GET", link).status == 200

    def prepare(self):
        """The link of a playback's playlist, and those in it."""
        now = time.time()
        body = {"camera_id": self.cameras[0], "format": "HLS",
                **{key: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
                   for key, at in (("start_time", now - 600), ("end_time", now))}}
        answer = self.person.ask("POST", "/api/v1/playback/prepare", body)
        assert answer.status == 200, answer
        first = json.loads(answer.body)["playlist_url"]
        parts = urllib.parse.urlsplit(first)
        first = f"{parts.path}?{parts.query}"
        playlist = Server.ask(self.person, "GET", first).text
        inside = [line for line in playlist.splitlines() if line and not line.startswith("#")]
        return [first, *(urllib.parse.urljoin(parts.path, link) for link in inside[:1])]

    def listen(self):
        self.socket.socket.settimeout(60)
        try:
            self.code = self.socket.close_code()
        except (EOFError, OSError):
            self.code = None
        self.closed = time.monotonic()

    async def last_signs(self, since):
        """Of each thing the seconds after `since` at which it worked for the last time."""
        await asyncio.sleep(max(0, since + LIMIT + AFTERWARDS - time.monotonic()))
        signs = {probe.label: probe.last - since for probe in self.probes if probe.last}
        signs["a packet of live video"] = self.last_packet - since
        signs["the socket"] = (self.closed or float("inf")) - since
        return signs

    async def close(self):
        for probe in self.probes:
            probe.ended.set()
        await self.viewer.leave()
        self.socket.socket.close()


def add_user(demo, admin, login, **extra):
    status, user = demo.ask("POST", "/api/v1/iam/users", {
        "login_id": login, "display_name": login.title(), "password": PASSWORD,
        "agency": {"code": extra.pop("agency", "METRO")}, **extra}, admin)
    assert status == 201, user
    return user["user_id"]


def report(check, sentence, signs, names=None):
    for name, at in signs.items():
        if names is None or name in names:
            check(at < LIMIT, f"{sentence}: {name} for the last time after {max(at, 0):.3f} s")


async def check_disabled(demo, admin, cameras, check):
    for how in ("an administrator", "the command"):
        login = "leaver" + how[-3:]
        user = add_user(demo, admin, login)
        holding, other = Holding(demo, login, cameras), Holding(demo, "stayer", cameras)
        try:
            for each in (holding, other):
                await each.open(demo)
            if how == "the command":
                change = (disable, demo, login)
            else:
                change = (demo.ask, "PATCH", f"/api/v1/iam/users/{user}/status",
                          {"status": "DISABLED"}, admin)
            _, since = await answered(*change)
            report(check, f"disabled by {how}", await holding.last_signs(since))
            check(holding.code == 4401, "the socket hears 4401", str(holding.code))
            signs = await other.last_signs(since)
            still = [name for name, at in signs.items() if at > LIMIT]
            check(set(still) == set(signs), "another user's things all go on", str(signs))
        finally:
            await holding.close()
            await other.close()


async def answered(change, *arguments):
    """What a change answered, and when: until then it waits for the disk, and may still fail."""
    begun = time.monotonic()
    answer = await asyncio.to_thread(change, *arguments)
    since = time.monotonic()
    print(f"     answered after {since - begun:.3f} s", flush=True)
    return answer, since


def disable(demo, login):
    subprocess.run([demo.command[0], "user", "disable", login, "--data", demo.data], check=True,
                   capture_output=True, timeout=60)


async def check_rights(demo, admin, cameras, check):
    """A right that is taken away without the person: by its group, its camera group, its camera."""

    def put(camera, **changes):
        known = demo.ask("GET", f"/api/v1/cameras/{camera}", token=admin)[1]
        body = {"name": known["name"], "source": known["source"], **changes}
        return demo.ask("PUT", f"/api/v1/cameras/{camera}", body, admin)[0]

    watched = {"a packet of live video", "a heartbeat", "the live playlist", "a new reservation"}
    played = {"a playlist's link", "a link to recorded video"}
    for folder in ("gates", "yard"):
        assert demo.ask("POST", "/api/v1/folders", {
            "source": "METRO", "folder_id": folder, "name": folder}, admin)[0] == 201
    _, group = demo.ask("POST", "/api/v1/iam/groups", {"name": "Guests", "permissions": [
        {"permission": "camera:METRO:view"}, {"permission": "playback:METRO:view"}]}, admin)
    _, gates = demo.ask("POST", "/api/v1/iam/groups", {"name": "Gates", "permissions": [
        {"permission": "camera:METRO/gates:view"}, {"permission": "playback:METRO/gates:view"}]}, admin)
    guest = add_user(demo, admin, "guest", agency="NONE", groups=[group["group_id"]])
    add_user(demo, admin, "keeper", agency="NONE", groups=[gates["group_id"]])
    for camera in cameras:
        assert put(camera, folder_id="gates") == 200
    address = f"/api/v1/iam/groups/{group['group_id']}"
    member = f"/api/v1/iam/users/{guest}/groups"

    def regroup():
        return demo.ask("PUT", address, {"name": "Guests", "permissions": []}, admin)[0]

    def restore():
        demo.ask("PUT", address, {"name": "Guests", "permissions": group["permissions"]}, admin)

    def leave():
        return demo.ask("DELETE", f"{member}/{group['group_id']}", None, admin)[0]

    def enter():
        demo.ask("POST", member, {"group_id": group["group_id"]}, admin)

    def both(**changes):
        return max(put(camera, **changes) for camera in cameras)

    def imported(folder):
        lines = [{"id": camera, "folder_id": folder} for camera in cameras]
        return demo.ask("POST", "/api/v1/cameras/import", lines, admin)[0]

    def stream():
        """Since when a camera's present connection delivers, and how often it was interrupted."""
        state = demo.ask("GET", f"/api/v1/cameras/{cameras[0]}", token=admin)[1]["stream"]
        return state["connect_time"], state["gaps"]

    for sentence, login, change, undo, names, code in [
            ("a group that lost its rights", "guest", regroup, restore, watched | played, 1012),
            ("a user taken out of a group", "guest", leave, enter, watched | played, 1012),
            ("cameras moved to another camera group", "keeper", lambda: both(folder_id="yard"),
             lambda: both(folder_id="gates"), watched | played, None),
            ("cameras moved by an import", "keeper", lambda: imported("yard"),
             lambda: imported("gates"), watched | played, None),
            ("cameras moved to another agency", "guest", lambda: both(source="BUS"),
             lambda: both(source="METRO", folder_id="gates"), watched | played, None)]:
        holding = Holding(demo, login, cameras)
        await holding.open(demo)
        before = stream()
        try:
            status, since = await answered(change)
            check(status in (200, 204), f"{sentence}: the change is taken", str(status))
            signs = await holding.last_signs(since)
            report(check, sentence, signs, names)
            check(signs["the access token"] > LIMIT, f"{sentence}: the person stays signed in")
            if "another camera group" in sentence:
                # The server looks for changed cameras every two seconds.
                await asyncio.sleep(5)
                check(stream() == before, f"{sentence}: their pictures go on", f"{before} {stream()}")
            if code:
                check(holding.code == code, f"{sentence}: the socket is to come back", str(holding.code))
        finally:
            await holding.close()
            undo()
            await online(demo, admin, cameras)

    holding = Holding(demo, "guest", cameras)
    await holding.open(demo)
    try:
        for camera in cameras:
            (status, _), since = await answered(
                demo.ask, "DELETE", f"/api/v1/cameras/{camera}", None, admin)
            check(status == 204, "a camera is removed", str(status))
        report(check, "removed cameras", await holding.last_signs(since), watched | played)
    finally:
        await holding.close()


async def online(demo, admin, cameras):
    """Returns when the cameras have pictures, live and recorded."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        states = {c["id"]: c for c in demo.ask("GET", "/api/v1/cameras", token=admin)[1]["cameras"]}
        times = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + each))
                 for each in (-600, 0)]
        recorded = demo.ask("POST", "/api/v1/playback/prepare", {
            "camera_id": cameras[0], "start_time": times[0], "end_time": times[1]}, admin)[0]
        if recorded == 200 and all(states[c]["status"] == "ONLINE" for c in cameras):
            return
        await asyncio.sleep(0.2)
    raise TimeoutError("the cameras deliver nothing")


async def run(demo, check):
    admin = demo.token("administrator")
    _, found = demo.ask("GET", "/api/v1/cameras?source=METRO", token=admin)
    cameras = [camera["id"] for camera in found["cameras"]][:2]
    await online(demo, admin, cameras)
    add_user(demo, admin, "stayer")
    await check_disabled(demo, admin, cameras, check)
    await check_rights(demo, admin, cameras, check)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--marsad", default=str(MARSAD))
    options = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(options.marsad, folder, "--cameras", "6", "--set", "limits.sources=",
                    "--set", "limits.address_per_second=100000",
                    "--set", "limits.address_burst=100000",
                    "--set", "limits.requests_per_minute=100000")
        try:
            asyncio.run(run(demo, checks.check))
        except Exception as error:  # What was checked is told all the same.
            checks.check(False, "the test reaches its end", f"{type(error).__name__}: {error}")
        finally:
            checks.check(demo.stop() == 0, "the demo ends with status 0")
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
