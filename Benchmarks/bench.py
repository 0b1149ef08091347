# Measures the server from outside, beside ffmpeg doing the same work: one JSON object on stdout.
# SPDX-License-Identifier: Apache-2.0
"""ingest: connect and keep live. record: also write files. playback: prepare and first media.
live: WebRTC viewers, by a load client of its own that checks every packet and frame; beside Janus.
wall: the page in a browser, all cameras at once: until all move, and how old what it shows is."""

import argparse
import datetime
import http.client
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

import janus
from procs import BenchError, Program, end_all, machine, percentile, say, spread_ms

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MARSAD = os.path.join(ROOT, ".build", "release", "marsad")
BROWSER_PYTHON = os.path.join(ROOT, ".venv", "bin", "python")
SCENES = os.path.join(ROOT, ".build", "bench-scenes")
PEER_CAMERAS = 20
PEER_SECONDS = 60


class Client:
    """One keep-alive connection to the server."""

    def __init__(self, url):
        self.host = urllib.parse.urlsplit(url).netloc
        self.connection = http.client.HTTPConnection(self.host, timeout=30)

    def request(self, method, path, body=None, headers=None):
        """Status, body, and the seconds to the first byte and to the last one."""
        begun = time.perf_counter()
        self.connection.request(method, path, body=body, headers=headers or {})
        response = self.connection.getresponse()
        first = response.read(1)
        first_at = time.perf_counter()
        rest = response.read()
        return response.status, first + rest, first_at - begun, time.perf_counter() - begun

    def get(self, path):
        status, body, _, _ = self.request("GET", path)
        if status != 200:
            raise BenchError(f"GET {path.split('?')[0]}: {status} {body[:300]!r}")
        return body

    def total(self, query):
        return json.loads(self.get("/api/v1/cameras?limit=1" + query))["total"]


def simulate(options, folder):
    say(f"{options.cameras} simulated cameras, {options.size} {options.fps} fps {options.bitrate}")
    program = Program(
        "simulator",
        [MARSAD, "simulate", "cameras", "--count", str(options.cameras), "--rtsp-port", "0",
         "--json", "--scenes", SCENES, "--size", options.size, "--fps", str(options.fps),
         "--gop", str(options.gop), "--bitrate", options.bitrate]
        + (["--spread-packets"] if options.spread_packets else []), folder)
    return program, program.ready(600)["rtsp_url"]


def add_cameras(options, data, rtsp_url, is_recorded):
    for number in range(1, options.cameras + 1):
        command = [MARSAD, "camera", "add", f"{rtsp_url}/camera_{number}",
                   "--name", f"Camera {number}", "--data", data]
        if not is_recorded:
            command.append("--no-recording")
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise BenchError("camera add: " + done.stderr)


def serve(options, folder, data, segment_seconds):
    program = Program(
        "server",
        [MARSAD, "serve", "--json", "--http-port", "0", "--data", data,
         "--set", "ingest.camera_networks=127.0.0.0/8", "--set", "webrtc.port=0",
         "--set", f"recording.segment_seconds={segment_seconds}"], folder)
    client = Client(program.ready(60)["url"])
    patience = 60 + options.cameras / 5
    deadline = time.monotonic() + patience
    while client.total("&status=ONLINE") < options.cameras:
        if time.monotonic() > deadline:
            raise BenchError(
                f"{client.total('&status=ONLINE')} of {options.cameras} cameras are ONLINE "
                f"after {patience:.0f} s: {program.tail()}")
        time.sleep(0.2)
    return program, client


def measure(program, simulator, seconds):
    """CPU of a program, and of the simulator that feeds it, over a time."""
    begun = time.monotonic()
    cpu, sim, written = program.cpu_seconds(), simulator.cpu_seconds(), program.written_bytes()
    time.sleep(seconds)
    took = time.monotonic() - begun
    return {
        "measured_seconds": round(took, 2),
        "cpu_cores": round((program.cpu_seconds() - cpu) / took, 4),
        "simulator_cpu_cores": round((simulator.cpu_seconds() - sim) / took, 4),
        "written_bytes_per_second": round((program.written_bytes() - written) / took),
        "rss_mb_peak": round(program.rss_peak_mb(), 1),
        "rss_mb_end": round(program.rss_mb(), 1),
        "threads": program.threads(),
    }


def measure_peer(options, folder, rtsp_url, is_recorded):
    """One ffmpeg for each of some cameras, copying into fragmented MP4 segments (or nowhere)."""
    count = min(options.cameras, PEER_CAMERAS)
    seconds = min(options.seconds, PEER_SECONDS)
    say(f"{count} ffmpeg processes for {seconds} s")
    programs = []
    for number in range(1, count + 1):
        sink = ["-f", "null", "-"]
        if is_recorded:
            place = os.path.join(folder, "peer", str(number))
            os.makedirs(place)
            sink = ["-f", "segment", "-segment_time", "300", "-segment_format", "mp4",
                    "-segment_format_options",
                    "movflags=+frag_keyframe+empty_moov+default_base_moof",
                    "-reset_timestamps", "1", os.path.join(place, "%03d.mp4")]
        programs.append(Program(
            f"ffmpeg-{number}",
            ["ffmpeg", "-nostdin", "-v", "error", "-rtsp_transport", "tcp",
             "-i", f"{rtsp_url}/camera_{number}", "-an", "-c", "copy"] + sink, folder))
    # ffmpeg reads up to five seconds to probe a stream; that is not what is compared.
    time.sleep(8)
    begun = time.monotonic()
    cpu = sum(program.cpu_seconds() for program in programs)
    time.sleep(seconds)
    took = time.monotonic() - begun
    for program in programs:
        if program.child.poll() is not None:
            raise BenchError(f"{program.name} ended early: {program.tail()}")
    cores = (sum(program.cpu_seconds() for program in programs) - cpu) / took
    result = {
        "name": "ffmpeg -c copy", "version": ffmpeg_version(), "cameras": count,
        "seconds": round(took, 2),
        "cpu_cores_per_camera": round(cores / count, 5),
        "rss_mb_per_camera": round(sum(p.rss_mb() for p in programs) / count, 2),
        "pss_mb_per_camera": round(sum(p.pss_mb() for p in programs) / count, 2),
    }
    for program in programs:
        program.child.send_signal(signal.SIGTERM)
    for program in programs:
        program.stop()
    return result


def ffmpeg_version():
    done = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True)
    return done.stdout.split("\n", 1)[0].removeprefix("ffmpeg version ").split(" ", 1)[0]


def checked(data):
    done = subprocess.run(
        [MARSAD, "check", os.path.join(data, "recordings")], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError("check: " + done.stderr)
    return json.loads(done.stdout)


def run_cameras(options, folder):
    """The benchmarks ingest and record."""
    is_recorded = options.benchmark == "record"
    data = os.path.join(folder, "data")
    simulator, rtsp_url = simulate(options, folder)
    add_cameras(options, data, rtsp_url, is_recorded)
    server, client = serve(options, folder, data, 300)
    # Connecting costs once; what is measured is the steady state.
    time.sleep(3)
    say(f"all ONLINE; measuring for {options.seconds} s")
    numbers = measure(server, simulator, options.seconds)
    online = client.total("&status=ONLINE")
    gaps = sum(
        camera["stream"]["gaps"]
        for offset in range(0, options.cameras, 500)
        for camera in json.loads(
            client.get(f"/api/v1/cameras?limit=500&offset={offset}"))["cameras"])
    status = server.stop()
    result = {
        "benchmark": options.benchmark, "cameras": options.cameras, "seconds": options.seconds,
        **numbers,
        "cpu_cores_per_camera": round(numbers["cpu_cores"] / options.cameras, 5),
        "online_at_end": online, "stream_gaps": gaps, "exit_status": status,
    }
    if is_recorded:
        found = checked(data)
        result.update({
            key: found[key]
            for key in ("frames", "missing", "doubled", "damaged", "out_of_order", "unstamped")})
        bad = found["missing"] + found["doubled"] + found["damaged"] + found["out_of_order"]
        result["is_complete"] = (
            found["frames"] > 0 and found["cameras"] == options.cameras and bad == 0)
    if not options.no_peer:
        peer = measure_peer(options, folder, rtsp_url, is_recorded)
        result["peer"] = peer
        # How many times more the peer needs for a camera.
        ours = numbers["cpu_cores"] / options.cameras
        result["ratio_cpu"] = round(peer["cpu_cores_per_camera"] / ours, 2) if ours > 0 else None
        result["ratio_rss"] = round(
            peer["rss_mb_per_camera"] * options.cameras / numbers["rss_mb_peak"], 2)
    is_complete = result.get("is_complete", True) and online == options.cameras and status == 0
    return result, is_complete


def time_text(seconds):
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def time_value(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def coverage(client, camera):
    now = time.time()
    query = urllib.parse.urlencode({
        "camera_id": camera, "start_time": time_text(now - 86_400), "end_time": time_text(now)})
    ranges = json.loads(client.get("/api/v1/playback/timeline?" + query))["coverage"]
    return [(time_value(r["start_time"]), time_value(r["end_time"])) for r in ranges]


def prepare(client, camera, start, end):
    body = json.dumps({
        "camera_id": camera, "start_time": time_text(start), "end_time": time_text(end)})
    status, answer, _, took = client.request(
        "POST", "/api/v1/playback/prepare", body, {"Content-Type": "application/json"})
    if status != 200:
        raise BenchError(f"prepare: {status} {answer[:300]!r}")
    return json.loads(answer), took


def random_range(rng, recorded):
    """As people ask: mostly minutes, sometimes the whole of it (log-uniform from 10 s on)."""
    start, end = recorded
    longest = end - start
    length = math.exp(rng.uniform(math.log(min(10, longest)), math.log(longest)))
    begin = rng.uniform(start, end - length)
    return begin, begin + length


def record_past(options, data):
    say(f"recording the past {options.hours} h of {options.cameras} cameras")
    begun = time.monotonic()
    done = subprocess.run(
        [MARSAD, "simulate", "past", "--data", data, "--hours", str(options.hours),
         "--scenes", SCENES, "--size", options.size, "--fps", str(options.fps),
         "--gop", str(options.gop), "--bitrate", options.bitrate],
        capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError("simulate past: " + done.stderr)
    return time.monotonic() - begun


def convert(folder, data, camera, start, end):
    """Seconds that ffmpeg takes to convert a range to HLS: what is waited for without fragments."""
    files = []
    for place, _, names in os.walk(os.path.join(data, "recordings")):
        if camera in place:
            files += [os.path.join(place, name) for name in names if name.endswith(".mp4")]
    files.sort()
    # A file begins at the time in its name and ends where the next one begins.
    starts = [
        datetime.datetime.strptime(os.path.basename(name), "segment_%Y%m%d_%H%M%S.mp4")
        .replace(tzinfo=datetime.timezone.utc).timestamp() for name in files]
    ends = starts[1:] + [time.time()]
    wanted = [
        name for name, first, last in zip(files, starts, ends) if first < end and last > start]
    place = tempfile.mkdtemp(dir=folder)
    listing = os.path.join(place, "list.txt")
    with open(listing, "w") as file:
        file.writelines(f"file '{name}'\n" for name in wanted)
    begun = time.perf_counter()
    done = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "fatal", "-f", "concat", "-safe", "0", "-i", listing,
         "-c", "copy", "-f", "hls", "-hls_time", "6", "-hls_list_size", "0",
         "-hls_playlist_type", "vod", os.path.join(place, "index.m3u8")], capture_output=True)
    took = time.perf_counter() - begun
    shutil.rmtree(place)
    if done.returncode != 0:
        raise BenchError("ffmpeg -f hls: " + done.stderr.decode("utf-8", "replace")[-500:])
    return took


def run_playback(options, folder):
    """The benchmark playback: on past hours of all cameras, while their recording goes on."""
    data = os.path.join(folder, "data")
    simulator, rtsp_url = simulate(options, folder)
    add_cameras(options, data, rtsp_url, True)
    past_took = record_past(options, data)
    server, client = serve(options, folder, data, 300)
    say(f"recording goes on for {options.seconds} s before measuring")
    time.sleep(options.seconds)
    cameras = json.loads(client.get("/api/v1/cameras?limit=500"))["cameras"]
    recorded = {}
    for camera in cameras:
        ranges = coverage(client, camera["id"])
        if not ranges:
            raise BenchError(f"nothing was recorded of {camera['name']}")
        recorded[camera["id"]] = max(ranges, key=lambda r: r[1] - r[0])
    ids = sorted(recorded)
    rng = random.Random(options.seed)
    asked = [
        (camera, *random_range(rng, recorded[camera]))
        for camera in (rng.choice(ids) for _ in range(options.prepares))]
    say(f"{len(asked)} times prepare, playlist, first segment")
    prepared, listed, first, whole, start_up = [], [], [], [], []
    cpu = server.cpu_seconds()
    for camera, start, end in asked:
        begun = time.perf_counter()
        session, took = prepare(client, camera, start, end)
        prepared.append(took)
        fetched = time.perf_counter()
        playlist = client.get(session["playlist_url"]).decode()
        listed.append(time.perf_counter() - fetched)
        lines = playlist.splitlines()
        link = next(line for line in lines if line and not line.startswith("#"))
        init = next(line for line in lines if line.startswith("#EXT-X-MAP"))
        client.get(init.split('URI="', 1)[1].split('"', 1)[0])
        status, body, first_byte, last_byte = client.request("GET", link)
        if status != 200 or not body:
            raise BenchError(f"first segment: {status}")
        first.append(first_byte)
        whole.append(last_byte)
        start_up.append(time.perf_counter() - begun)
    cpu = server.cpu_seconds() - cpu
    result = {
        "benchmark": "playback", "cameras": options.cameras, "seconds": options.seconds,
        "recorded_seconds_per_camera": round(
            sum(end - start for start, end in recorded.values()) / len(recorded), 1),
        "past_hours": options.hours, "past_made_in_seconds": round(past_took, 1),
        "seed": options.seed,
        "range_seconds": {
            f"p{share}": round(percentile([e - s for _, s, e in asked], share), 1)
            for share in (50, 95, 100)},
        "playlist": spread_ms(listed),
        "prepare": spread_ms(prepared), "first_media_byte": spread_ms(first),
        "first_media_segment": spread_ms(whole), "prepare_to_first_segment": spread_ms(start_up),
        "server_cpu_ms_per_start_with_recording": round(cpu * 1000 / len(asked), 3),
        "rss_mb_peak": round(server.rss_peak_mb(), 1),
    }
    if not options.no_peer:
        some = asked[:20]
        say(f"ffmpeg converts {len(some)} of the same ranges")
        times = [convert(folder, data, *wanted) for wanted in some]
        result["peer"] = {
            "name": "ffmpeg -c copy -f hls", "version": ffmpeg_version(), **spread_ms(times)}
        ours = percentile(start_up, 50)
        result["ratio_start"] = round(percentile(times, 50) / ours, 2)
    status = server.stop()
    found = checked(data)
    result.update({
        # The made past and the live stream number their frames apart, so only damage can be told.
        "exit_status": status, "frames": found["frames"], "damaged": found["damaged"]})
    return result, status == 0


def watch(options, server, url, viewers):
    """One run of the load client, which reads the server's CPU and memory over its own window."""
    say(f"{viewers} viewers for {options.seconds} s")
    done = subprocess.run(
        [MARSAD, "bench", "live", "--url", url, "--viewers", str(viewers),
         "--join-rate", str(options.join_rate), "--seconds", str(options.seconds),
         "--server-pid", str(server.child.pid)], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError("bench live: " + done.stderr[-1000:])
    found = json.loads(done.stdout)
    keys = ("viewers", "joined", "failed", "packets_per_second", "bits_per_second_per_viewer", "lost",
            "frames", "frames_missing", "frames_damaged", "latency_ms", "join_ms", "server", "client",
            "kernel_receive_drops")
    return {key: found[key] for key in keys}


def run_live(options, folder):
    """The benchmark live: rising numbers of viewers, each run from an idle server on."""
    data = os.path.join(folder, "data")
    simulator, rtsp_url = simulate(options, folder)
    add_cameras(options, data, rtsp_url, options.recorded)
    server, client = serve(options, folder, data, 300)
    idle = measure(server, simulator, 5)
    url = f"http://{client.host}"
    runs = []
    for viewers in (int(text) for text in options.viewers.split(",")):
        runs.append(watch(options, server, url, viewers))
        time.sleep(3)
    status = server.stop()
    is_complete = status == 0 and all(
        run["joined"] == run["viewers"] and not run["lost"] and not run["frames_missing"]
        and not run["frames_damaged"] for run in runs)
    result = {
        "benchmark": "live", "cameras": options.cameras, "recorded": options.recorded,
        "spread_packets": options.spread_packets,
        "seconds": options.seconds, "join_rate": options.join_rate,
        "idle_cpu_cores": idle["cpu_cores"], "runs": runs, "exit_status": status,
        "is_complete": is_complete}
    if not options.no_peer:
        add_janus(options, folder, simulator, rtsp_url, result)
    return result, is_complete


def add_janus(options, folder, simulator, rtsp_url, result):
    """The same cameras by Janus, with fewer viewers: its clients cost more than ours."""
    numbers = [int(text) for text in options.peer_viewers.split(",")]
    try:
        peer = janus.measure_janus(folder, rtsp_url, options.cameras, numbers, options.seconds)
        if simulator.child.poll() is not None:
            raise BenchError("without cameras nothing was sent")
    except BenchError as problem:
        # Our own numbers stand without the peer's.
        if simulator.child.poll() is not None:
            problem = f"the simulator ended ({simulator.child.returncode}): {simulator.tail()}"
        say(f"NOT COMPARED WITH JANUS: {problem}")
        result.update({"peer": None, "peer_missing": str(problem)})
        return
    result["peer"] = peer
    theirs = max(peer["runs"], key=lambda run: run["viewers"])
    ours = min(
        (run for run in result["runs"] if run["viewers"] >= theirs["viewers"]),
        key=lambda run: run["viewers"], default=None)
    if ours is None:
        say(f"no run of ours has {theirs['viewers']} viewers or more: no ratio")
        return
    # Percent of a core per viewer of the whole process, its camera connections included, in both:
    # Janus's with most viewers, divided by ours with the next number of viewers that is not smaller
    # (the same number where --viewers has it; with a larger one our cameras' share is spread wider).
    result["ratio_viewers"] = [theirs["viewers"], ours["viewers"]]
    result["ratio_cpu_per_viewer"] = round(
        theirs["cpu_percent_per_viewer"] / (100 * ours["server"]["cpu_cores"] / ours["joined"]), 2)


def run_wall(options, folder):
    """The benchmark wall: a browser beside the server, which are measured over the same time."""
    if not os.path.exists(BROWSER_PYTHON):
        raise BenchError("a browser is needed: scripts/bootstrap test installs it")
    data = os.path.join(folder, "data")
    simulator, rtsp_url = simulate(options, folder)
    add_cameras(options, data, rtsp_url, options.recorded)
    server, client = serve(options, folder, data, 300)
    browser = Program(
        "browser",
        [BROWSER_PYTHON, os.path.join(ROOT, "Benchmarks", "wall.py"),
         "--url", f"http://{client.host}", "--tiles", str(options.cameras), "--fps", str(options.fps),
         "--seconds", str(options.seconds)], folder)
    found = measure(server, simulator, options.seconds)
    try:
        browser.child.wait(timeout=options.seconds + 90)
    except subprocess.TimeoutExpired:
        raise BenchError("the browser does not end: " + browser.tail()) from None
    with open(browser.out_path, encoding="utf-8") as file:
        text = file.read()
    if browser.child.returncode != 0 or not text:
        raise BenchError("the browser failed: " + browser.tail())
    shown = json.loads(text)
    result = {"benchmark": "wall", "cameras": options.cameras, "seconds": options.seconds, **shown,
              "server": found, "exit_status": server.stop()}
    return result, shown["by_webrtc"] == options.cameras and bool(shown["glass_to_glass_ms"])


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "benchmark", nargs="?", default="record",
        choices=["ingest", "record", "playback", "live", "wall"])
    parser.add_argument("--cameras", type=int, help="how many (20; playback 9; live 50; wall 16)")
    parser.add_argument("--seconds", type=int, help="how long (60; playback: live before, 20)")
    parser.add_argument("--hours", type=int, default=24, help="playback: recorded past")
    # The past of the playback benchmark is small pictures: what counts there is how many there are.
    parser.add_argument("--size", help="1280x720; playback 320x180")
    parser.add_argument("--fps", type=int, help="25; playback 5")
    parser.add_argument("--gop", type=int, help="50; playback 10")
    parser.add_argument("--bitrate", help="2M; playback 64k")
    parser.add_argument("--prepares", type=int, default=500, help="playback sessions to start")
    parser.add_argument("--seed", type=int, default=1, help="of the random ranges")
    parser.add_argument("--viewers", default="100,150,200,500,1000", help="live: one run for each number")
    parser.add_argument("--join-rate", type=int, default=100, help="live: viewers that join a second")
    parser.add_argument(
        "--spread-packets", action="store_true", help="cameras send each packet by itself")
    parser.add_argument("--recorded", action="store_true", help="live: record all cameras meanwhile")
    parser.add_argument(
        "--peer-viewers", default="50,100,150", help="live: Janus's numbers of viewers")
    parser.add_argument("--no-peer", action="store_true", help="leave ffmpeg (live: Janus) out")
    parser.add_argument("--folder", help="where recordings go while measuring (temporary)")
    options = parser.parse_args()
    is_playback = options.benchmark == "playback"
    usual = {"playback": 9, "live": 50, "wall": 16}
    options.cameras = options.cameras or usual.get(options.benchmark, 20)
    options.seconds = options.seconds or (20 if options.benchmark in usual else 60)
    # A wall's tiles are small: a site sends them its cameras' small pictures.
    sizes = {"playback": "320x180", "wall": "640x360"}
    options.size = options.size or sizes.get(options.benchmark, "1280x720")
    options.fps = options.fps or (5 if is_playback else 25)
    options.gop = options.gop or (10 if is_playback else 50)
    options.bitrate = options.bitrate or ("64k" if is_playback else "2M")
    return options


def main():
    options = parse()
    # A SIGTERM must pass the cleanup below, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    host = machine()
    if shutil.which("ffmpeg") is None:
        say("ffmpeg is needed: scripts/bootstrap installs it")
        return 1
    folder = tempfile.mkdtemp(prefix="marsad-bench-", dir=options.folder)
    try:
        run = {"playback": run_playback, "live": run_live, "wall": run_wall}.get(options.benchmark, run_cameras)
        result, is_good = run(options, folder)
        result["scene"] = f"{options.size} {options.fps} fps gop {options.gop} {options.bitrate}"
        result["machine"] = host
        print(json.dumps(result, indent=2))
        return 0 if is_good else 1
    except BenchError as problem:
        say(str(problem))
        return 1
    finally:
        end_all()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
