# How a test program counts its checks and says what came of them.
# SPDX-License-Identifier: Apache-2.0

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
