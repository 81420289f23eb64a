"""The command line against a scripted API: exit codes, sentences, uploads, watching, and `up` with scripted children."""
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import die_with_parent, free_ports, main, process_state, program, run, wait_until, work_folder

VIDEO = "v0000000000001"


class Api:
    """answers: {(method, path): (status, document) or a function of the request}."""

    def __init__(self, port=0):
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                if self.command == "PUT" and api.cut_after is not None and length > api.cut_after:
                    api.uploaded += self.rfile.read(api.cut_after)
                    api.cut_after = None
                    self.close_connection = True
                    self.connection.close()
                    return
                body = self.rfile.read(length)
                path = self.path.split("?")[0]
                api.requests.append((self.command, self.path, body, dict(self.headers)))
                answer = api.answers.get((self.command, path))
                if callable(answer):
                    answer = answer(self.path, body, self.headers)
                if answer is None:
                    answer = (404, {"error": {"code": "not_found", "message": "there is no " + path}})
                status, document = answer
                raw = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_):
                pass

        self.answers, self.requests = {}, []
        self.uploaded, self.cut_after = b"", None
        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = "http://127.0.0.1:%d" % self.port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def status_document(status, completed=0, total=10, **more):
    document = {"video_id": VIDEO, "status": status, "priority": "normal", "policy": "default",
                "created_at": "2026-11-21T06:00:00.000Z", "started_at": None, "completed_at": None,
                "estimated_completion": None, "playable_seconds": 0,
                "pipeline_progress": {"probe": "completed", "plan": "completed", "audio": "running",
                                      "subtitles": "skipped", "images": "skipped", "package": "pending",
                                      "verify": "pending",
                                      "transcode": {"completed": completed, "total": total,
                                                    "percent": completed * 100 // max(total, 1)}},
                "source": None, "renditions": [], "manifests": None, "error": None}
    document.update(more)
    return document


READY = dict(completed=10, manifests={"hls": "http://h/master.m3u8", "dash": "http://h/manifest.mpd"},
             completed_at="2026-11-21T06:00:34.200Z")


class CliCase(unittest.TestCase):
    def setUp(self):
        self.api = Api()
        self.folder = work_folder("cli")
        self.addCleanup(lambda: self.api and self.api.close())

    def cli(self, *args, env=None, seconds=60):
        env = dict(os.environ, SLUICE_API=self.api.url, LC_ALL="C.UTF-8", **(env or {}))
        return run([program("sluice")] + list(args), seconds, env=env)

    def file(self, name="a.mp4", content=b"x" * 1000):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path


class Contract(CliCase):
    def test_exit_codes_follow_the_answer(self):
        table = {400: 2, 404: 3, 401: 5, 403: 5, 409: 5, 413: 5, 422: 5, 429: 5, 500: 6, 503: 6}
        for status, code in table.items():
            self.api.answers[("GET", "/api/v1/videos/%s/status" % VIDEO)] = (
                status, {"error": {"code": "some_word", "message": "the sentence", "details": None}})
            done = self.cli("status", VIDEO)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (code, "", "sluice: the sentence\n"), status)
            done = self.cli("status", VIDEO, "--json")
            self.assertEqual(json.loads(done.stdout), {"error": {"code": "some_word", "message": "the sentence"}})

    def test_no_daemon_is_exit_4_and_says_what_to_do(self):
        url = self.api.url
        self.api.close()
        self.api = None
        done = run([program("sluice"), "--api", url, "list"])
        self.assertEqual(done.returncode, 4)
        self.assertIn("cannot reach the daemon at %s (connection refused): start it with `sluice up`" % url,
                      done.stderr)

    def test_something_else_on_the_port_is_said(self):
        self.api.answers[("GET", "/api/v1/status")] = (200, b"<html>hello</html>")
        done = self.cli("status")
        self.assertEqual(done.returncode, 6)
        self.assertIn("no sluice daemon", done.stderr)

    def test_unknown_commands_list_those_that_exist(self):
        for word in ("simulate", "sumbit"):
            done = self.cli(word)
            self.assertEqual(done.returncode, 2)
            self.assertIn('no command "%s"' % word, done.stderr)
            self.assertIn("submit", done.stderr)
        self.assertEqual(self.cli().returncode, 2)
        for args in (["status", "a", "b"], ["submit"], ["status", "--no-such"], ["dlq", "show"], ["dlq", "eat", "t1"],
                     ["list", "--status", "odd"], ["list", "--limit", "-1"], ["drain", "n", "--deadline", "soon"],
                     ["retry", VIDEO, "--from", "nowhere"], ["--api", "ftp://x", "list"], ["policy", "chek", "x"]):
            done = self.cli(*args)
            self.assertEqual(done.returncode, 2, args)
            self.assertEqual(done.stdout, "", args)
            self.assertRegex(done.stderr, r"^sluice: .+\n$", args)

    def test_a_token_of_the_past_is_not_made(self):
        for expires in ("2020-01-01", "0s", "99999d"):
            done = self.cli("token", "new", "someone", "--expires", expires)
            self.assertEqual((done.returncode, done.stdout), (2, ""), expires)
            self.assertIn("no time to come", done.stderr)
        self.assertEqual(self.cli("token", "new", "someone", "--expires", "90d").returncode, 0)

    def test_help_and_version(self):
        listed = re.findall(r"^  (\w+) +\S", self.cli("--help").stdout, re.M)
        self.assertIn("submit", listed)
        for name in listed:
            done = self.cli(name, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertIn("usage: sluice " + name, done.stdout)
            self.assertIn("--json", done.stdout)
        self.assertRegex(self.cli("version").stdout, r"^sluice \d+\.\d+")
        self.assertIn("version", json.loads(self.cli("version", "--json").stdout))

    def test_documents_pass_through_unchanged(self):
        documents = {"nodes": {"nodes": []}, "devices": {"devices": []}, "dlq": {"tasks": []},
                     "status": {"leader": True, "version": "1", "queued": 0, "running": 0, "dead": 0,
                                "nodes": 0, "videos": {}}}
        for name, document in documents.items():
            self.api.answers[("GET", "/api/v1/" + name)] = (200, document)
            done = self.cli(name, "--json")
            self.assertEqual((done.returncode, json.loads(done.stdout)), (0, document))
            self.assertEqual(self.cli(name).returncode, 0)
        explained = {"subject": VIDEO, "state": "queued", "reasons": ["no node is ready"]}
        self.api.answers[("GET", "/api/v1/explain/" + VIDEO)] = (200, explained)
        self.assertEqual(json.loads(self.cli("explain", VIDEO, "--json").stdout), explained)
        self.assertIn("no node is ready", self.cli("explain", VIDEO).stdout)

    def test_devices_say_what_gpus_without_encoders_do(self):
        told = {("faster", 1.125, "healthy"): "decodes and scales for the CPU: 1.12 x",
                ("slower", 0.97, "healthy"): "not used: 0.97 x of the CPU alone",
                ("always", None, "healthy"): "decodes and scales for the CPU, as configured",
                ("never", None, "healthy"): "not used, as configured",
                ("unmeasured", None, "healthy"): "not used: not measured yet (sluice bench)",
                ("faster", 1.125, "quarantined"): "device_lost: gone"}
        for (feed, ratio, health), text in told.items():
            self.api.answers[("GET", "/api/v1/devices")] = (200, {"devices": [
                {"device_id": "GPU-2", "kind": "nvenc", "name": "Computes only", "health": health, "encodes": [],
                 "health_reason": None if health == "healthy" else text, "feed": feed, "feed_ratio": ratio}]})
            self.assertTrue(self.cli("devices").stdout.rstrip().endswith(text), self.cli("devices").stdout)

    def test_list_follows_pages_and_prints_one_document(self):
        rows = [{"video_id": "v%013d" % i, "status": "ready", "priority": "normal", "policy": "default",
                 "created_at": "2026-11-21T06:00:00.000Z", "percent": 100} for i in range(5)]

        def page(path, *_):
            start = int((re.search(r"next=(\d+)", path) or [0, "0"])[1])
            limit = min(2, int(re.search(r"limit=(\d+)", path)[1]))
            more = start + limit < 5
            return 200, {"videos": rows[start:start + limit], "next": str(start + limit) if more else None}
        self.api.answers[("GET", "/api/v1/videos")] = page
        self.assertEqual(json.loads(self.cli("list", "--json").stdout), {"videos": rows, "next": None})
        self.assertEqual(json.loads(self.cli("list", "--limit", "3", "--json").stdout),
                         {"videos": rows[:3], "next": "3"})
        self.assertEqual(len(self.cli("list").stdout.splitlines()), 6)

    def test_names_of_strangers_are_harmless(self):
        self.api.answers[("GET", "/api/v1/nodes")] = (200, {"nodes": [
            {"node_id": "n1", "name": "\x1b[31mred\nline\u202e", "state": "ready", "spot": False, "running": 0,
             "devices": []}]})
        done = self.cli("nodes")
        self.assertNotIn("\x1b", done.stdout)
        self.assertNotIn("\u202e", done.stdout)
        self.assertEqual(len(done.stdout.splitlines()), 2)

    def test_secret_is_sent_from_its_file(self):
        self.api.answers[("GET", "/api/v1/nodes")] = (200, {"nodes": []})
        secret = self.file("secret", b"top-secret-words-of-the-farm\n")
        self.cli("nodes", env={"SLUICE_SECRET_FILE": secret})
        self.assertEqual(self.api.requests[-1][3].get("Authorization"), "Bearer top-secret-words-of-the-farm")
        done = self.cli("nodes", env={"SLUICE_SECRET_FILE": self.folder + "/none"})
        self.assertEqual(done.returncode, 2)


class Submit(CliCase):
    def test_local_daemon_gets_the_absolute_path(self):
        self.api.answers[("POST", "/api/v1/videos")] = (201, {"video_id": VIDEO, "created": True})
        path = self.file()
        link = os.path.join(self.folder, "link.mp4")
        os.symlink(path, link)
        done = self.cli("submit", link, "--json", "--priority", "high", "--provider", "p", "--external-id", "e",
                        "--policy", "web")
        self.assertEqual(json.loads(done.stdout), {"video_id": VIDEO, "created": True})
        self.assertEqual(json.loads(self.api.requests[-1][2]),
                         {"path": path, "priority": "high", "provider": "p", "external_id": "e", "policy": "web"})
        self.assertEqual(self.cli("submit", path).stdout, VIDEO + "\n")
        self.api.answers[("POST", "/api/v1/videos")] = (200, {"video_id": VIDEO, "created": False})
        self.assertEqual(json.loads(self.cli("submit", path, "--json").stdout)["created"], False)

    def test_what_is_no_file_is_refused_before_asking(self):
        os.mkfifo(self.folder + "/pipe")
        table = [("nothing.mp4", 3, "there is no file"), ("", 2, "a folder"), ("pipe", 2, "a pipe")]
        for name, code, words in table:
            done = self.cli("submit", os.path.join(self.folder, name))
            self.assertEqual(done.returncode, code, name)
            self.assertIn(words, done.stderr)
        self.assertEqual(self.api.requests, [])

    def test_policy_file_is_checked_here_and_sent_as_text(self):
        self.api.answers[("POST", "/api/v1/videos")] = (201, {"video_id": VIDEO, "created": True})
        bad = self.file("bad.yaml", b"name: x\ncodecs:\n  - codec: h264\n    prest: fast\n")
        done = self.cli("submit", self.file(), "--policy", bad)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, re.escape(bad) + r":4:\d+: .*prest")
        worse = self.file("worse.yaml", b"name: x\ncolour: red\ncodecs:\n  - codec: h264\n    prest: fast\n")
        done = self.cli("submit", self.file(), "--policy", worse)
        self.assertRegex(done.stderr, r"^sluice: --policy: \S+:2:\d+: .*colour.* \(`sluice policy check` shows 3 more\)\n$")
        self.assertEqual(self.api.requests, [])
        good = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                            "config", "policies", "default.yaml")
        self.assertEqual(self.cli("submit", self.file(), "--policy", good).returncode, 0)
        with open(good) as file:
            self.assertEqual(json.loads(self.api.requests[-1][2])["policy_text"], file.read())

    def upload_api(self, total):
        def post(path, body, headers):
            if "path" in json.loads(body):
                return 403, {"error": {"code": "refused", "message": "may not read it"}}
            return 201, {"video_id": VIDEO, "created": True}

        def put(path, body, headers):
            first, last, whole = map(int, re.match(r"bytes (\d+)-(\d+)/(\d+)$", headers["Content-Range"]).groups())
            if first != len(self.api.uploaded):
                return 409, {"error": {"code": "conflict", "message": "elsewhere",
                                       "details": {"offset": len(self.api.uploaded)}}}
            assert last - first + 1 == len(body) and whole == total
            self.api.uploaded += body
            return offset()

        def offset(*_):
            return 200, {"video_id": VIDEO, "offset": len(self.api.uploaded),
                         "complete": len(self.api.uploaded) == total}
        self.api.answers[("POST", "/api/v1/videos")] = post
        self.api.answers[("PUT", "/api/v1/videos/%s/source" % VIDEO)] = put
        self.api.answers[("GET", "/api/v1/videos/%s/source" % VIDEO)] = offset

    def test_unreadable_for_the_daemon_is_uploaded_in_pieces(self):
        content = os.urandom(20 * 1024 * 1024 + 7)
        self.upload_api(len(content))
        done = self.cli("submit", self.file("Größe.mp4", content))
        self.assertEqual((done.returncode, done.stdout), (0, VIDEO + "\n"), done.stderr)
        self.assertEqual(self.api.uploaded, content)
        self.assertEqual(sum(1 for r in self.api.requests if r[0] == "PUT"), 3)
        self.assertEqual(json.loads(self.api.requests[1][2])["name"], "Größe.mp4")

    def test_broken_upload_goes_on_where_it_stopped(self):
        content = os.urandom(10 * 1024 * 1024)
        self.upload_api(len(content))
        self.api.cut_after = 3 * 1024 * 1024
        done = self.cli("submit", self.file("b.mp4", content))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(self.api.uploaded == content)


class Watch(CliCase):
    def script(self, documents):
        """The status route walks through the documents, one per request, and stays at the last."""
        steps = list(documents)

        def answer(*_):
            return 200, steps.pop(0) if len(steps) > 1 else steps[0]
        self.api.answers[("GET", "/api/v1/videos/%s/status" % VIDEO)] = answer

    def test_lines_and_exit_codes_at_the_end(self):
        self.script([status_document("probing"), status_document("transcoding", 3),
                     status_document("transcoding", 3), status_document("ready", **READY)])
        done = self.cli("watch", VIDEO)
        self.assertEqual(done.returncode, 0)
        self.assertIn("transcode: 3/10 30 %\n", done.stdout)
        self.assertEqual(done.stdout.count("3/10"), 1)
        self.assertIn("ready after 34 s\nHLS   http://h/master.m3u8\nDASH  http://h/manifest.mpd\n", done.stdout)
        self.script([status_document("failed", error={"class": "input", "code": "no_video", "message": "it has no picture",
                                                      "step": "probe"})])
        done = self.cli("watch", VIDEO)
        self.assertEqual(done.returncode, 1)
        self.assertIn("failed: it has no picture", done.stderr)
        self.script([status_document("cancelled")])
        self.assertEqual(self.cli("watch", VIDEO).returncode, 1)

    def test_json_is_one_document_per_change(self):
        changed = status_document("transcoding", 3, estimated_completion="2026-11-21T06:01:00.000Z")
        later = status_document("transcoding", 3, estimated_completion="2026-11-21T06:02:00.000Z")
        self.script([status_document("probing"), changed, later, later, status_document("ready", **READY)])
        done = self.cli("watch", VIDEO, "--json")
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([d["status"] for d in documents], ["probing", "transcoding", "ready"])
        self.api.answers[("POST", "/api/v1/videos")] = (201, {"video_id": VIDEO, "created": True})
        self.script([status_document("failed", error={"class": "input", "code": "c", "message": "m", "step": "probe"})])
        done = self.cli("submit", self.file(), "--watch", "--json")
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(done.returncode, 1)
        self.assertEqual([sorted(d)[0] for d in documents], ["created", "completed_at"])

    def test_a_daemon_that_restarts_is_waited_for(self):
        self.script([status_document("transcoding", 3)])
        port = self.api.port
        child = subprocess.Popen([program("sluice"), "watch", VIDEO], env=dict(os.environ, SLUICE_API=self.api.url),
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                                 preexec_fn=die_with_parent)
        try:
            wait_until(lambda: self.api.requests, 10, "a first poll")
            time.sleep(0.3)
            self.api.close()
            time.sleep(1.5)
            self.api = Api(port)
            self.script([status_document("ready", **READY)])
            out, err = child.communicate(timeout=20)
        finally:
            child.kill()
        self.assertEqual(child.returncode, 0, err)
        self.assertIn("waiting for the daemon", err)
        self.assertIn("ready after", out)

    def on_terminal(self, columns, env, args):
        """Runs on a pseudo-terminal of that width; returns what it wrote."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        full = dict({k: v for k, v in os.environ.items() if k != "NO_COLOR"}, SLUICE_API=self.api.url, LC_ALL="C.UTF-8", TERM="xterm",
                    **env)
        child = subprocess.Popen([program("sluice")] + args, stdin=slave, stdout=slave, stderr=slave, env=full,
                                 preexec_fn=die_with_parent)
        os.close(slave)
        text = b""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    piece = os.read(master, 65536)
                except OSError:
                    break
                if not piece:
                    break
                text += piece
        os.close(master)
        self.assertEqual(child.wait(10), 0)
        return text.decode()

    def test_terminal_is_redrawn_in_place_and_keeps_its_width(self):
        for columns in (20, 33, 80, 200):
            for env in ({}, {"NO_COLOR": "1"}):
                self.script([status_document("transcoding", 3), status_document("transcoding", 7),
                             status_document("ready", **READY)])
                text = self.on_terminal(columns, env, ["watch", VIDEO])
                self.assertIn("\x1b[7A", text)
                self.assertEqual("\x1b[3" in text, not env, "colour")
                before_the_end = text.split("ready after")[0]
                plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", before_the_end)
                for line in plain.replace("\r", "").split("\n"):
                    self.assertLess(len(line), columns)

    def test_piped_output_has_no_escapes(self):
        self.script([status_document("ready", **READY)])
        self.assertNotIn("\x1b", self.cli("watch", VIDEO).stdout)


class Drain(CliCase):
    def nodes(self, *states):
        steps = list(states)

        def answer(*_):
            state = steps.pop(0) if len(steps) > 1 else steps[0]
            return 200, {"nodes": [{"node_id": "id-1", "name": "alpha", "state": state, "spot": False,
                                    "running": 0 if state == "drained" else 2, "devices": []},
                                   {"node_id": "id-2", "name": "twin", "state": "ready", "running": 0, "devices": []},
                                   {"node_id": "id-3", "name": "twin", "state": "ready", "running": 0, "devices": []}]}
        self.api.answers[("GET", "/api/v1/nodes")] = answer
        for action, state in (("drain", "draining"), ("undrain", "ready")):
            self.api.answers[("POST", "/api/v1/nodes/id-1/" + action)] = (200, {"node_id": "id-1", "state": state})

    def test_by_name_or_id_and_waiting(self):
        self.nodes("ready", "draining", "draining", "drained")
        done = self.cli("drain", "alpha", "--wait", "--deadline", "90s")
        self.assertEqual((done.returncode, done.stdout), (0, "id-1 is drained\n"), done.stderr)
        post = [r for r in self.api.requests if r[0] == "POST"][0]
        self.assertEqual(json.loads(post[2]), {"deadline": 90.0})
        self.nodes("ready")
        self.assertEqual(self.cli("drain", "id-1").stdout, "id-1 is draining\n")
        self.assertEqual(json.loads(self.cli("undrain", "alpha", "--json").stdout),
                         {"node_id": "id-1", "state": "ready"})

    def test_unknown_and_ambiguous_names(self):
        self.nodes("ready")
        done = self.cli("drain", "omega")
        self.assertEqual(done.returncode, 3)
        self.assertIn("alpha", done.stderr)
        done = self.cli("drain", "twin")
        self.assertEqual(done.returncode, 2)
        self.assertIn("give the id", done.stderr)

    def test_deadline_that_passes_is_exit_1(self):
        self.nodes("ready", "draining", "draining", "draining", "draining", "draining", "drained")
        done = self.cli("drain", "alpha", "--wait", "--deadline", "0.5s")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("handed back", done.stderr)


CHILD = """#!/usr/bin/env python3
import os, signal, sys, time
folder = %(folder)r
me = os.path.basename(sys.argv[0])
with open(os.path.join(folder, "log"), "a") as log:
    log.write("%%s start %%d %%s\\n" %% (me, os.getpid(), " ".join(sys.argv[1:])))
def end(*_):
    with open(os.path.join(folder, "log"), "a") as log:
        log.write("%%s end\\n" %% me)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
rule = os.path.join(folder, me + ".rule")
if os.path.exists(rule):
    exec(open(rule).read())
if me == "sluiced":
    import http.server, json, threading
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            joined = "sluice-agent start" in open(os.path.join(folder, "log")).read()
            rows = [{"node_id": "n", "name": "n", "state": "ready"}] if joined else []
            raw = json.dumps({"nodes": rows}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)
        def log_message(self, *_):
            pass
    http.server.ThreadingHTTPServer.allow_reuse_address = True
    port = int(sys.argv[sys.argv.index("--http") + 1].split(":")[1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
while True:
    time.sleep(0.1)
"""


class Up(CliCase):
    def setUp(self):
        super().setUp()
        self.bin = os.path.join(self.folder, "bin")
        os.makedirs(self.bin)
        shutil.copy(program("sluice"), self.bin)
        for name in ("sluiced", "sluice-agent", "sluice-worker"):
            with open(os.path.join(self.bin, name), "w") as file:
                file.write(CHILD % {"folder": self.folder})
            os.chmod(os.path.join(self.bin, name), 0o755)
        self.port, self.wire = free_ports(2)
        self.up = None
        self.addCleanup(self.end)

    def end(self):
        if self.up and self.up.poll() is None:
            self.up.kill()
            self.up.wait()

    def start(self, *more):
        argv = [os.path.join(self.bin, "sluice"), "up", "--data", os.path.join(self.folder, "data"), "--http",
                "127.0.0.1:%d" % self.port, "--wire", "tcp://127.0.0.1:%d" % self.wire] + list(more)
        self.errors = open(os.path.join(self.folder, "stderr"), "wb")
        self.up = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=self.errors, universal_newlines=True,
                                   preexec_fn=die_with_parent)
        return self.up

    def log(self):
        try:
            with open(os.path.join(self.folder, "log")) as file:
                return file.read()
        except OSError:
            return ""

    def said(self):
        with open(os.path.join(self.folder, "stderr")) as file:
            return file.read()

    def pids(self, name):
        return [int(x) for x in re.findall(r"^%s start (\d+)" % name, self.log(), re.M)]

    def rule(self, name, text):
        with open(os.path.join(self.folder, name + ".rule"), "w") as file:
            file.write(text)

    def test_ready_restart_and_order_of_stopping(self):
        self.start("--cpus", "3")
        self.assertEqual(self.up.stdout.readline(), "ready http://127.0.0.1:%d\n" % self.port)
        self.assertRegex(self.log(), r"sluice-agent start \d+ --wire tcp://127.0.0.1:\d+ --scratch \S+/data/agent --cpus 3")
        os.kill(self.pids("sluiced")[0], signal.SIGKILL)
        os.kill(self.pids("sluice-agent")[0], signal.SIGKILL)
        wait_until(lambda: len(self.pids("sluiced")) == 2 and len(self.pids("sluice-agent")) == 2, 10, "both again")
        self.assertIn("sluiced was killed by signal 9", self.said())
        time.sleep(0.5)  # until the children have set up their handlers
        self.up.terminate()
        self.assertEqual(self.up.wait(20), 0)
        ends = re.findall(r"^(\S+) end", self.log(), re.M)
        self.assertEqual(ends, ["sluice-agent", "sluiced"])
        for pid in self.pids("sluiced") + self.pids("sluice-agent"):
            self.assertIn(process_state(pid)[0], (None, "Z"))

    def test_children_die_with_up(self):
        self.start()
        self.up.stdout.readline()
        pids = self.pids("sluiced") + self.pids("sluice-agent")
        self.assertEqual(len(pids), 2)
        self.up.kill()
        self.up.wait()
        wait_until(lambda: all(process_state(pid)[0] in (None, "Z") for pid in pids), 5, "no child is left")

    def test_a_daemon_that_refuses_ends_up_with_its_code(self):
        for code in (2, 5, 6):
            self.rule("sluiced", "sys.stderr.write('the reason\\n'); sys.exit(%d)" % code)
            before = len(self.pids("sluiced"))
            self.start()
            self.assertEqual(self.up.wait(20), code)
            self.assertIn("the reason", self.said())
            self.assertEqual(len(self.pids("sluiced")), before + 1)
        self.assertEqual(self.pids("sluice-agent"), [])

    def test_an_address_that_is_taken_is_said_before_anything_starts(self):
        self.port = self.api.port
        self.assertEqual(self.start().wait(20), 5)
        self.assertIn("is taken", self.said())
        self.assertEqual(self.log(), "")

    def test_a_child_that_keeps_dying_is_started_ever_later(self):
        self.rule("sluice-agent", "sys.exit(1)")
        self.start()
        wait_until(lambda: "again in 0.4 s" in self.said(), 10, "a growing delay")
        self.assertIn("again in 0.1 s", self.said())
        self.assertIn("again in 0.2 s", self.said())

    def test_mistakes_in_the_options_start_nothing(self):
        for more in (["--http", "8800"], ["--cpus", "many"], ["--config", "/none.yaml"]):
            code = self.start(*more).wait(20)
            self.assertIn(code, (2, 3))
        self.assertEqual(self.log(), "")

    def test_hw_asks_the_worker(self):
        self.rule("sluice-worker", "assert sys.argv[1:] == ['--probe-devices']\n"
                  "print('{\"devices\": [{\"device_id\": \"cpu\", \"kind\": \"cpu\", \"name\": \"A CPU\", \"health\": \"healthy\", "
                  "\"encodes\": [\"h264\"], \"sessions_in_use\": 0, \"session_limit\": 0}]}')\nsys.exit(0)")
        hw = lambda *more: run([os.path.join(self.bin, "sluice"), "hw"] + list(more))
        self.assertEqual(json.loads(hw("--json").stdout)["devices"][0]["device_id"], "cpu")
        self.assertIn("A CPU", hw().stdout)
        self.rule("sluice-worker", "os.kill(os.getpid(), 11)")
        done = hw()
        self.assertEqual(done.returncode, 1)
        self.assertIn("killed by signal 11", done.stderr)

    def test_bench_shows_what_the_worker_measures(self):
        self.rule("sluice-worker", """
import json
if sys.argv[1:] == ["--probe-devices"]:
    print(json.dumps({'devices': [
        {'device_id': 'cpu', 'kind': 'cpu', 'name': 'A CPU', 'health': 'healthy', 'encodes': ['h264']},
        {'device_id': 'GPU-1', 'kind': 'nvenc', 'name': 'A GPU', 'health': 'healthy', 'encodes': ['h265'], 'standin': True},
        {'device_id': 'GPU-2', 'kind': 'nvenc', 'name': 'Computes only', 'health': 'healthy', 'encodes': []}]}))
    sys.exit(0)
assert sys.argv[1] == '--calibrate' and '--quick' in sys.argv, sys.argv
if sys.argv[2] == 'nvenc:GPU-1':
    os.kill(os.getpid(), 11)
if sys.argv[2] == 'nvenc:GPU-2':
    print('x264\\th264\\tmedium\\t1080p\\t8\\t4\\t1\\t25.00\\t100.00\\talone', flush=True)
    print('x264\\th264\\tmedium\\t1080p\\t8\\t4\\t1\\t28.00\\t112.00\\tfed', flush=True)
    sys.exit(0)
assert sys.argv[2] == 'cpu:cpu' and sys.argv[-2:] == ['--into', 'S/speeds'], sys.argv
print('x264\\th264\\tmedium\\t720p\\t8\\t4\\t1\\t20.50\\t82.00', flush=True)
sys.exit(0)""")
        bench = lambda *more: run([os.path.join(self.bin, "sluice"), "bench", "--quick", "--scratch", "S"] + list(more))
        done = bench("--device", "cpu", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        figure = json.loads(done.stdout)["figures"][0]
        self.assertEqual((figure["encoder"], figure["size"], figure["sessions"], figure["total_mpix_per_s"]), ("x264", "720p", 4, 82.0))
        done = bench()  # one driver's crash costs its own device's figures alone
        self.assertEqual(done.returncode, 1)
        self.assertIn("82.0 Mpix/s", done.stdout)
        self.assertIn("stand-in", done.stdout)
        self.assertIn("nvenc:GPU-1: killed by signal 11", done.stderr)
        # A GPU that encodes nothing is measured by what it brings to the CPUs.
        self.assertIn("100.0 Mpix/s  the CPUs alone", done.stdout)
        self.assertIn("112.0 Mpix/s  the GPU decodes and scales for them: 1.12 x, it will be used", done.stdout)
        done = bench("--device", "GPU-2", "--json")
        self.assertEqual([f["feed"] for f in json.loads(done.stdout)["figures"]], ["alone", "fed"])
        self.assertEqual(bench("--device", "nope").returncode, 3)


if __name__ == "__main__":
    main()
