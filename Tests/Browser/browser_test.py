# Drives the page of a running server with headless Chromium: live tiles, recordings, Arabic.
# SPDX-License-Identifier: Apache-2.0
"""Usage: browser_test.py --url http://127.0.0.1:8080 [--data-dir DIR] [--tiles 9]
                       [--dead-camera ID] [--screenshot PATH] [--account LOGIN:PASSWORD]

Starts nothing but the browser. Prints one line a check and "N passed, N failed"; exits 1 on failure.
"""
import argparse
import os
import sys
import time

from selenium.webdriver.common.by import By

# The folder above holds what the test programs share.
sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from checks import Checks  # noqa: E402
from chromium import chromium  # noqa: E402

# Decoded frames and a sum over the pixels of every <video> below the given elements.
READ_TILES = """
const canvas = document.createElement('canvas'); canvas.width = 64; canvas.height = 36;
const context = canvas.getContext('2d', {willReadFrequently: true});
return [...document.querySelectorAll(arguments[0])].map(e => {
  const video = e.querySelector('video'), image = e.querySelector('img');
  let pixels = null;
  if (video && video.videoWidth > 0) {
    context.clearRect(0, 0, 64, 36); context.drawImage(video, 0, 0, 64, 36);
    pixels = 0; const data = context.getImageData(0, 0, 64, 36).data;
    for (let i = 0; i < data.length; i++) pixels = (pixels * 31 + data[i]) >>> 0;
  }
  return {id: e.dataset.cameraId ?? 'stage', frames: Number(e.dataset.frames), shown: e.dataset.shown,
          status: e.dataset.status, via: e.dataset.via, pixels, image: image ? image.naturalWidth : 0,
          text: e.innerText};
});
"""


def until(seconds, condition):
    """The first true answer of `condition`, else its last answer when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(0.25)


def read(driver, selector):
    return driver.execute_script(READ_TILES, selector)


def tiles(driver):
    return read(driver, '[data-testid="tile"]')


def script_errors(driver):
    return [e["message"] for e in driver.get_log("browser")
            if e["source"] == "javascript" or "Content Security" in e["message"]]


def click(driver, test_id):
    driver.find_element(By.CSS_SELECTOR, f'[data-testid="{test_id}"]').click()


def door(driver):
    """What the door says; None while it is shut."""
    return driver.execute_script(
        "const d = document.getElementById('door');"
        "return d.open ? document.getElementById('doorMessage').innerText : null")


def sign_in(driver, login, password):
    until(40, lambda: door(driver) is not None)
    for test_id, text in (("login-id", login), ("password", password)):
        field = driver.find_element(By.CSS_SELECTOR, f'[data-testid="{test_id}"]')
        field.clear()
        field.send_keys(text)
    click(driver, "sign-in")


def moves(driver, selector, seconds):
    """For each element: whether frames were decoded and pixels changed while we watched."""
    first = {t["id"]: t for t in read(driver, selector)}
    moving = {}

    def all_moved():
        for now in read(driver, selector):
            was = first.get(now["id"], now)
            if was["pixels"] is None:
                first[now["id"]] = now
            elif now["frames"] > was["frames"] and now["pixels"] not in (None, was["pixels"]):
                moving[now["id"]] = now
        return len(moving) == len(first)

    until(seconds, all_moved)
    return first, moving


def check_grid(driver, checks, options):
    until(options.patience, lambda: len(tiles(driver)) >= options.tiles)
    found = tiles(driver)
    checks.check(len(found) >= options.tiles, f"the grid shows at least {options.tiles} cameras",
                 f"{len(found)} tiles")
    dead = options.dead_camera
    expected = [t["id"] for t in found if t["id"] != dead]

    def all_live():
        shown = [t["shown"] == "live" for t in tiles(driver) if t["id"] != dead]
        return bool(shown) and all(shown)

    checks.check(until(options.patience, all_live), "every tile is live",
                 ", ".join(f"{t['id']}: {t['status']}/{t['shown']}" for t in tiles(driver)
                           if t["id"] != dead and t["shown"] != "live"))
    checks.check(
        until(options.patience, lambda: all(
            t["via"] == "webrtc" for t in tiles(driver) if t["id"] != dead)),
        "every live tile plays by WebRTC",
        ", ".join(f"{t['id']}: {t['via']}" for t in tiles(driver) if t["via"] != "webrtc"))
    _, moving = moves(driver, '[data-testid="tile"]:not([data-camera-id="%s"])' % (dead or ""), 15)
    for camera in expected:
        checks.check(camera in moving, f"tile {camera} decodes new frames and its pixels change")
    return expected


def check_dead(driver, checks, options):
    def last_frame():
        mine = [t for t in tiles(driver) if t["id"] == options.dead_camera]
        return mine if mine and mine[0]["image"] > 0 and mine[0]["status"] != "ONLINE" else None

    until(options.patience, last_frame)
    mine = [t for t in tiles(driver) if t["id"] == options.dead_camera]
    if not checks.check(bool(mine), "the lost camera still has its tile"):
        return
    tile = mine[0]
    checks.check(tile["image"] > 0, "the lost camera shows its last frame")
    checks.check(tile["status"] != "ONLINE" and tile["shown"] == "last",
                 "the lost camera is not shown as live", f"{tile['status']}/{tile['shown']}")
    refused = {"English": "Nothing answers at this address", "Arabic": "لا يوجد رد من هذا العنوان"}
    for language, words in refused.items():
        checks.check(until(options.patience, lambda: (last_frame() or [tile])[0]["text"].count(words)),
                     f"it says why in {language}", str(last_frame()))
        click(driver, "language")


def check_recordings(driver, checks, camera, patience):
    driver.find_element(By.CSS_SELECTOR, f'[data-camera-id="{camera}"]').click()
    _, live = moves(driver, '[data-testid="stage"]', patience)
    checks.check(live, "the big view plays live")
    click(driver, "mode-recordings")
    bands = until(patience, lambda: driver.find_elements(By.CSS_SELECTOR, '[data-testid="coverage"]'))
    checks.check(bands, "the timeline shows recorded time")

    def message():
        return driver.find_element(By.CSS_SELECTOR, '[data-testid="message"]').text

    started = until(patience, lambda: read(driver, '[data-testid="stage"]')[0]["shown"] == "recorded")
    checks.check(started, "recorded frames are decoded", message())
    _, moving = moves(driver, '[data-testid="stage"]', patience)
    checks.check(moving, "the recorded picture changes", message())
    click(driver, "close")
    again = until(patience, lambda: [t for t in tiles(driver)
                                     if t["id"] == camera and t["shown"] == "live"])
    checks.check(again, "the grid is live again after the big view closes")


def check_fallback(driver, checks, options):
    """A browser without WebRTC (or behind a firewall that stops it) plays live all the same."""
    script = driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {"source": "window.Kept = RTCPeerConnection; delete window.RTCPeerConnection;"})
    driver.get(options.url)

    def by_hls():
        return [t for t in tiles(driver) if t["via"] == "hls" and t["shown"] == "live"]

    found = until(options.patience, by_hls)
    checks.check(found, "without WebRTC a tile plays by live HLS, and says so",
                 ", ".join(f"{t['via']}/{t['shown']}" for t in tiles(driver)[:3]))
    driver.execute_script("window.RTCPeerConnection = window.Kept")
    checks.check(until(60 + options.patience, lambda: any(
        t["via"] == "webrtc" and t["shown"] == "live" for t in tiles(driver))),
        "and goes back to WebRTC when that comes through again")
    driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def check_arabic(driver, checks):
    click(driver, "language")
    direction, language = driver.execute_script(
        "return [document.documentElement.dir, document.documentElement.lang]")
    checks.check(direction == "rtl" and language == "ar", "Arabic is written right to left")
    wide = driver.execute_script(
        "return document.documentElement.scrollWidth > document.documentElement.clientWidth")
    checks.check(not wide, "the Arabic page does not overflow sideways")
    click(driver, "language")
    checks.check(driver.execute_script("return document.documentElement.dir") == "ltr",
                 "English is written left to right again")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--data-dir", help="the server's data folder, named in the report only")
    parser.add_argument("--tiles", type=int, default=9)
    parser.add_argument("--dead-camera", metavar="ID")
    parser.add_argument("--screenshot", metavar="PATH")
    parser.add_argument("--account", metavar="LOGIN:PASSWORD",
                        help="who sees all cameras, where the server asks who it is")
    parser.add_argument("--patience", type=float, default=40, help="seconds a check may wait")
    options = parser.parse_args()

    checks = Checks()
    if options.data_dir:
        print(f"server {options.url}, data in {options.data_dir}", flush=True)
    with chromium(options.url) as driver:
        if options.account:
            sign_in(driver, *options.account.split(":", 1))
        live = check_grid(driver, checks, options)
        if options.screenshot:
            driver.save_screenshot(options.screenshot)
        if options.dead_camera:
            check_dead(driver, checks, options)
        if live:
            check_recordings(driver, checks, live[0], options.patience)
        check_arabic(driver, checks)
        check_fallback(driver, checks, options)
        wrong = script_errors(driver)
        checks.check(not wrong, "the page logs no script error", "; ".join(wrong[:3]))
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
