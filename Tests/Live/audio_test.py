# Hears a camera with aiortc, and does not hear one that may not be heard.
# SPDX-License-Identifier: Apache-2.0
"""Usage: audio_test.py [--marsad .build/release/marsad]

Starts simulated cameras with a tone and a server of its own, on loopback with free ports and in a
temporary folder. Prints one line a check and "N passed, N failed"; exits 1 on failure.
"""
import argparse
import array
import asyncio
import cmath
import contextlib
import os
import subprocess
import sys
import tempfile
import time

from aiortc.mediastreams import MediaStreamError
from live_test import Server, Viewer
from turn_test import MARSAD, Checks, program, ready_line, until

TONE = 440


class Listener(Viewer):
    """A viewer who offers to hear."""

    def __init__(self, server, camera):
        super().__init__(server, camera)
        self.peer.addTransceiver("audio", direction="recvonly")
        self.heard = []
        self.rate = 0
        self.ears = None
        self.answer = ""

    def _track(self, track):
        if track.kind == "video":
            super()._track(track)
        else:
            self.ears = asyncio.ensure_future(self._hear(track))

    async def _hear(self, track):
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self.rate = frame.sample_rate
                channels = len(frame.layout.channels)
                samples = array.array("h", bytes(frame.planes[0])[:2 * channels * frame.samples])
                self.heard.append(samples[::channels])

    async def join(self):
        def keep(answer):
            self.answer = answer
            return answer
        await super().join(keep)

    async def leave(self):
        if self.ears:
            self.ears.cancel()
        await super().leave()


def loudest(heard, rate):
    """The frequency of the strongest tone from 100 to 1000 Hz, and the root of the mean square."""
    samples = [sample for frame in heard for sample in frame]

    def power(frequency):
        step = -2j * cmath.pi * frequency / rate
        return abs(sum(sample * cmath.exp(step * n) for n, sample in enumerate(samples)))

    loudness = (sum(sample * sample for sample in samples) / len(samples)) ** 0.5
    return max(range(100, 1000, 4), key=power), loudness


async def check_sound(checks, server, camera):
    viewer = Listener(server, camera)
    try:
        await viewer.join()
        checks.check("\r\nm=audio 9 " in viewer.answer and "PCMU/8000" in viewer.answer,
                     "the answer takes the audio, in the camera's codec", viewer.answer)
        enough = await viewer.frames(50, 20)
        checks.check(enough, "video comes beside the sound", f"{len(viewer.times)} frames")
        deadline = time.monotonic() + 10
        while len(viewer.heard) < 100 and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        if not checks.check(len(viewer.heard) >= 100, "sound comes",
                            f"{len(viewer.heard)} frames of sound"):
            return
        # What a player makes up before the first packets is left out.
        tone, loudness = loudest(viewer.heard[-20:], viewer.rate)
        checks.check(loudness > 1000, "it is not silence", f"{loudness:.0f}")
        checks.check(abs(tone - TONE) < 5, f"it is the camera's tone of {TONE} Hz",
                     f"{tone} Hz")
        begun, count = time.monotonic(), len(viewer.heard)
        await asyncio.sleep(3)
        rate = (len(viewer.heard) - count) / (time.monotonic() - begun)
        checks.check(45 < rate < 55, "it comes in real time", f"{rate:.1f} packets a second")
        stats = await viewer.peer.getStats()
        lost = [s.packetsLost for s in stats.values()
                if s.type == "inbound-rtp" and s.kind == "audio"]
        checks.check(lost == [0], "none of it is lost", str(lost))
    finally:
        await viewer.leave()


async def check_silence(checks, server, camera):
    viewer = Listener(server, camera)
    try:
        await viewer.join()
        checks.check("a=inactive\r\n" in viewer.answer.partition("m=audio")[2],
                     "a camera that may not be heard answers the audio as inactive", viewer.answer)
        enough = await viewer.frames(25, 20)
        checks.check(enough, "… and its video plays", f"{len(viewer.times)} frames")
        checks.check(not viewer.heard, "… without a sound")
    finally:
        await viewer.leave()


def check_all(checks, marsad, folder):
    data, scenes = os.path.join(folder, "data"), os.path.join(folder, "scenes")
    cameras, serve = os.path.join(folder, "cameras.log"), os.path.join(folder, "serve.log")

    def add(url, name, *flags):
        return subprocess.run(
            [marsad, "camera", "add", url, "--name", name, "--data", data, *flags],
            stdout=subprocess.PIPE, check=True, text=True).stdout.strip()

    simulate = [marsad, "simulate", "cameras", "--count", "2", "--audio", "--rtsp-port", "0",
                "--size", "320x180", "--bitrate", "300k", "--scenes", scenes, "--json"]
    with program(simulate, cameras) as simulator:
        rtsp = until(120, lambda: ready_line(cameras), simulator, cameras)["url"]
        loud, mute = add(f"{rtsp}/camera_1", "Loud", "--audio"), add(f"{rtsp}/camera_2", "Mute")
        command = [marsad, "serve", "--data", data, "--http-port", "0", "--json",
                   "--set", "webrtc.port=0", "--set", "ingest.camera_networks=127.0.0.0/8"]
        with program(command, serve) as child:
            server = Server(until(30, lambda: ready_line(serve), child, serve)["url"])

            def online():
                return all(c["status"] == "ONLINE" and c["resolution"] for c in server.cameras())

            until(30, online, child, serve)
            asyncio.run(check_sound(checks, server, loud))
            asyncio.run(check_silence(checks, server, mute))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--marsad", default=MARSAD)
    options = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="marsad-audio-") as folder:
        try:
            check_all(checks, options.marsad, folder)
        except (Exception, SystemExit) as error:
            checks.check(False, "the test reaches its end", f"{type(error).__name__}: {error}")
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
