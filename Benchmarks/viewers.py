# Live viewing measured: many viewers by a load client, viewers that come and go, a wall in a browser.
# SPDX-License-Identifier: Apache-2.0
"""Imported by bench.py."""

import json
import os
import subprocess
import time

import janus
from installation import MARSAD, ROOT, add_cameras, checked, measure, serve, simulate
from procs import BenchError, Program, say

BROWSER_PYTHON = os.path.join(ROOT, ".venv", "bin", "python")


def watch(options, server, url, viewers):
    """One run of the load client, which reads the server's CPU and memory over its own window."""
    say(f"{viewers} viewers for {options.seconds} s")
    done = subprocess.run(
        # Viewers are on machines of their own: here they yield to the server.
        ["nice", "-n", "10", MARSAD, "bench", "live", "--url", url, "--viewers", str(viewers),
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


def run_churn(options, folder):
    """The benchmark churn: viewers that come and go, every other one without a word; recording goes on."""
    data = os.path.join(folder, "data")
    simulator, rtsp_url = simulate(options, folder)
    add_cameras(options, data, rtsp_url, True)
    server, client = serve(options, folder, data, 300)
    say(f"{options.joins} joins, {options.join_rate} a second")
    done = subprocess.run(
        [MARSAD, "bench", "live", "--churn", "--url", f"http://{client.host}",
         "--joins", str(options.joins), "--join-rate", str(options.join_rate),
         "--server-pid", str(server.child.pid)], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError("bench live: " + done.stderr[-1000:])
    found = json.loads(done.stdout)
    status = server.stop()
    recorded = checked(data)
    memory = found["server"]
    lost = sum(recorded[key] for key in ("missing", "doubled", "damaged", "out_of_order"))
    growth = memory["rss_mb_end"] / memory["rss_mb_start"] - 1
    result = {
        "benchmark": "churn", "cameras": options.cameras, "joins": options.joins,
        "join_rate": options.join_rate,
        **{key: found[key] for key in ("seconds", "joined", "failed", "join_ms", "server")},
        "rss_growth_after_first_1000": round(growth, 4),
        "recorded_frames": recorded["frames"], "recorded_lost": lost,
        "exit_status": status}
    # Within five in a hundred of what both were after the first thousand.
    is_flat = growth <= 0.05 and memory["fds_end"] <= memory["fds_start"] * 1.05
    return result, is_flat and lost == 0 and status == 0


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
