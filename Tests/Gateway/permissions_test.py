# Who may use which route: every route of openapi.json, asked by every kind of caller.
# SPDX-License-Identifier: Apache-2.0
"""Usage: permissions_test.py [--marsad .build/release/marsad]

Starts simulated cameras and a server of two agencies on free ports in a temporary folder; needs nothing
but Python. Prints one line a check and "N passed, N failed"; exits 1 on failure.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.dirname(__file__))
from agencies import (  # noqa: E402
    NOBODY, AgencyServer, document, operations, request_for, simulated_cameras)
from checks import run  # noqa: E402

REFUSED = {"MISSING_TOKEN", "FORBIDDEN", "SOURCE_FORBIDDEN", "USER_DISABLED", "IP_NOT_ALLOWED"}
# What each kind of caller may do; an administrator everything.
RIGHTS = {"viewer": {"camera:view"}, "operator": {"camera:view", "playback:view"},
          "other agency": {"camera:view", "playback:view"}}
STRANGER = "203.0.113.50"


def is_let_in(answer):
    return answer[0] != 401 and answer[1] not in REFUSED and answer[1] != "CAMERA_NOT_FOUND"


def expected(access, who, has_camera):
    """What must come of it: a sentence and a judgement of (status, code)."""
    if access == "open":
        return "is answered", lambda a: a[1] not in REFUSED
    if access == "operations":
        return "is answered on this machine", lambda a: a[0] in (200, 503)
    if access in ("reservation", "publishing"):
        wanted = "MISSING_TOKEN" if who == "anonymous" else "INVALID_TOKEN"
        return f"is a 401 {wanted}", lambda a: a[:2] == (401, wanted)
    if access == "signed link":
        return "is refused without a signature", lambda a: a[:2] in (
            (401, "INVALID_SIGNATURE"), (404, "NOT_FOUND"))
    if access == "signed body":
        return "is refused without a signature", lambda a: a[:2] == (401, "INVALID_SIGNATURE")
    if access in ("caller", "socket") or access.startswith("permission "):
        if who == "anonymous":
            return "is a 401 MISSING_TOKEN", lambda a: a[:2] == (401, "MISSING_TOKEN")
        if who == "expired":
            return "is a 401 TOKEN_EXPIRED", lambda a: a[:2] == (401, "TOKEN_EXPIRED")
        if who == "disabled":
            return "is refused", lambda a: a[:2] in ((401, "SESSION_REVOKED"), (403, "USER_DISABLED"))
        permission = access.removeprefix("permission ")
        if who != "administrator" and access.startswith("permission ") \
                and permission not in RIGHTS[who]:
            return "is a 403 FORBIDDEN", lambda a: a[:2] == (403, "FORBIDDEN")
        if who == "other agency" and has_camera:
            return "finds no such camera", lambda a: a[:2] == (404, "CAMERA_NOT_FOUND")
        return "is let in", is_let_in
    return None


def check_matrix(server, people, check):
    told = document(server)
    checked, rows = 0, list(operations(told))
    for method, path, operation in rows:
        access = operation.get("x-marsad-access", "")
        camera = server.metro
        wrong = []
        for who, token in people.items():
            # An administrator's changes would be made: of a camera that is none.
            changes = who == "administrator" and method in ("PUT", "PATCH", "DELETE")
            address, body, headers = request_for(
                told, method, path, operation, NOBODY if changes else camera)
            rule = expected(access, who, camera in address or camera in str(body))
            if rule is None:
                wrong.append(f"there is no rule for \"{access}\"")
                break
            if operation["operationId"] == "sign_out" and who in ("viewer", "operator", "other agency",
                                                                  "administrator"):
                login = {"viewer": "vera", "operator": "amina", "other agency": "basma",
                         "administrator": "admin"}[who]
                token = server.token(login)
            answer = server.ask(method, address, body, token, **headers)
            checked += 1
            judged = rule[1](answer) or changes and answer[:2] == (404, "CAMERA_NOT_FOUND")
            if not judged:
                wrong.append(f"{who} {rule[0]}: {answer[0]} {answer[1]}")
            if access == "operations":
                away = server.ask(method, address, body, token, X_Forwarded_For=STRANGER)
                if away[:2] != (403, "IP_NOT_ALLOWED"):
                    wrong.append(f"{who} from elsewhere: {away[0]} {away[1]}")
        check(not wrong, f"{method} {path} ({access})", "; ".join(wrong))
    check(checked >= len(rows) * len(people), f"{checked} of {len(rows)} routes × {len(people)} callers")


def check_all(marsad, folder, check):
    with simulated_cameras(marsad, folder, 2) as rtsp:
        server = AgencyServer(marsad, folder, rtsp)
        try:
            check(server.wait_for_pictures(), "both cameras deliver")
            check_matrix(server, server.people(), check)
        finally:
            server.stop()


if __name__ == "__main__":
    run("permissions", check_all)
