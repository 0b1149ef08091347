# The page as people meet it: signing in, quotas, and the end of their rights, in both languages.
# SPDX-License-Identifier: Apache-2.0
"""Usage: people_test.py [--marsad .build/release/marsad] [--only people,wall]

Starts demos of its own on free ports in temporary folders, and headless Chromium. Prints one line a
check and "N passed, N failed"; exits 1 on failure.
"""
import argparse
import json
import os
import stat
import sys
import tempfile

from selenium.webdriver.common.by import By

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from browser_test import click, door, moves, script_errors, sign_in, tiles, until  # noqa: E402
from checks import Checks  # noqa: E402
from chromium import chromium  # noqa: E402
from demo import Demo  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))
PATIENCE = 60
# The operator's agency has three cameras and two seats.
LIMITS = "DUBAI_POLICE=50:Dubai Police:شرطة دبي,METRO=2:Metro:المترو,BUS=20:Bus:الحافلات"
REFUSED = {"en": "Camera limit reached for Metro (2/2)",
           "ar": "تم الوصول إلى حد الكاميرات: المترو (2/2)"}
WRONG = {"en": "The name or the password is not right",
         "ar": "اسم المستخدم أو كلمة المرور غير صحيحة"}
DISABLED = {"en": "The account is not active", "ar": "الحساب غير مفعّل"}

# Says of every counter that changes what it shows and when (ms since 1970).
WATCH_SEATS = """
window.seen = []; const seats = document.getElementById('seats');
new MutationObserver(() => window.seen.push([Date.now(), seats.innerText]))
    .observe(seats, {childList: true, subtree: true, characterData: true});
"""


def speak(driver, language):
    """Changes the language at the door."""
    if driver.execute_script("return document.documentElement.lang") != language:
        driver.find_element(By.ID, "doorLang").click()


def find(driver, words):
    field = driver.find_element(By.CSS_SELECTOR, '[data-testid="search"]')
    field.clear()
    field.send_keys(words + " ")


def seats(driver):
    return driver.find_element(By.CSS_SELECTOR, '[data-testid="seats"]').text


def session(driver):
    return json.loads(driver.execute_script(
        "return sessionStorage.getItem('marsad.session')") or "{}")


def live(driver):
    return [t for t in tiles(driver) if t["shown"] == "live"]


def check_accounts(demo, folder, check):
    check(set(demo.passwords) == {"operator", "supervisor", "administrator"}
          and all(len(p) > 20 for p in demo.passwords.values())
          and len(set(demo.passwords.values())) == 3,
          "the demo shows three accounts, each with a password of its own", str(demo.ready.keys()))
    kept = os.stat(os.path.join(folder, "data", "demo-accounts.json"))
    check(stat.S_IMODE(kept.st_mode) == 0o600, "which are kept for their owner alone")
    check(demo.ask("GET", "/api/v1/cameras")[0] == 401, "without an account nobody gets in")
    _, users = demo.ask("GET", "/api/v1/iam/users", token=demo.token("administrator"))
    check(sorted(u["login_id"] for u in users["users"]) == sorted(demo.passwords),
          "there is no other account", str(users))


def check_visit(driver, watcher, demo, language, check):
    """One operator, from the door to the limit and out again, in one language."""
    name = {"en": "English", "ar": "Arabic"}[language]
    check(until(PATIENCE, lambda: door(driver) is not None), f"{name}: the page opens its door")
    speak(driver, language)
    direction = driver.execute_script("return document.documentElement.dir")
    check(direction == ("rtl" if language == "ar" else "ltr"), f"{name}: in its direction", direction)
    check(not tiles(driver), f"{name}: behind it nothing is shown")
    sign_in(driver, "operator", "not the password")
    check(until(PATIENCE, lambda: door(driver) == WRONG[language]),
          f"{name}: a wrong password is told", str(door(driver)))
    check(until(5, lambda: "METRO 0/2" in seats(watcher)), "nobody watches yet", seats(watcher))
    sign_in(driver, "operator", demo.passwords["operator"])
    check(until(PATIENCE, lambda: len(tiles(driver)) == 3), f"{name}: the operator sees three cameras",
          f"{len(tiles(driver))} tiles, door {door(driver)}")
    check(until(PATIENCE, lambda: len(live(driver)) == 2), f"{name}: opens two of them",
          str([(t["shown"], t["status"]) for t in tiles(driver)]))
    shown = " ".join(f'[data-camera-id="{t["id"]}"]' for t in live(driver)).replace(" ", ",")
    _, moving = moves(driver, shown, 20)
    check(len(moving) == 2, f"{name}: both decode new frames whose pixels change", str(moving))
    refused = driver.find_elements(By.CSS_SELECTOR, '[data-refused="AGENCY_LIMIT_EXCEEDED"]')
    check(len(refused) == 1 and REFUSED[language] in refused[0].text,
          f"{name}: the third says whose limit it is", " | ".join(r.text for r in refused))
    check(until(10, lambda: "METRO 2/2" in seats(watcher)), f"{name}: a second window counts both",
          seats(watcher))


def check_counter(driver, watcher, check):
    """What one window gives back and takes the other one shows, without asking for it."""
    watcher.execute_script(WATCH_SEATS)
    for words, wanted in (("no such camera", "METRO 0/2"), ("Metro", "METRO 2/2")):
        before = driver.execute_script("return Date.now()")
        find(driver, words)
        until(20, lambda: wanted in seats(watcher))
        when = [at for at, text in watcher.execute_script("return window.seen")
                if wanted in text and at >= before]
        print(f"     {wanted}: {when[0] - before if when else None} ms after it was typed", flush=True)
        check(wanted in seats(watcher), f"a second window shows {wanted}", seats(watcher))
    asked = watcher.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
        ".filter(n => n.includes('/stream/stats'))")
    check(not asked, "told by its WebSocket, not asked for", str(asked))
    find(driver, "")
    until(PATIENCE, lambda: len(live(driver)) == 2)


def check_session(driver, demo, check):
    stored = driver.execute_script("return JSON.stringify({...localStorage})")
    check("access" not in stored and session(driver)["access"] not in stored,
          "no token is kept beyond the window", stored)
    first = session(driver)
    driver.execute_script(
        "const s = JSON.parse(sessionStorage['marsad.session']);"
        "sessionStorage['marsad.session'] = JSON.stringify({...s, until: 0})")
    renewed = until(20, lambda: session(driver).get("refresh") not in (None, first["refresh"]))
    check(renewed and door(driver) is None, "a token that runs out is renewed while one watches")
    frames = {t["id"]: t["frames"] for t in live(driver)}
    check(len(frames) == 2 and until(10, lambda: all(
        t["frames"] > frames.get(t["id"], 0) for t in live(driver))), "and the pictures go on",
        str(frames))
    driver.refresh()
    check(until(PATIENCE, lambda: len(live(driver)) == 2) and door(driver) is None,
          "who reloads the page stays signed in")

    # A browser copies a window with what it keeps.
    original = driver.current_window_handle
    driver.execute_script("window.open(location.href)")
    driver.switch_to.window([w for w in driver.window_handles if w != original][0])
    until(PATIENCE, lambda: tiles(driver))
    copied = session(driver).get("refresh")
    driver.execute_script(
        "const s = JSON.parse(sessionStorage['marsad.session']);"
        "sessionStorage['marsad.session'] = JSON.stringify({...s, access: 'x.y.z'})")
    check(copied and until(PATIENCE, lambda: door(driver) is not None),
          "a copied window asks for its own signing in when its token has run out")
    driver.close()
    driver.switch_to.window(original)
    check(until(PATIENCE, lambda: len(live(driver)) == 2) and door(driver) is None,
          "and does not end the session of the first one")


def check_disabled(driver, demo, check):
    admin = demo.token("administrator")
    _, users = demo.ask("GET", "/api/v1/iam/users?q=operator", token=admin)
    address = f"/api/v1/iam/users/{users['users'][0]['user_id']}/status"
    begun = driver.execute_script("return Date.now()")
    driver.execute_script(
        "new MutationObserver(() => window.shut ??= Date.now())"
        ".observe(document.getElementById('door'), {attributes: true})")
    demo.ask("PATCH", address, {"status": "DISABLED"}, admin)
    language = driver.execute_script("return document.documentElement.lang")
    check(until(10, lambda: door(driver) == DISABLED[language]), "a disabled user is told why",
          str(door(driver)))
    shut = driver.execute_script("return window.shut")
    print(f"     {shut and shut - begun} ms after it was asked for",
          flush=True)
    check(not tiles(driver), "and sees nothing more")
    driver.find_element(By.ID, "doorLang").click()
    other = driver.execute_script("return document.documentElement.lang")
    check(door(driver) == DISABLED[other], "in the other language as well", str(door(driver)))
    demo.ask("PATCH", address, {"status": "ACTIVE"}, admin)


def rename_camera(demo):
    """The id of a camera of another agency than the operator's."""
    admin = demo.token("administrator")
    _, listed = demo.ask("GET", "/api/v1/cameras?source=BUS", token=admin)
    camera = listed["cameras"][0]
    demo.ask("PUT", f"/api/v1/cameras/{camera['id']}", {"name": "Renamed", "source": "BUS"}, admin)
    return camera["id"]


def is_online(demo, camera, name):
    _, found = demo.ask("GET", f"/api/v1/cameras/{camera}", token=demo.token("administrator"))
    return (found["name"], found["status"]) == (name, "ONLINE")


def check_people(options, checks):
    check = checks.check
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(options.marsad, folder, "--set", f"limits.sources={LIMITS}")
        try:
            check_accounts(demo, folder, check)
            with chromium(demo.url) as driver, chromium(demo.url) as watcher:
                sign_in(watcher, "supervisor", demo.passwords["supervisor"])
                # Looks at no camera, so that its own viewing does not count.
                find(watcher, "no such camera")
                check(until(PATIENCE, lambda: "METRO" in seats(watcher) and "BUS" in seats(watcher)),
                      "a supervisor sees the counters of all agencies", seats(watcher))
                for language in ("en", "ar"):
                    driver.get(demo.url)
                    check_visit(driver, watcher, demo, language, check)
                    if language == "en":
                        check_counter(driver, watcher, check)
                        check_session(driver, demo, check)
                    click(driver, "sign-out")
                    check(until(5, lambda: "METRO 0/2" in seats(watcher)) and not tiles(driver),
                          "signing out ends what was watched", seats(watcher))
                    check(not session(driver) and not door(driver), "and is no error", str(door(driver)))
                sign_in(driver, "operator", demo.passwords["operator"])
                check(until(PATIENCE, lambda: len(live(driver)) == 2), "and in again")
                first, named = demo.passwords, rename_camera(demo)
                demo.stop()
                demo.command[demo.command.index("--http-port") + 1] = str(demo.port)
                demo.start()
                check(demo.passwords == first, "a demo that starts again has the same passwords")
                check(until(PATIENCE, lambda: is_online(demo, named, "Renamed")),
                      "and its cameras the names that they were given, on their new addresses")
                check(until(PATIENCE, lambda: len(live(driver)) == 2) and door(driver) is None,
                      "and who was signed in goes on", str(door(driver)))
                check_disabled(driver, demo, check)
                wrong = script_errors(driver) + script_errors(watcher)
                check(not wrong, "the page logs no script error", "; ".join(wrong[:3]))
        finally:
            check(demo.stop() == 0, "the demo ends with status 0")


def check_wall(options, checks):
    """Sixteen tiles behind one address of which the server takes far fewer requests than they make."""
    check = checks.check
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(options.marsad, folder, "--cameras", "16", "--set", "limits.sources=",
                    "--set", "limits.address_per_second=10", "--set", "limits.address_burst=20")
        try:
            with chromium(demo.url) as driver:
                sign_in(driver, "administrator", demo.passwords["administrator"])
                check(until(PATIENCE, lambda: len(tiles(driver)) == 16), "a wall of 16 tiles opens")
                seen = {"refused": 0, "banner": 0}

                def all_live():
                    seen["refused"] += len(driver.find_elements(By.CSS_SELECTOR, "[data-refused]"))
                    seen["banner"] += driver.find_element(By.ID, "banner").is_displayed()
                    return len(live(driver)) == 16

                check(until(2 * PATIENCE, all_live), "all of them play",
                      str([t["shown"] for t in tiles(driver)]))
                check(seen == {"refused": 0, "banner": 0},
                      "and none shows an error on its way there", str(seen))
                limited = [e for e in driver.get_log("browser") if "429" in e["message"]]
                check(limited, "though the server refused requests for being too many")
        finally:
            check(demo.stop() == 0, "the demo of the wall ends with status 0")


PARTS = {"people": check_people, "wall": check_wall}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--marsad", default=os.path.join(ROOT, ".build", "release", "marsad"))
    parser.add_argument("--only", help="parts, separated by commas: " + ", ".join(PARTS))
    options = parser.parse_args()
    checks = Checks()
    for name in (options.only or ",".join(PARTS)).split(","):
        try:
            PARTS[name](options, checks)
        except Exception as error:  # The other parts run all the same.
            checks.check(False, f"{name} reaches its end", f"{type(error).__name__}: {error}")
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
