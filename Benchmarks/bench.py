# Measures the server from outside, beside ffmpeg doing the same work: one JSON object on stdout.
# SPDX-License-Identifier: Apache-2.0
"""ingest: connect and keep live. record: also write files. playback: prepare and first media.
live: WebRTC viewers, by a load client of its own that checks every packet and frame; beside Janus.
churn: viewers that come and go while all is recorded. wall: the page in a browser, all cameras at
once: until all move, and how old what it shows is. reserve: seats over HTTP, counted in memory and
in Valkey. valkey: the script that takes a seat, beside valkey-benchmark. outage: a Valkey that hangs.
lists: an operator's list of 500 cameras. decisions: who may see which camera. updates: WebSocket
clients, some of which stop reading: how fast a change reaches the others."""

import argparse
import datetime
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

import lists
import outage
import reserve
import valkey
from installation import MARSAD, add_cameras, checked, measure, serve, simulate
from procs import BenchError, Program, bar, end_all, machine, percentile, say, spread_ms
from viewers import run_churn, run_live, run_wall

PEER_CAMERAS = 20
PEER_SECONDS = 60
WITHOUT_VIDEO = {"reserve", "valkey", "outage", "lists", "decisions"}


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


def run_reserve(options, folder):
    """The benchmark reserve: seats over HTTP."""
    result = reserve.measure_reserve(folder, options.seconds)
    runs = [result[name] for name in ("memory", "valkey") if name in result]
    is_good = all(
        run["exit_status"] == 0 and set(run[part]["statuses"]) == {"201"}
        for run in runs for part in ("most", "steady", "most_kept"))
    return result, is_good


def run_valkey(options, folder):
    """The benchmark valkey: no server, the client alone."""
    return valkey.measure_script(folder, options.seconds), True


def run_outage(options, folder):
    """The benchmark outage: a Valkey that hangs for so many seconds."""
    result = outage.measure_outage(folder, options.seconds)
    return result, outage.is_good(result)


def run_lists(options, folder):
    """The benchmark lists: 500 lists of 500 cameras a second."""
    result = lists.measure_lists(folder, options.seconds)
    return result, lists.is_good(result)


def run_decisions(options, folder):
    """The benchmark decisions: no server, and no network."""
    done = subprocess.run([MARSAD, "bench", "decisions"], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError("bench decisions: " + done.stderr[-1000:])
    found = json.loads(done.stdout)
    bars = {"p50_ms": bar(found["p50_ms"], most=5)}
    return {"benchmark": "decisions", **found, "bars": bars}, True


def run_updates(options, folder):
    """The benchmark updates: one camera, many sockets."""
    data = os.path.join(folder, "data")
    simulator, rtsp_url = simulate(options, folder)
    add_cameras(options, data, rtsp_url, False)
    server, _ = serve(
        # Each reservation is a change, also of a camera that somebody watches.
        options, folder, data, 300, "quota.unit=viewer",
        f"limits.sources=DEFAULT={options.changes + 1}")
    done = subprocess.run(
        [MARSAD, "bench", "updates", "--url", server.ready(1)["url"], "--server-pid", str(server.pid),
         "--clients", str(options.clients), "--sleepers", str(options.sleepers),
         "--changes", str(options.changes)], capture_output=True, text=True, timeout=600)
    if not done.stdout:
        raise BenchError("the clients failed: " + done.stderr[-2000:])
    found = json.loads(done.stdout)
    result = {"benchmark": "updates", **found, "exit_status": server.stop()}
    return result, done.returncode == 0


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "benchmark", nargs="?", default="record",
        choices=["ingest", "record", "playback", "live", "churn", "wall", "reserve", "valkey", "outage",
                 "lists", "decisions", "updates"])
    parser.add_argument("--cameras", type=int, help="how many (20; playback 9; live 50; churn 10; wall 16)")
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
    parser.add_argument("--joins", type=int, default=40_000, help="churn: viewers that join in all")
    parser.add_argument("--join-rate", type=int, default=100, help="live: viewers that join a second")
    parser.add_argument(
        "--spread-packets", action="store_true", help="cameras send each packet by itself")
    parser.add_argument("--recorded", action="store_true", help="live: record all cameras meanwhile")
    parser.add_argument(
        "--peer-viewers", default="50,100,150", help="live: Janus's numbers of viewers")
    parser.add_argument("--no-peer", action="store_true", help="leave ffmpeg (live: Janus) out")
    parser.add_argument("--clients", type=int, default=1000, help="updates: sockets that read")
    parser.add_argument("--sleepers", type=int, default=100, help="updates: sockets that stop reading")
    parser.add_argument("--changes", type=int, default=50, help="updates: changes to time")
    parser.add_argument("--folder", help="where recordings go while measuring (temporary)")
    options = parser.parse_args()
    is_playback = options.benchmark == "playback"
    usual = {"playback": 9, "live": 50, "churn": 10, "wall": 16, "updates": 1}
    options.cameras = options.cameras or usual.get(options.benchmark, 20)
    seconds = {"reserve": 10, "valkey": 3, "outage": 10, "lists": 20, **dict.fromkeys(usual, 20)}
    options.seconds = options.seconds or seconds.get(options.benchmark, 60)
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
    has_video = options.benchmark not in WITHOUT_VIDEO
    if has_video and shutil.which("ffmpeg") is None:
        say("ffmpeg is needed: scripts/bootstrap installs it")
        return 1
    folder = tempfile.mkdtemp(prefix="marsad-bench-", dir=options.folder)
    try:
        runs = {
            "playback": run_playback, "live": run_live, "churn": run_churn, "wall": run_wall,
            "reserve": run_reserve, "valkey": run_valkey, "outage": run_outage, "lists": run_lists,
            "decisions": run_decisions, "updates": run_updates}
        result, is_good = runs.get(options.benchmark, run_cameras)(options, folder)
        if has_video:
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
