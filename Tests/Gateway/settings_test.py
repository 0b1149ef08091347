# What administrators set and what people arrange: limits of seats, and layouts of walls.
# SPDX-License-Identifier: Apache-2.0
"""Usage: settings_test.py [--marsad .build/release/marsad]

Starts a server of its own on a free port in a temporary folder; needs nothing but Python. Prints one
line a check and "N passed, N failed"; exits 1 on failure.
"""
import argparse
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from checks import Checks  # noqa: E402
from gateway_test import ROOT, Connection  # noqa: E402
from accounts_test import NOBODY, Server, reserve  # noqa: E402
from cameras_test import Client  # noqa: E402

LIMITS = "/api/v1/admin/limits"


def check_limits(server, check):
    admin, guard = Client(server, check, "admin"), Client(server, check, "guard")
    first = admin("limits are read", 200, "GET", LIMITS)
    check(first == {"version": 0, "sources": []}, "none are set", str(first))
    for method, body in [("GET", None), ("PUT", {"sources": []})]:
        guard(f"{method} is for administrators of storage", 403, method, LIMITS, body)
    metro = {"source": "METRO", "limit": 1, "name_en": "Metro", "name_ar": "المترو"}
    for sentence, body in [("no sources", {"total": 5}), ("a negative one", {"sources": [{**metro, "limit": -1}]}),
                           ("a huge one", {"sources": [{**metro, "limit": 10**19}]}),
                           ("a wrong source", {"sources": [{**metro, "source": "metro"}]}),
                           ("an unknown key", {"sources": [{**metro, "limt": 1}]}),
                           ("a total of text", {"sources": [], "total": "5"})]:
        admin(f"limits with {sentence}", 400, "PUT", LIMITS, body)
    admin("limits with a source twice", 422, "PUT", LIMITS, {"sources": [metro, metro]})

    watcher = Connection(server)
    watcher.upgrade(Sec_WebSocket_Protocol=f"marsad, bearer.{admin.token}")
    watcher.subscribe("quota")
    check(watcher.message()["type"] == "SNAPSHOT", "a client listens")
    held = reserve(server, server.metro, admin.token)
    check(held[0] == 201 and held[2].get("limit") is None, "there is no limit", str(held))
    written = admin("limits are written", 200, "PUT", LIMITS, {"version": 0, "sources": [metro], "total": 5})
    check((written["version"], written["sources"], written["total"]) == (1, [metro], 5)
          and written["updated_by"], "as they were said", str(written))
    told = watcher.until("AGENCY_LIMIT_UPDATE", source="METRO", limit=1)
    check(told["current"] == 1, "who listens is told at once", str(told))
    metro["limit"] = 0
    admin("who has not seen the newest does not write", 409, "PUT", LIMITS, {"version": 0, "sources": [metro]})
    admin("with its version it does", 200, "PUT", LIMITS, {"version": 1, "sources": [metro], "total": 5})
    status, _, _ = server.ask("POST", f"/api/v1/stream/heartbeat/{held[2]['reservation_id']}",
                              token=admin.token)
    check(status == 200, "who has a seat keeps it")
    server.ask("DELETE", f"/api/v1/stream/release/{held[2]['reservation_id']}", token=admin.token)
    status, code, body = reserve(server, server.metro, admin.token)
    check((status, code) == (429, "AGENCY_LIMIT_EXCEEDED") and "المترو" in body["error"]["message_ar"],
          "the limit holds", str(body))
    admin("without a version it is written over any", 200, "PUT", LIMITS, {
        "sources": [{**metro, "limit": 7}], "total": 9})
    rows = [row for row in admin.events("SETTINGS_CHANGED") if row["document"] == "limits"]
    check([row["limits"] for row in rows] == ["METRO=7 total=9", "METRO=0 total=5", "METRO=1 total=5"]
          and rows[2]["limits_before"] == "total=none", "each change is a row of the audit log", str(rows))


def check_after_restart(server, check):
    admin = Client(server, check, "admin")
    kept = admin("after a restart", 200, "GET", LIMITS)
    check((kept["version"], kept["total"], kept["sources"][0]["limit"]) == (3, 9, 7),
          "the limits are those that were written", str(kept))
    stats = admin("and they count", 200, "GET", "/api/v1/stream/stats")
    check([s["limit"] for s in stats["sources"] if s["source"] == "METRO"] == [7],
          "before those of the configuration", str(stats))
    walls = admin("layouts", 200, "GET", "/api/v1/layouts")
    check([w["name"] for w in walls["layouts"]] == ["Everybody's"], "are kept, too", str(walls))


def check_layouts(server, check):
    admin, guard = Client(server, check, "admin"), Client(server, check, "guard")
    path = "/api/v1/layouts"
    wall = {"name": "Wall", "grid_type": "2x2",
            "cameras": [{"cell": 0, "camera_id": server.metro}, {"cell": 3, "camera_id": server.bus}]}
    check(server.ask("GET", path)[0] == 401, "layouts are for who signs in")
    made = admin("a layout is made", 201, "POST", path, wall)
    check({**wall, **made} == made and made["is_global"] is False, "as it was said", str(made))
    own = f"{path}/{made['id']}"
    guard("another's is not seen", 404, "GET", own)
    for method, body in [("PUT", wall), ("DELETE", None)]:
        guard(f"{method} neither", 404, method, own, {**body, "cameras": []} if body else None)
    for sentence, change in [("a grid that is none", {"grid_type": "5x5"}), ("no name", {"name": ""}),
                             ("a huge cell", {"cameras": [{"cell": 10**19, "camera_id": server.metro}]}),
                             ("an unknown key", {"grid": "2x2"})]:
        admin(f"one with {sentence}", 400, "POST", path, {**wall, **change})
    for sentence, cells in [("a cell outside", [4]), ("a cell twice", [1, 1])]:
        admin(f"one with {sentence}", 422, "POST", path, {
            **wall, "cameras": [{"cell": cell, "camera_id": server.metro} for cell in cells]})
    admin("one with a camera that is none", 404, "POST", path, {
        **wall, "cameras": [{"cell": 0, "camera_id": NOBODY}]})
    refused = guard("one with a camera that is not seen", 404, "POST", path, wall)
    check(refused["error"]["code"] == "CAMERA_NOT_FOUND", "which is told as of none", str(refused))
    for grid, cells in [("2x2", 4), ("3x3", 9), ("4x4", 16), ("16-hotspot", 16), ("64-hotspot", 64), ("8x8", 64)]:
        last = admin(f"{grid} has its last cell", 201, "POST", path, {
            "name": grid, "grid_type": grid, "cameras": [{"cell": cells - 1, "camera_id": server.metro}]})
        admin("and no other", 400 if cells == 64 else 422, "PUT", f"{path}/{last['id']}", {
            "name": grid, "grid_type": grid, "cameras": [{"cell": cells, "camera_id": server.metro}]})
        admin("it is removed", 204, "DELETE", f"{path}/{last['id']}")

    guard("one of everybody is an administrator's", 403, "POST", path, {
        "name": "x", "grid_type": "2x2", "is_global": True})
    everybody = {**wall, "name": "Everybody's", "is_global": True}
    shared = admin("who makes it", 201, "POST", path, everybody)
    address = f"{path}/{shared['id']}"
    seen = guard("everybody sees it", 200, "GET", address)
    check(seen["cameras"] == [], "without the cameras that he may not see", str(seen))
    listed = guard("in the list as well", 200, "GET", path)
    check([(w["name"], w["cameras"]) for w in listed["layouts"]] == [("Everybody's", [])],
          "and no more", str(listed))
    for method, body in [("PUT", {**everybody, "cameras": []}), ("DELETE", None)]:
        guard(f"{method} is an administrator's", 403, method, address, body)

    # Somebody who administers layouts and sees one source only.
    group = admin("a group", 201, "POST", "/api/v1/iam/groups", {"name": "Arrangers", "permissions": [
        {"permission": "layout:admin"}, {"permission": "camera:BUS:view"}]})
    user = admin("a member", 200, "GET", "/api/v1/iam/users?q=guard")["users"][0]["user_id"]
    admin("joins", 200, "POST", f"/api/v1/iam/users/{user}/groups", {"group_id": group["group_id"]})
    half = [{"cell": 3, "camera_id": server.bus}]
    check(guard("it now sees half", 200, "GET", address)["cameras"] == half, "of the cameras")
    changed = guard("and changes what it sees", 200, "PUT", address, {
        **everybody, "grid_type": "3x3", "cameras": [{"cell": 8, "camera_id": server.bus}]})
    check(changed["cameras"] == [{"cell": 8, "camera_id": server.bus}], "as it said", str(changed))
    whole = admin("the others", 200, "GET", address)
    check(whole["cameras"] == [{"cell": 0, "camera_id": server.metro}, {"cell": 8, "camera_id": server.bus}],
          "stay where they were", str(whole))
    admin("a layout is removed", 204, "DELETE", own)
    admin("once", 404, "DELETE", own)
    admin("a wrong id is none", 404, "GET", path + "/x")
    rows = [(row["action"], row["name"]) for row in admin.events("LAYOUT_CHANGED")]
    check(rows[0] == ("DELETED", "Wall") and rows[1] == ("CHANGED", "Everybody's")
          and rows[-1] == ("CREATED", "Wall"), "each change is a row of the audit log", str(rows[:3]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--marsad", default=os.path.join(ROOT, ".build", "release", "marsad"))
    options = parser.parse_args()
    checks = Checks()
    check = checks.check
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.marsad, folder)
        server.add_user("guard", "GUARDS")
        for parts in ([check_limits, check_layouts], [check_after_restart]):
            try:
                for part in parts:
                    try:
                        part(server, check)
                    except Exception as error:  # The other parts run all the same.
                        check(False, f"{part.__name__} reaches its end", f"{type(error).__name__}: {error}")
            finally:
                check(server.stop() == 0, "the server ends with status 0")
            if parts[0] == check_limits:
                server.start("--set", "limits.total=2", "--set", "limits.sources=METRO=2")
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
