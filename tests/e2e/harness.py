"""What every end-to-end file needs: where things are, and a main that the runner can add up."""
import atexit
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("SLUICE_BUILD", "build"))
TMP = os.path.join(ROOT, "build", "tmp")
MEDIA = os.path.join(ROOT, os.environ.get("SLUICE_MEDIA", "../shared/media"), "clips")
FULL = os.environ.get("SLUICE_TEST_FULL") == "1"

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    """For preexec_fn: a test that is killed leaves no process behind."""
    _libc.prctl(1, signal.SIGKILL)


def program(name):
    return os.path.join(BUILD, name)


def free_ports(count):
    """Ports of loopback that nobody listens on now; taken together, so that they differ."""
    sockets = []
    for _ in range(count):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        sockets.append(s)
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


_folders = []


def work_folder(name):
    """An empty folder below build/tmp, removed at the end unless a test failed."""
    folder = os.path.join(TMP, "%s-%d-%d" % (name, os.getpid(), len(_folders)))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    _folders.append(folder)
    return folder


def wait_until(claim, seconds, what, pause=0.05):
    """Asks until claim() is true and returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        value = claim()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %g s: %s" % (seconds, what() if callable(what) else what))
        time.sleep(pause)


def run(argv, seconds=60, **more):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          timeout=seconds, universal_newlines=True, errors="replace", **more)


def process_state(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            text = file.read()
    except OSError:
        return None, 0
    fields = text[text.rindex(")") + 2:].split()
    return fields[0], int(fields[1])


def children_of(pid):
    """Process ids of the living children, whatever their name."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            state, parent = process_state(int(entry))
            if parent == pid and state not in (None, "Z"):
                found.append(int(entry))
    return sorted(found)


def arguments_of(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().decode(errors="replace").split("\0")
    except OSError:
        return []


def name_of(pid):
    try:
        with open("/proc/%d/comm" % pid) as file:
            return file.read().strip()
    except OSError:
        return ""


class _Result(unittest.TextTestResult):
    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        took = time.monotonic() - self.began
        if took > 5:
            self.stream.writeln("    %.1f s" % took)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed = getattr(self, "passed", 0) + 1


def main():
    """unittest.main with a RESULT line; exit code 0, or 1 when something failed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.makedirs(TMP, exist_ok=True)
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=_Result)
    result = unittest.main(module="__main__", testRunner=runner, exit=False).result
    short = lambda test: getattr(test, "_testMethodName", str(test).split(" ")[0])
    for test, reason in result.skipped:
        print("SKIPPED %s: %s" % (short(test), reason))
    # Sub-tests carry their own description; several may fail inside one test.
    for test, _ in result.failures + result.errors:
        print("FAILED %s" % str(test).replace("\n", " "))
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    if failed == 0:
        for folder in _folders:
            shutil.rmtree(folder, ignore_errors=True)
    else:
        print("what the farms left behind: %s" % " ".join(_folders))
    print("RESULT passed=%d failed=%d skipped=%d" %
          (getattr(result, "passed", 0), failed, len(result.skipped)))
    sys.exit(1 if failed else 0)


def at_end(call):
    atexit.register(call)
