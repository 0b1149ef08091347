# A video wall in a browser: how soon all its tiles move, and how old the pictures are that it shows.
# SPDX-License-Identifier: Apache-2.0
"""wall.py --url URL --fps N --loop SECONDS --seconds S: opens the server's page in headless Chromium (by the
tests' Python, which has selenium) and prints one JSON object.

The age of a picture is read from the picture: the simulated cameras draw each frame's number into it as
black and white blocks. Frame k of camera n is due k frames and n golden turns of a frame after a whole
number of loops since 1970, so the number alone says when; nothing the server says is used."""

import argparse
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "Tests")]
from chromium import chromium  # noqa: E402
from procs import percentile, spread_ms  # noqa: E402

# Runs before the page's own scripts: notes when each tile's second frame was presented, counted from
# the start of the navigation. The first one may be a picture that stands still.
OBSERVE = """
window.wall = {moved: {}, ages: []};
new MutationObserver(() => {
  for (const tile of document.querySelectorAll('[data-testid="tile"]')) {
    if (tile.isObserved) continue;
    tile.isObserved = true;
    const video = tile.querySelector('video');
    let seen = 0;
    const next = now => {
      if (++seen === 2) wall.moved[tile.dataset.cameraId] = now;
      else video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }
}).observe(document, {childList: true, subtree: true});
"""

# Reads the blocks of the pictures of some tiles and notes [camera, frame, when it is shown].
READ = """
const block = 16, columns = 16;
const crc8 = bytes => bytes.reduce((crc, byte) => {
  crc ^= byte;
  for (let i = 0; i < 8; i++) crc = crc & 0x80 ? crc << 1 ^ 0x07 : crc << 1;
  return crc & 0xFF;
}, 0xFF);
for (const tile of [...document.querySelectorAll('[data-testid="tile"]')].slice(0, arguments[0])) {
  const video = tile.querySelector('video');
  const canvas = document.createElement('canvas');
  canvas.width = columns; canvas.height = 2;
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.imageSmoothingEnabled = false;
  const next = (_, frame) => {
    const size = video.videoWidth >= 1920 ? 2 * block : block;
    context.drawImage(video, 0, 0, columns * size, 2 * size, 0, 0, columns, 2);
    const pixels = context.getImageData(0, 0, columns, 2).data;
    const bytes = [0, 0, 0, 0];
    for (let i = 0; i < 32; i++) bytes[i >> 3] = bytes[i >> 3] << 1 | (pixels[i * 4 + 1] > 126 ? 1 : 0);
    const reads = crc8(bytes.slice(0, 3)) === bytes[3];
    wall.ages.push([tile.dataset.cameraId, reads ? bytes[0] << 8 | bytes[1] : null,
                    performance.timeOrigin + frame.expectedDisplayTime]);
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
}
"""


def age_ms(number, frame, shown_ms, options):
    """How long before `shown_ms` (since 1970) the frame of a camera was due."""
    length = 1000 / options.fps
    turn = number * 0.61803398875
    due = frame * length + length * (turn - int(turn))
    age = (shown_ms - due) % (options.loop * 1000)
    # A frame is never shown before it was due; what looks so is the two clocks' rounding.
    return age - options.loop * 1000 if age > options.loop * 900 else age


def until(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def run(driver, options):
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": OBSERVE})
    driver.get(options.url)

    def moved():
        return driver.execute_script("return wall.moved")

    until(20, lambda: len(moved()) >= options.tiles)
    times = sorted(moved().values())
    numbers = {
        camera["id"]: int(camera["name"].rsplit(" ", 1)[1])
        for camera in driver.execute_async_script(
            "const done = arguments[0]; fetch('/api/v1/cameras?limit=500').then(r => r.json())"
            ".then(r => done(r.cameras))")}
    time.sleep(2)
    driver.execute_script(READ, options.read)
    time.sleep(options.seconds)
    found = driver.execute_script("return wall.ages")
    ages = [
        age_ms(numbers[camera], frame, shown, options)
        for camera, frame, shown in found if frame is not None]
    via = driver.execute_script(
        "return [...document.querySelectorAll('[data-testid=\"tile\"]')].map(t => t.dataset.via)")
    said = driver.execute_script(
        "return [...document.querySelectorAll('[data-testid=\"tile\"]')]"
        ".map(t => Number(t.dataset.latency)).filter(n => n > 0)")
    return {
        "tiles": len(via), "by_webrtc": via.count("webrtc"), "moving": len(times),
        "first_moving_ms": round(times[0]) if times else None,
        "all_moving_ms": round(times[-1]) if len(times) == options.tiles else None,
        "glass_to_glass_ms": spread_ms([age / 1000 for age in ages]) if ages else None,
        "frames_read": len(ages), "frames_unreadable": len(found) - len(ages),
        "page_says_ms": round(percentile(said, 50)) if said else None,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--tiles", type=int, required=True)
    parser.add_argument("--read", type=int, default=4, help="tiles whose pictures are read")
    parser.add_argument("--fps", type=float, default=25)
    parser.add_argument("--loop", type=float, default=20, help="seconds of a camera's loop")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    with chromium(size=(1920, 1200)) as driver:
        print(json.dumps(run(driver, options)))


if __name__ == "__main__":
    main()
