# How a test program counts its checks and says what came of them.
# SPDX-License-Identifier: Apache-2.0
import argparse
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Checks:
    """Counts checks and prints each as it ends."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, ok, sentence, detail=""):
        self.passed += bool(ok)
        self.failed += not ok
        suffix = f" ({detail})" if detail and not ok else ""
        print(f"{'ok  ' if ok else 'FAIL'} {sentence}{suffix}", flush=True)
        return bool(ok)


def run(name, check_all):
    """A test program of one server program and one temporary folder: `check_all(marsad, folder, check)`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--marsad", default=os.path.join(ROOT, ".build", "release", "marsad"))
    options = parser.parse_args()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix=f"marsad-{name}-") as folder:
        try:
            check_all(os.path.abspath(options.marsad), folder, checks.check)
        except Exception as error:
            checks.check(False, "the test reaches its end", f"{type(error).__name__}: {error}")
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)
