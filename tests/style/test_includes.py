"""Holds the tree against its own rules: who includes whom, what the pure core may call, headers that compile alone."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from harness import BUILD, ROOT, main, run  # noqa: E402

# docs/architecture.md, "Who may include whom". Every folder may include itself, base and model; base only itself,
# model only base. Of scheduler/store, scheduler/api uses the read side alone.
FOLDERS = {
    "base": [],
    "model": [],
    "scheduler/core": [],
    "scheduler/plan": [],
    "agent/core": [],
    "scheduler/store": [],
    "scheduler/api": ["scheduler/store", "objects"],
    "scheduler/daemon": ["scheduler", "wire", "objects", "config", "package"],
    "wire": [],
    "objects": [],
    "hal": [],
    "cpu": ["hal"],
    "gpu": ["hal"],
    "encoders": ["hal", "cpu", "gpu"],
    "media": ["hal"],
    "package": [],
    "worker": ["hal", "cpu", "gpu", "encoders", "media", "package", "wire"],
    "agent": ["agent/core", "hal", "wire", "objects", "config"],
    "config": [],
    "cli": ["config"],
}

LIBRARIES = {
    "sqlite3": r"sqlite3\.h",
    "libpq": r"libpq-fe\.h|postgresql/.*",
    "microhttpd": r"microhttpd\.h",
    "jansson": r"jansson\.h",
    "nng": r"nng/.*",
    "protobuf-c": r"protobuf-c/.*",
    "curl": r"curl/.*",
    "yaml": r"yaml\.h",
    "zimg": r"zimg\.h",
    "nvidia": r"ffnvcodec/.*",
    "va": r"va/.*",
    "av": r"libav(codec|format|util|filter)/.*|libsw(scale|resample)/.*",
    "vpx": r"vpx/.*",
    "crypto": r"openssl/.*",
    "seccomp": r"seccomp\.h",
    "uthash": r"ut(hash|list|array|string)\.h",
}

ALLOWED = {
    "scheduler/store": {"sqlite3"},
    "scheduler/api": {"microhttpd", "jansson", "crypto"},
    "wire": {"protobuf-c", "nng", "crypto"},
    "objects": {"curl", "crypto"},
    "cpu": {"zimg", "av"},
    "gpu": {"nvidia", "va", "av"},
    "encoders": {"av", "vpx"},
    "media": {"av"},
    "package": {"av", "crypto"},
    "worker": {"seccomp"},
    "config": {"yaml"},
    "cli": {"curl", "jansson", "crypto"},
}
UTHASH = {"scheduler/store", "scheduler/api", "scheduler/daemon", "wire", "objects", "agent", "hal", "worker", "config"}

# What a pure function may call of the C library: memory, text, sorting, assertions. No clock, file, socket, environment.
PURE = set("""memcpy memmove memset memcmp memchr strlen strnlen strcmp strncmp strcpy strncpy strchr strrchr strstr
snprintf vsnprintf __snprintf_chk __vsnprintf_chk __memcpy_chk __memmove_chk __memset_chk __strcpy_chk __strncpy_chk
malloc calloc realloc free qsort bsearch abort __assert_fail __stack_chk_fail _GLOBAL_OFFSET_TABLE_ __udivti3
__divti3 __umodti3 __modti3 __popcountdi2 aligned_alloc""".split())
# Of base, everything but the clocks and the log.
IMPURE = re.compile(r"sl_now_|sl_log")


def tracked(*endings):
    done = run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"])
    if done.returncode == 0:
        names = sorted(set(done.stdout.splitlines()))
    else:  # a tree without git
        names = []
        for folder, folders, files in os.walk(ROOT):
            folders[:] = [f for f in folders if f not in ("build", ".git", "node_modules")]
            names += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files]
    return [n for n in sorted(names) if n.endswith(endings) and os.path.isfile(os.path.join(ROOT, n))]


def text_of(name):
    with open(os.path.join(ROOT, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def folder_of(name):
    """The row of the table that a file or an include belongs to."""
    parts = os.path.dirname(name)
    while parts:
        if parts in FOLDERS:
            return parts
        parts = os.path.dirname(parts)
    return None


def inside(folder, allowed):
    return any(folder == a or folder.startswith(a + "/") for a in allowed)


class Tree(unittest.TestCase):
    def test_every_folder_with_code_has_its_row(self):
        strange = [n for n in tracked(".c", ".h") if not n.startswith(("tests/", "bench/")) and not folder_of(n)]
        self.assertEqual(strange, [])

    def test_folders_include_only_what_the_table_allows(self):
        wrong = []
        for name in tracked(".c", ".h"):
            mine = folder_of(name)
            if name.startswith(("tests/", "bench/")):
                continue
            for place, path in re.findall(r'^\s*#\s*include\s+([<"])([^">]+)[">]', text_of(name), re.M):
                if place == '"':
                    if re.fullmatch(r"wire/sluice\.pb-c\.h", path):
                        other = "wire"
                    elif not os.path.isfile(os.path.join(ROOT, path)):
                        wrong.append("%s: \"%s\" is not written from the tree's root" % (name, path))
                        continue
                    else:
                        other = folder_of(path)
                    common = [] if mine == "base" else ["base"] if mine == "model" else ["base", "model"]
                    if other != mine and not inside(other or path, FOLDERS[mine] + common):
                        wrong.append("%s includes %s" % (name, path))
                    continue
                for library, pattern in LIBRARIES.items():
                    if not re.fullmatch(pattern, path):
                        continue
                    allowed = ALLOWED.get(mine, set()) | ({"uthash"} if mine in UTHASH else set())
                    if library not in allowed:
                        wrong.append("%s includes <%s>" % (name, path))
        self.assertEqual(wrong, [])

    def test_wire_codec_knows_no_transport_and_transport_no_messages(self):
        wrong = []
        for name in tracked(".c", ".h"):
            if not name.startswith("wire/"):
                continue
            includes = re.findall(r'^\s*#\s*include\s+[<"]([^">]+)', text_of(name), re.M)
            nng = any(i.startswith("nng/") for i in includes)
            protobuf = any("pb-c.h" in i or i.startswith("protobuf-c/") for i in includes)
            if nng and protobuf:
                wrong.append(name)
        self.assertEqual(wrong, [])

    def test_nothing_but_tests_includes_tests(self):
        wrong = [n for n in tracked(".c", ".h") if not n.startswith(("tests/", "bench/"))
                 and re.search(r'#\s*include\s+"(tests|bench)/', text_of(n))]
        self.assertEqual(wrong, [])

    def test_hal_and_scheduler_name_no_vendor(self):
        wrong = []
        for name in tracked(".c", ".h"):
            if name.startswith("hal/") and re.search(r"\b(nvidia|cuda|libva|x264_|x265_)\b", text_of(name), re.I):
                wrong.append(name)
        self.assertEqual(wrong, [])

    def test_each_header_compiles_alone(self):
        wrong = []
        flags = run(["pkg-config", "--cflags", "libavcodec", "libavformat", "zimg", "libprotobuf-c", "jansson",
                     "libmicrohttpd"]).stdout.split()
        compiler = os.environ.get("CC", "cc").split()
        for name in tracked(".h"):
            done = subprocess.run(compiler + ["-std=gnu17", "-D_GNU_SOURCE", "-DSLUICE_VERSION=\"0\"", "-Wall", "-Wextra", "-Werror",
                                              "-I.", "-I" + os.path.join(BUILD, "gen"), "-fsyntax-only", "-x", "c", "-"] + flags,
                                  input='#include "%s"\nint unused_in_%s;\n' % (name, re.sub(r"\W", "_", name)),
                                  cwd=ROOT, universal_newlines=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                wrong.append("%s:\n%s" % (name, done.stdout[:600]))
        self.assertEqual(wrong, [])

    def test_headers_are_guarded(self):
        wrong = [n for n in tracked(".h") if not re.search(r"^#ifndef (SL_\w+_H)\n#define \1\n", text_of(n), re.M)]
        self.assertEqual(wrong, [])


class Pure(unittest.TestCase):
    def undefined(self, archive):
        path = os.path.join(BUILD, "lib", archive)
        if not os.path.isfile(path):
            self.fail("%s is not built: run make first" % path)
        done = run(["nm", "-A", path])
        self.assertEqual(done.returncode, 0, done.stderr)
        defined, wanted = set(), set()
        for line in done.stdout.splitlines():
            match = re.match(r"\S+:\s*(?:[0-9a-f]+)?\s+([A-Za-z]) (\S+)$", line)
            if match:
                (wanted if match.group(1) == "U" else defined).add(match.group(2))
        return defined, wanted

    def check(self, archive):
        below = self.undefined("base.a")[0] | self.undefined("model.a")[0]
        defined, wanted = self.undefined(archive)
        foreign = {s for s in wanted - defined - PURE
                   if not s.startswith(("__asan_", "__ubsan_", "__tsan_")) and (s not in below or IMPURE.match(s))}
        self.assertEqual(sorted(foreign), [])

    def test_scheduler_core_calls_nothing_with_effects(self):
        self.check("scheduler_core.a")

    def test_planner_calls_nothing_with_effects(self):
        self.check("scheduler_plan.a")

    def test_agent_core_calls_nothing_with_effects(self):
        self.check("agent_core.a")


class Words(unittest.TestCase):
    def test_no_unfinished_work_is_left_lying(self):
        banned = [r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bXX" + r"X\b", r"place" + r"holder", r"not (yet )?imple" + r"mented",
                  r"\bfor no" + r"w\b", r"/wor" + r"k/(main|shared)", r"deb\.deb" + r"ian\.org", r"registry\.npm" + r"js"]
        found = []
        for name in tracked(".c", ".h", ".py", ".sh", ".md", ".yaml", ".proto", "Makefile", "/run", ".service"):
            for number, line in enumerate(text_of(name).splitlines(), 1):
                for word in banned:
                    if re.search(word, line, re.I if word[0] != "\\" else 0):
                        found.append("%s:%d: %s" % (name, number, line.strip()[:100]))
        self.assertEqual(found, [])


if __name__ == "__main__":
    main()
