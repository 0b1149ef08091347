# Processes of a benchmark: started, measured through /proc, and always ended.
# SPDX-License-Identifier: Apache-2.0
"""Linux only: the numbers are the kernel's own, read from outside the measured process."""

import json
import os
import platform
import signal
import subprocess
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")
started = []


def say(text):
    print("bench: " + text, file=sys.stderr, flush=True)


class BenchError(Exception):
    """The benchmark cannot give a number; says why."""


class Program:
    """A child process whose stdout and stderr go to files."""

    def __init__(self, name, arguments, folder):
        self.name = name
        self.out_path = os.path.join(folder, name + ".out")
        self.err_path = os.path.join(folder, name + ".err")
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.child = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        self.pid = self.child.pid
        started.append(self)

    def tail(self):
        with open(self.err_path, "rb") as file:
            return file.read()[-2000:].decode("utf-8", "replace")

    def ready(self, patience):
        """The ready line of --json, as an object."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with open(self.out_path, "rb") as file:
                for line in file.read().splitlines():
                    try:
                        message = json.loads(line)
                    except ValueError:
                        continue
                    if isinstance(message, dict) and message.get("ready"):
                        return message
            if self.child.poll() is not None:
                raise BenchError(f"{self.name} ended early: {self.tail()}")
            time.sleep(0.1)
        raise BenchError(f"{self.name} was not ready within {patience} s")

    def stop(self, number=signal.SIGTERM, patience=30):
        """Ends the process; returns its status, or None where it had to be killed."""
        if self.child.poll() is None:
            self.child.send_signal(number)
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
                return None
        return self.child.returncode

    def cpu_seconds(self):
        """User and system time of all threads so far."""
        with open(f"/proc/{self.pid}/stat") as file:
            # The command's name may hold spaces and parentheses: fields begin after the last one.
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def _kib(self, path, key):
        try:
            with open(f"/proc/{self.pid}/{path}") as file:
                for line in file:
                    if line.startswith(key + ":"):
                        return int(line.split()[1])
        except OSError:
            return 0
        return 0

    def rss_mb(self):
        return self._kib("status", "VmRSS") / 1024

    def rss_peak_mb(self):
        return self._kib("status", "VmHWM") / 1024

    def pss_mb(self):
        """Like RSS, but pages shared by several processes are counted once."""
        return self._kib("smaps_rollup", "Pss") / 1024

    def threads(self):
        return self._kib("status", "Threads")

    def written_bytes(self):
        """Bytes given to write calls, whether or not they have reached the disk."""
        return self._kib("io", "wchar")


def end_all():
    for program in reversed(started):
        program.stop(signal.SIGKILL)


def machine():
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) // 1024
    return {
        "cpu": model, "cores": os.cpu_count(), "memory_mb": memory, "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }


class Stolen:
    """What a hypervisor took of a virtual machine's processors from now on, in percent of their time."""

    def __init__(self):
        self.begun = self.read()

    @staticmethod
    def read():
        with open("/proc/stat") as file:
            # user nice system idle iowait irq softirq steal; guests are in the first two already.
            times = [int(word) for word in file.readline().split()[1:9]]
        return times[7], sum(times)

    def percent(self):
        stolen, total = (now - then for now, then in zip(self.read(), self.begun))
        return round(100 * stolen / max(total, 1), 1)


def percentile(values, share):
    """The nearest-rank percentile: a value that was really measured."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 100))
    return ordered[int(rank) - 1]


def spread_ms(seconds):
    return {
        "count": len(seconds),
        "p50_ms": round(percentile(seconds, 50) * 1000, 3),
        "p99_ms": round(percentile(seconds, 99) * 1000, 3),
        "max_ms": round(max(seconds) * 1000, 3),
    }


def bar(found, most=None, least=None):
    """What was found beside what is asked for."""
    is_met = found is not None and (most is None or found <= most) and (least is None or found >= least)
    asked = {"at_most": most} if least is None else {"at_least": least}
    return {"found": found, **asked, "is_met": is_met}
