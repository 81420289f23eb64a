"""Runs every test program and every end-to-end file, two at a time, and adds up.

A test program is build/tests/<area>/test_*; its cmocka output is read line by line. Python files are
tests/style/test_*.py and tests/e2e/test_*.py; each prints a RESULT line at its end. Output is shown for
what failed, and everything goes to build/test-logs/. What was skipped is listed with its reason.
"""
import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UNIT_SECONDS = int(os.environ.get("SLUICE_UNIT_SECONDS", "300"))
E2E_SECONDS = int(os.environ.get("SLUICE_E2E_SECONDS", "3600"))
AT_ONCE = int(os.environ.get("SLUICE_TEST_JOBS", "2"))
E2E_ORDER = ["test_faults", "test_main_job", "test_shared_job", "test_cli"]  # the longest first


class Sum:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.skips = []
        self.failures = []


def run(argv, seconds, log, env):
    """Runs argv in a process group of its own with output to log; returns (exit code, text, timed out)."""
    with open(log, "wb") as out:
        child = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                 cwd=ROOT, env=env, start_new_session=True)
        late = False
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            late = True
            os.killpg(child.pid, signal.SIGTERM)
            try:
                code = child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                code = child.wait()
        except KeyboardInterrupt:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()
            raise
    with open(log, "r", encoding="utf-8", errors="replace") as text:
        return code, text.read(), late


def run_all(commands, seconds, env):
    """(name, exit code, text, timed out, seconds taken) of (name, argv, log) each, in order, so many at once."""
    def one(command):
        name, argv, log = command
        began = time.monotonic()
        return (name, *run(argv, seconds, log, env), time.monotonic() - began)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(one, commands)


def how_it_ended(code, late, seconds):
    if late:
        return "did not end within %d s" % seconds
    if code < 0:
        return "was killed by signal %d" % -code
    return "ended with exit code %d" % code


def count_cmocka(text):
    """(passed, failed names, [(skipped name, reason)]) from the lines between RUN and its result."""
    passed, failed, skipped = 0, [], []
    current, before = None, ""
    for line in text.splitlines():
        start = re.match(r"\[ RUN      \] (.*)", line)
        if start:
            current, before = start.group(1), ""
            continue
        result = re.match(r"\[\s*(OK|FAILED|SKIPPED)\s*\] (.*)", line)
        if result and current is not None and result.group(2).split(":")[0].strip() == current:
            if result.group(1) == "OK":
                passed += 1
            elif result.group(1) == "FAILED":
                failed.append(current)
            else:
                skipped.append((current, before))
            current = None
        elif line.strip():
            before = line.strip()
    if current is not None:
        failed.append(current + " (it never ended)")
    return passed, failed, skipped


def unit(build, areas, total, logs, env):
    sources = {}
    for area in sorted(os.listdir(os.path.join(ROOT, "tests"))):
        folder = os.path.join(ROOT, "tests", area)
        if not os.path.isdir(folder) or (areas and area not in areas):
            continue
        for name in sorted(os.listdir(folder)):
            if re.fullmatch(r"test_.*\.c", name):
                sources["%s/%s" % (area, name[:-2])] = True
    if not sources:
        print("no test programs found for: %s" % (", ".join(areas) if areas else "tests/*"))
        total.failed += 1
        total.failures.append("no test programs")
    commands = []
    for name in sources:
        path = os.path.join(build, "tests", name)
        if os.access(path, os.X_OK):
            commands.append((name, [path], os.path.join(logs, name.replace("/", "-") + ".log")))
            continue
        print("FAIL  %-40s was not built" % name)
        total.failed += 1
        total.failures.append("%s: not built" % name)
    for name, code, text, late, took in run_all(commands, UNIT_SECONDS, env):
        if code == 77 and not late:
            reason = text.strip().splitlines()[-1] if text.strip() else "it said no reason"
            total.skipped += 1
            total.skips.append((name, reason))
            print("skip  %-40s %s" % (name, reason))
            continue
        passed, failed, skipped = count_cmocka(text)
        if (code != 0 or late) and not failed:
            failed.append(how_it_ended(code, late, UNIT_SECONDS))
        if not failed and passed == 0 and not skipped:
            failed.append("it ran no tests")
        total.passed += passed
        total.failed += len(failed)
        total.skipped += len(skipped)
        total.failures += ["%s: %s" % (name, one) for one in failed]
        total.skips += [("%s: %s" % (name, one), reason) for one, reason in skipped]
        print("%s  %-40s %3d passed%s%s  %.1f s" % (
            "FAIL" if failed else "ok  ", name, passed, ", %d failed" % len(failed) if failed else "",
            ", %d skipped" % len(skipped) if skipped else "", took))
        if failed:
            print(text[-20000:])
            print("%s %s" % (name, how_it_ended(code, late, UNIT_SECONDS)))
        sys.stdout.flush()


def python_files(folder, first):
    names = [n for n in os.listdir(os.path.join(ROOT, "tests", folder)) if re.fullmatch(r"test_.*\.py", n)]
    return sorted(names, key=lambda n: (first.index(n[:-3]) if n[:-3] in first else len(first), n))


def python(folder, total, logs, env, only=()):
    commands = [("%s/%s" % (folder, file[:-3]), [sys.executable, "-B", "-u", os.path.join("tests", folder, file)],
                 os.path.join(logs, "%s-%s.log" % (folder, file[:-3])))
                for file in python_files(folder, E2E_ORDER) if not only or file[5:-3] in only]
    if len(commands) < len(only):
        total.failed += 1
        total.failures.append("tests/%s has not all of %s" % (folder, ", ".join(only)))
    for name, code, text, late, took in run_all(commands, E2E_SECONDS, env):
        result = re.search(r"^RESULT passed=(\d+) failed=(\d+) skipped=(\d+)$", text, re.M)
        passed, failed, skipped = (int(x) for x in result.groups()) if result else (0, 0, 0)
        if (code != 0 or late or not result) and failed == 0:
            failed = 1
            total.failures.append("%s: %s" % (name, how_it_ended(code, late, E2E_SECONDS)))
        total.passed += passed
        total.failed += failed
        total.skipped += skipped
        total.failures += ["%s: %s" % (name, one) for one in re.findall(r"^FAILED (.*)$", text, re.M)]
        total.skips += [("%s: %s" % (name, one), reason)
                        for one, reason in re.findall(r"^SKIPPED (\S+): (.*)$", text, re.M)]
        print("%s  %-40s %3d passed%s%s  %.1f s" % (
            "FAIL" if failed else "ok  ", name, passed, ", %d failed" % failed if failed else "",
            ", %d skipped" % skipped if skipped else "", took))
        for table in re.findall(r"^TABLE\n(.*?)^END TABLE$", text, re.M | re.S):
            print(table, end="")
        if failed:
            print(text[-30000:])
        sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description="run sluice's tests")
    parser.add_argument("--unit", action="store_true", help="only the test programs")
    parser.add_argument("--e2e", action="store_true", help="only the Python files")
    parser.add_argument("--browser", action="store_true", help="only what needs a browser: make test-browser")
    parser.add_argument("--build", default="build", help="the folder that was built into")
    parser.add_argument("--areas", default="", help="only these areas of test programs, by comma")
    parser.add_argument("--files", default="", help="only these Python files of tests/e2e, by comma: tiers,routing")
    args = parser.parse_args()
    both = not args.unit and not args.e2e and not args.browser
    build = os.path.join(ROOT, args.build)
    logs = os.path.join(build, "test-logs")
    os.makedirs(logs, exist_ok=True)
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="STDOUT", SLUICE_BUILD=args.build, LC_ALL="C.UTF-8")
    for name in ("SLUICE_API", "SLUICE_SECRET_FILE", "SLUICE_TOKEN", "SLUICE_TOKEN_FILE"):
        env.pop(name, None)
    total = Sum()
    began = time.monotonic()
    if args.unit or both:
        unit(build, [a for a in args.areas.split(",") if a], total, logs, env)
    files = [f for f in args.files.split(",") if f]
    if (args.e2e or both) and not files:
        python("style", total, logs, env)
    if args.e2e or both:
        python("e2e", total, logs, env, files)
    if args.browser:
        python("browser", total, logs, env)
    for name, reason in total.skips:
        print("skipped: %s: %s" % (name, reason))
    for name in total.failures:
        print("failed: %s" % name)
    print("%.0f s" % (time.monotonic() - began))
    print("%d passed, %d failed, %d skipped" % (total.passed, total.failed, total.skipped))
    return 1 if total.failed or total.passed == 0 else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
