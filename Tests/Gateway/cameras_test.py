# Camera administration as a client meets it: groups, imports, and who sees what of them.
# SPDX-License-Identifier: Apache-2.0
"""Usage: cameras_test.py [--marsad .build/release/marsad]

Starts a server of its own on a free port in a temporary folder; needs nothing but Python. Prints one
line a check and "N passed, N failed"; exits 1 on failure.
"""
import argparse
import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from checks import Checks  # noqa: E402
from gateway_test import ROOT  # noqa: E402
from accounts_test import Server  # noqa: E402

SECRET = "CANARY-hunter2"


class Client:
    """An account, with what it asked for and what came."""

    def __init__(self, server, check, login):
        self.server, self.check = server, check
        self.token = server.token(login)

    def __call__(self, sentence, status, method, path, body=None, **headers):
        got = self.server.ask(method, path, body, self.token, **headers)
        self.check(got[0] == status and SECRET not in json.dumps(got[2], default=str),
                   f"{sentence}: {status}", str(got)[:500])
        return got[2]

    def events(self, kind):
        rows = self.server.ask("GET", f"/api/v1/audit?event_type={kind}&limit=500",
                               token=self.token)[2]["rows"]
        return [row["details"] for row in rows]


def check_folders(server, check):
    admin, guard = Client(server, check, "admin"), Client(server, check, "guard")
    gates = {"source": "METRO", "folder_id": "gates", "name": "Gates", "name_ar": "البوابات"}
    made = admin("a group is added", 201, "POST", "/api/v1/folders", gates)
    check({**gates, **made} == made, "as it was said", str(made))
    admin("once", 409, "POST", "/api/v1/folders", gates)
    admin("each source has its own", 201, "POST", "/api/v1/folders", {**gates, "source": "BUS"})
    for key, value in [("source", "metro"), ("folder_id", "Gates/1"), ("name", ""),
                       ("name", "x" * 201), ("nam", "x"), ("name_ar", 7)]:
        admin(f"{key} of {value!r:.20}", 400, "POST", "/api/v1/folders", {**gates, key: value})
    turned = admin("what turns a line is left out", 201, "POST", "/api/v1/folders", {
        **gates, "folder_id": "turned", "name": "a\u202eb"})
    check(turned["name"] == "ab", "and the rest is kept", str(turned))
    admin("a name of blanks", 422, "POST", "/api/v1/folders", {**gates, "folder_id": "x", "name": "  "})
    place = "/api/v1/folders/METRO/gates"
    changed = admin("it is renamed", 200, "PUT", place, {"name": "All gates"})
    check(changed["name"] == "All gates" and changed["name_ar"] == "", "in both languages", str(changed))
    for path in ("/api/v1/folders/METRO/none", "/api/v1/folders/METRO/..%2f", "/api/v1/folders/x/gates"):
        admin("an unknown one", 404, "GET", path)

    group = admin("a group of users for it", 201, "POST", "/api/v1/iam/groups", {
        "name": "Gate guards", "permissions": [{"permission": "camera:METRO/gates:view"}]})
    refused = admin("one for a group of cameras that does not exist", 422, "POST", "/api/v1/iam/groups", {
        "name": "Nobody's guards", "permissions": [{"permission": "camera:METRO/none:view"}]})
    check(refused["error"]["details"]["folder"] == "METRO/none", "which is named", str(refused))
    users = admin("its users", 200, "GET", "/api/v1/iam/users?q=guard")["users"]
    admin("one more member", 200, "POST", f"/api/v1/iam/users/{users[0]['user_id']}/groups",
          {"group_id": group["group_id"]})
    guard("a member sees the group", 200, "GET", place)
    guard("and not another's", 404, "GET", "/api/v1/folders/BUS/gates")
    listed = guard("of all groups", 200, "GET", "/api/v1/folders")
    check([(f["source"], f["folder_id"]) for f in listed["folders"]] == [("METRO", "gates")],
          "a member sees its own", str(listed))
    for method, path, body in [("POST", "/api/v1/folders", gates), ("PUT", place, {"name": "x"}),
                               ("DELETE", place, None)]:
        guard(f"{method} is for administrators", 403, method, path, body)

    camera = {"name": "Gate 1", "source": "METRO", "rtsp_url": f"rtsp://u:{SECRET}@127.0.0.1:9/g1"}
    refused = admin("a group that is none", 422, "POST", "/api/v1/cameras",
                    {**camera, "folder_id": "none"})
    check(refused["error"]["details"]["key"] == "folder_id", "is named", str(refused))
    inside = admin("a camera of the group", 201, "POST", "/api/v1/cameras",
                   {**camera, "folder_id": "gates"})["camera"]
    outside = admin("one outside", 201, "POST", "/api/v1/cameras", camera)["camera"]

    def seen():
        return {c["id"] for c in guard("the cameras", 200, "GET", "/api/v1/cameras")["cameras"]}

    check(seen() == {inside["id"]}, "a member sees the new camera of its group and no other")
    guard("the other one does not exist", 404, "GET", f"/api/v1/cameras/{outside['id']}")
    admin("it is moved in", 200, "PUT", f"/api/v1/cameras/{outside['id']}",
          {"name": "Gate 2", "source": "METRO", "folder_id": "gates"})
    check(seen() == {inside["id"], outside["id"]}, "then it is seen at once")
    admin("the group is not removed with cameras", 409, "DELETE", place)
    for each in (inside, outside):
        admin("a camera goes", 204, "DELETE", f"/api/v1/cameras/{each['id']}")
    refused = admin("nor while a permission names it", 409, "DELETE", place)
    check("permission" in refused["error"]["details"]["reason"], "which is said", str(refused))
    admin("the permission goes", 204, "DELETE", f"/api/v1/iam/groups/{group['group_id']}")
    admin("now it goes", 204, "DELETE", place)
    admin("once", 404, "DELETE", place)
    kinds = {kind: len([d for d in admin.events(kind) if d["folder_id"] == "gates"])
             for kind in ("FOLDER_CREATED", "FOLDER_UPDATED", "FOLDER_DELETED")}
    check(kinds == {"FOLDER_CREATED": 2, "FOLDER_UPDATED": 1, "FOLDER_DELETED": 1},
          "each change is one row of the audit log, a refused one none", str(kinds))
    moved = [d for d in admin.events("CAMERA_UPDATED") if d["camera_id"] == outside["id"]]
    check([(d["folder_before"], d["folder_id"]) for d in moved] == [("", "gates")],
          "a move says from where", str(moved))
    check([(d["changed"], d.get("name_before")) for d in moved] == [("name, folder_id", "Gate 1")],
          "and all that was changed", str(moved))
    kept = admin("a camera with settings", 201, "POST", "/api/v1/cameras",
                 {**camera, "recording": False, "retention_days": 3, "has_audio": True})["camera"]
    shown = admin("it is read", 200, "GET", f"/api/v1/cameras/{kept['id']}")
    check((shown["recording_mode"], shown["retention_days"], shown["has_audio"]) == ("OFF", 3, True),
          "with its settings", str(shown))
    admin("it goes", 204, "DELETE", f"/api/v1/cameras/{kept['id']}")


def check_folder_command(server, check):
    def run(*arguments, status=0):
        done = server.command("camera", *arguments, check=False)
        check(done.returncode == status, f"marsad camera {' '.join(arguments[:3])}: {status}",
              done.stdout + done.stderr)
        return done

    url = f"rtsp://u:{SECRET}@127.0.0.1:9/x"
    run("folder", "add", "METRO", "depot", "--name", "Depot", "--name-ar", "المستودع")
    run("folder", "add", "METRO", "depot", status=1)
    run("folder", "add", "METRO", "De pot", status=2)
    run("add", url, "--name", "D", "--source", "METRO", "--folder", "none", status=2)
    camera = run("add", url, "--name", "D", "--source", "METRO", "--folder", "depot",
                 "--external-id", "D-1").stdout.strip()
    again = run("add", url, "--name", "D", "--source", "METRO", "--external-id", "D-1", status=1)
    check(SECRET not in again.stderr, "an external id is taken once", again.stderr)
    listed = [c for c in json.loads(run("list", "--json").stdout) if c["id"] == camera]
    check([(c["folder_id"], c["external_id"]) for c in listed] == [("depot", "D-1")],
          "the list says the group", str(listed))
    run("folder", "remove", "METRO", "depot", status=1)
    run("remove", camera)
    run("remove", camera, status=1)
    run("folder", "remove", "METRO", "depot")
    run("folder", "remove", "METRO", "depot", status=1)


HEADER = "name,name_ar,source,folder_id,external_id,rtsp_url,sub_rtsp_url,has_audio,recording,retention_days"


def sheet(*lines, header=HEADER, end="\r\n"):
    return "\ufeff" + end.join((header,) + lines) + end


def check_import(server, check):
    admin, guard = Client(server, check, "admin"), Client(server, check, "guard")
    path = "/api/v1/cameras/import"

    def send(sentence, body, dry=False, status=200, kind="text/csv; charset=utf-8"):
        got = admin(sentence, status, "POST", path + ("?dry_run=true" if dry else ""), body,
                    Content_Type=kind)
        return got

    def statuses(report):
        return [line["status"] for line in report["lines"]]

    def cameras():
        return {c["external_id"]: c for c in admin("all cameras", 200, "GET", "/api/v1/cameras?limit=500")
                ["cameras"] if c.get("external_id")}

    admin("a group", 201, "POST", "/api/v1/folders", {"source": "METRO", "folder_id": "line-1", "name": "L"})
    url = f"rtsp://viewer:{SECRET}@127.0.0.1:9/"
    good = [f'"Gate ""A"", north",البوابة,METRO,line-1,M-1,{url}1,{url}1/sub,true,no,7',
            f'"Two\r\nlines",خط,METRO,,M-2,{url}2,,,,', f"Third,,BUS,,B-1,{url}3,,0,1,30"]
    planned = send("a dry run of an import", sheet(*good), dry=True)
    check(statuses(planned) == ["created"] * 3 and planned["dry_run"] and not cameras(),
          "says what it would do, and does nothing", str(planned))
    done = send("the import", sheet(*good))
    check(statuses(done) == ["created"] * 3 and [line["line"] for line in done["lines"]] == [2, 3, 5],
          "makes the cameras, and names each by its line", str(done))
    seen = cameras()
    first = seen["M-1"]
    check((first["name"], first["name_ar"], first["folder_id"]) == ('Gate "A", north', "البوابة", "line-1")
          and seen["M-2"]["name"] == "Two lines", "as they were written", str(first))
    check(admin("one", 200, "GET", f"/api/v1/cameras/{first['id']}")["rtsp_url"] == "rtsp://127.0.0.1:9/1",
          "their addresses are shown without passwords")
    created = len(admin.events("CAMERA_CREATED"))
    again = send("the same file again", sheet(*good))
    check(statuses(again) == ["unchanged"] * 3, "changes nothing", str(again))
    check(cameras() == {**cameras(), **{}} and len(admin.events("CAMERA_CREATED")) == created
          and not [d for d in admin.events("CAMERA_UPDATED") if d["camera_id"] == first["id"]],
          "and leaves no row in the audit log")
    other_separator = sheet(*(f"{n};METRO;M-{i};{url}{i}" for i, n in ((1, "Renamed"), (2, "Two lines"))),
                            header="name;source;external_id;rtsp_url", end="\n")
    report = send("a file with other separators and fewer columns", other_separator)
    check(statuses(report) == ["changed", "unchanged"], "changes what it says", str(report))
    after = cameras()
    check(after["M-1"]["folder_id"] == "line-1" and after["M-1"]["name"] == "Renamed",
          "and leaves what it does not name")
    check({k: after[k]["updated_at"] for k in ("M-2", "B-1")}
          == {k: seen[k]["updated_at"] for k in ("M-2", "B-1")}, "and the other cameras as they were")

    bad = [f",,METRO,,X-1,{url}x,,,,", f"n,,metro,,X-2,{url}x,,,,", f"n,,METRO,none,X-3,{url}x,,,,",
           f"n,,METRO,,X-4,http://{SECRET}@x/,,,,", "n,,METRO,,X-5,,,,,", f"n,,METRO,,X-6,{url}x,,maybe,,",
           f"n,,METRO,,X-7,{url}x,,,,{10**19}", f"n,,METRO,,X-8,{url}x,,,,0", f'"n" n,,METRO,,X-9,{url}x,,,,',
           f"n,,METRO,,M-1,{url}1", f"again,,METRO,,OK-1,{url}ok,,,,", f"n,,METRO,,OK-1,{url}ok,,,,"]
    report = send("a file with errors", sheet(*bad))
    codes = [line.get("code") for line in report["lines"]]
    check(codes == ["INVALID_REQUEST"] * 2 + ["UNPROCESSABLE"] + ["INVALID_REQUEST"] * 7
          + [None, "ALREADY_EXISTS"], "each line stands for itself", str(codes))
    check(all(line["message_en"] and line["message_ar"] for line in report["lines"] if "code" in line)
          and report["lines"][2]["details"]["key"] == "folder_id" and report["errors"] == 11,
          "what is wrong is said in both languages", str(report["lines"][2]))
    check(set(cameras()) == {"M-1", "M-2", "B-1", "OK-1"}, "the good line is done", str(set(cameras())))

    listed = [{"name": "JSON", "name_ar": "جيسون", "source": "METRO", "rtsp_url": url + "json",
               "has_audio": False, "retention_days": 5}, {"name": "x", "sauce": "METRO"}, 7,
              {"id": first["id"], "name": "By id", "folder_id": ""},
              {"id": "00000000-0000-4000-8000-00000000dead", "name": "Nobody"}]
    report = send("JSON", json.dumps(listed), kind="application/json")
    check([line.get("code", line["status"]) for line in report["lines"]]
          == ["created", "INVALID_REQUEST", "INVALID_REQUEST", "changed", "CAMERA_NOT_FOUND"],
          "is read like CSV", str(report))
    check("folder_id" not in cameras()["M-1"], "an empty text takes a value away")
    listed[0]["rtsp_url"] = "rtsp://viewer:new-password@127.0.0.1:9/json"
    report = send("a new password without an external id", json.dumps(listed[:1]), kind="application/json")
    check(statuses(report) == ["changed"], "is the same camera's", str(report))

    for sentence, body, kind, status in [
            ("an unknown column", "name,sauce\nx,y\n", "text/csv", 400), ("nothing", "", "text/csv", 400),
            ("a column twice", "name,name\nx,y\n", "text/csv", 400), ("no JSON", "{", "application/json", 400),
            ("an object", "{}", "application/json", 400), ("a form", "x", "text/plain", 415),
            ("too deep", "[" * 50, "application/json", 400),
            ("too many lines", "name\n" + "x\n" * 5001, "text/csv", 413),
            ("too much", "name\n" + "x" * (11 << 20), "text/csv", 413)]:
        send(sentence, body, status=status, kind=kind)
    guard("importing is for administrators", 403, "POST", path, sheet(), Content_Type="text/csv")
    admin("an unknown parameter", 400, "POST", path + "?dry=1", sheet(), Content_Type="text/csv")

    many = sheet(*(f"Camera {i},كاميرا {i},MANY,,N-{i},{url}many/{i},,,," for i in range(500)))
    begun = time.monotonic()
    report = send("500 cameras", many)
    took = time.monotonic() - begun
    check(report["created"] == 500, f"are imported in one file, in {took:.1f} s", str(report["errors"]))
    check(send("again", many)["unchanged"] == 500, "and again without effect")


def check_import_command(server, check, folder):
    def run(*arguments, status=0):
        done = server.command("camera", "import", *arguments, check=False)
        check(done.returncode == status and SECRET not in done.stdout + done.stderr,
              f"marsad camera import {' '.join(arguments[1:])}: {status}", done.stdout + done.stderr)
        return done.stdout

    file = os.path.join(folder, "cameras.csv")
    with open(file, "w", encoding="utf-8") as sheet_file:
        sheet_file.write(f"name,source,external_id,rtsp_url\nC,CLI,C-1,rtsp://u:{SECRET}@127.0.0.1:9/c\n")
    check(run(file, "--dry-run").split()[:2] == ["2", "created"], "a dry run says what would be done")
    check(json.loads(run(file, "--json"))["created"] == 1, "then it is done")
    check(json.loads(run(file, "--json"))["unchanged"] == 1, "once")
    with open(file, "a", encoding="utf-8") as sheet_file:
        sheet_file.write(f"D,CLI,D-1,http://{SECRET}@x/\n")
    check("3 error INVALID_REQUEST" in run(file, status=1), "an error is said with its line")
    run(os.path.join(folder, "none.csv"), status=2)
    file = os.path.join(folder, "cameras.json")
    with open(file, "w", encoding="utf-8") as json_file:
        json.dump([{"source": "CLI", "external_id": "C-1", "name": "CC"}], json_file)
    check(run(file).split()[1] == "changed", "JSON is read by its name")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--marsad", default=os.path.join(ROOT, ".build", "release", "marsad"))
    options = parser.parse_args()
    checks = Checks()
    check = checks.check
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.marsad, folder)
        try:
            server.add_user("guard", "GUARDS")
            for part in [check_folders, check_folder_command, check_import,
                         lambda *both: check_import_command(*both, folder)]:
                try:
                    part(server, check)
                except Exception as error:  # The other parts run all the same.
                    check(False, f"{part.__name__} reaches its end", f"{type(error).__name__}: {error}")
        finally:
            check(server.stop() == 0, "the server ends with status 0")
        verified = server.command("audit", "verify", check=False)
        check(verified.returncode == 0, "the audit log is whole", verified.stdout + verified.stderr)
        with open(os.path.join(folder, "server.err"), "rb") as log:
            check(SECRET.encode() not in log.read(), "no password is in the log")
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
