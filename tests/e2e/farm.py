"""A farm for tests: the real programs on free ports of loopback, in a folder of their own."""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request

from harness import (arguments_of, children_of, die_with_parent, free_ports, name_of, program, run, wait_until,
                     work_folder)

FINAL = ("ready", "failed", "cancelled")

# The default ladder with an encoder preset that costs little: these tests are about frames and times. The cheapest
# that has B-frames, since their order is half of what can go wrong.
QUICK_POLICY = """name: quick
gop: 2s
segment: 6s
chunk: 6s
codecs:
  - codec: h264
    route: [x264]
    preset: superfast
    rungs:
      - {name: 240p, height: 240, crf: 28, maxrate: 400k, bufsize: 800k}
      - {name: 360p, height: 360, crf: 28, maxrate: 800k, bufsize: 1600k}
      - {name: 480p, height: 480, crf: 28, maxrate: 1400k, bufsize: 2800k}
      - {name: 720p, height: 720, crf: 28, maxrate: 2800k, bufsize: 5600k}
      - {name: 1080p, height: 1080, crf: 28, maxrate: 5M, bufsize: 10M}
audio:
  - {codec: aac, bitrate: 128k, channels: 2, sample_rate: 48000}
"""

# One small rung of short chunks at a slow preset: a job of many pieces that lasts long enough to be disturbed.
PIECES_POLICY = """name: pieces
gop: 2s
segment: 2s
chunk: 2s
codecs:
  - codec: h264
    route: [x264]
    preset: %s
    rungs:
      - {name: 240p, height: 240, crf: 23, maxrate: 400k, bufsize: 800k}
audio:
  - {codec: aac, bitrate: 96k, channels: 2, sample_rate: 48000}
"""


class Process:
    """One program with its log."""

    def __init__(self, argv, log, env=None, prefix=()):
        self.argv = list(prefix) + argv
        self.log = log
        self.out = open(log, "ab")
        self.popen = subprocess.Popen(self.argv, stdout=self.out, stderr=self.out,
                                      stdin=subprocess.DEVNULL, env=env, start_new_session=True,
                                      preexec_fn=die_with_parent)
        self.pid = self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def kill9(self):
        self.signal(signal.SIGKILL)
        self.popen.wait(10)

    def stop(self, seconds=20):
        """SIGTERM, then SIGKILL; returns the exit code."""
        if self.alive():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill9()
        self.out.close()
        return self.popen.returncode

    def text(self):
        with open(self.log, errors="replace") as file:
            return file.read()


class Farm:
    """Use as a context: everything it started is stopped at its end, whatever happens."""

    def __init__(self, name, data=None, config="", lease=None):
        self.folder = work_folder(name)
        self.data = data or os.path.join(self.folder, "data")
        self.policies = os.path.join(self.folder, "policies")
        os.makedirs(self.policies)
        self.policy("quick", QUICK_POLICY)
        self.http_port, self.wire_port = free_ports(2)
        self.http = "http://127.0.0.1:%d" % self.http_port
        self.wire = "tcp://127.0.0.1:%d" % self.wire_port
        self.config = os.path.join(self.folder, "sluice.yaml")
        # Calibration would encode beside what is tested.
        text = "" if "agent:" in config else "agent:\n  calibrate: false\n"
        text += "daemon:\n  policies: %s\n" % self.policies
        if lease:
            text += "  lease:\n    timeout: %s\n    renew: %s\n" % lease
        with open(self.config, "w") as file:
            file.write(text + config)
        self.daemon = None
        self.agents = {}
        self.up = None
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def policy(self, name, text):
        with open(os.path.join(self.policies, name + ".yaml"), "w") as file:
            file.write(text)

    # ---- processes ----

    def start(self, argv, name, **more):
        process = Process(argv, os.path.join(self.folder, name + ".log"), **more)
        self.processes.append(process)
        return process

    def start_daemon(self, wait=True, http=None, wire=None):
        self.daemon = self.start([program("sluiced"), "--data", self.data, "--config", self.config,
                                  "--http", http or "127.0.0.1:%d" % self.http_port,
                                  "--wire", wire or self.wire], "daemon")
        if wait:
            self.wait_well()
        return self.daemon

    def wait_well(self, seconds=30):
        def well():
            if self.daemon and not self.daemon.alive():
                raise AssertionError("the daemon ended with %d:\n%s" %
                                     (self.daemon.popen.returncode, self.daemon.text()[-2000:]))
            try:
                return self.api("GET", "/healthz")[0] == 200
            except OSError:
                return False
        wait_until(well, seconds, "the daemon is well")

    def start_agent(self, name="a1", wait=True, more=(), wire=None, scratch=None, prefix=(), env=None):
        scratch = scratch or os.path.join(self.folder, "scratch-" + name)
        agent = self.start([program("sluice-agent"), "--wire", wire or self.wire, "--scratch", scratch,
                            "--config", self.config, "--name", name] + list(more), "agent-" + name,
                           prefix=prefix, env=env)
        agent.scratch = scratch
        self.agents[name] = agent
        if wait:
            wait_until(lambda: self.node(name).get("state") not in (None, "lost"), 30,
                       lambda: "node %s has joined:\n%s" % (name, agent.text()[-2000:]))
        return agent

    def start_up(self, more=(), env=None):
        """sluice up: waits for its "ready" line. env: what is added to the environment."""
        argv = [program("sluice"), "up", "--data", self.data, "--config", self.config, "--http",
                "127.0.0.1:%d" % self.http_port, "--wire", self.wire] + list(more)
        self.up = self.start(argv, "up", env=dict(os.environ, **env) if env else None)
        wait_until(lambda: re.search(r"^ready http", self.up.text(), re.M) or not self.up.alive(), 60,
                   lambda: "up is ready:\n" + self.up.text()[-3000:])
        if not self.up.alive():
            raise AssertionError("sluice up ended:\n" + self.up.text()[-3000:])
        return self.up

    def stop(self):
        for process in [a for a in self.agents.values()] + [self.up, self.daemon]:
            if process:
                process.stop()
        for process in self.processes:
            process.stop()
        self.agents = {}
        self.daemon = self.up = None

    def workers(self, agent):
        """Those of leases: the one that watches the devices meets no media."""
        return [pid for pid in children_of(agent.pid)
                if name_of(pid).startswith("sluice-worker") and "--watch-devices" not in arguments_of(pid)]

    def busy_workers(self, agent):
        """Workers that have used more CPU than starting takes: those at work, not those waiting."""
        busy = []
        for pid in self.workers(agent):
            try:
                with open("/proc/%d/stat" % pid) as file:
                    fields = file.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[11]) + int(fields[12]) > 20:
                busy.append(pid)
        return busy

    # ---- asking ----

    def api(self, method, path, body=None, seconds=30):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.http + path, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                status, raw = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, raw = error.code, error.read()
        try:
            return status, json.loads(raw) if raw else None
        except ValueError:
            return status, raw.decode("utf-8", "replace")

    def cli(self, *args, seconds=120):
        """The command line as a user calls it; .json is its document with --json."""
        env = dict(os.environ, SLUICE_API=self.http, LC_ALL="C.UTF-8")
        done = run([program("sluice")] + list(args), seconds, env=env)
        done.json = None
        if "--json" in args and done.stdout.strip():
            try:
                done.json = json.loads(done.stdout)
            except ValueError:
                pass
        return done

    def submit(self, file, policy=None, **options):
        args = ["submit", file, "--json"]
        if policy:
            args += ["--policy", policy]
        for key, value in options.items():
            args += ["--" + key.replace("_", "-"), value]
        done = self.cli(*args)
        if done.returncode != 0:
            raise AssertionError("submit %s: exit %d: %s" % (file, done.returncode, done.stderr))
        return done.json["video_id"]

    def status(self, video):
        code, document = self.api("GET", "/api/v1/videos/%s/status" % video)
        if code != 200:
            raise AssertionError("status of %s: HTTP %d: %s" % (video, code, document))
        return document

    def pieces(self, video):
        """(done, planned) transcode tasks."""
        progress = self.status(video)["pipeline_progress"]["transcode"]
        return progress["completed"], progress["total"]

    def wait_pieces(self, video, least, seconds=120):
        def reached():
            status = self.status(video)
            if status["status"] in ("failed", "cancelled"):
                raise AssertionError("%s: %s" % (status["status"], status["error"]))
            if status["status"] == "ready":
                raise AssertionError("the job was over before it could be disturbed")
            done, total = self.pieces(video)
            return total > 0 and done >= least and (done, total)
        return wait_until(reached, seconds, lambda: "%d pieces done of %s" % (least, self.status(video)))

    def wait_final(self, video, seconds=300):
        def final():
            try:
                status = self.status(video)
            except OSError:
                return None
            return status if status["status"] in FINAL else None
        return wait_until(final, seconds, lambda: "%s ends; it stands at %s" % (video, self.status(video)), 0.2)

    def wait_ready(self, video, seconds=300):
        status = self.wait_final(video, seconds)
        if status["status"] != "ready":
            raise AssertionError("%s is %s: %s" % (video, status["status"], status["error"]))
        return status

    def node(self, name):
        code, document = self.api("GET", "/api/v1/nodes")
        rows = [row for row in document["nodes"] if row["name"] == name] if code == 200 else []
        return rows[0] if rows else {}

    # ---- files ----

    def published(self, video):
        """Relative paths of everything below the video's published folder."""
        base = os.path.join(self.data, "published", video)
        return sorted(os.path.relpath(path, base) for path in
                      glob.glob(os.path.join(base, "**"), recursive=True) if os.path.isfile(path))

    def segments(self, video):
        """{(rung, number): [token, …]} of the video segments that lie published."""
        found = {}
        for path in self.published(video):
            match = re.search(r"h264/([^/]+)/(?:seg)?(\d+)\.t(\d+)\.m4s$", path)
            if match:
                found.setdefault((match.group(1), int(match.group(2))), []).append(int(match.group(3)))
        return found

    def local(self, address):
        """The file that a manifest's address serves."""
        return os.path.join(self.data, "published", address.split("/media/", 1)[1])

    def counter(self, name):
        text = self.api("GET", "/metrics")[1]
        match = re.search(r"^%s (\d+)" % re.escape(name), text, re.M)
        return int(match.group(1)) if match else 0

    def agent_log(self, name):
        return self.agents[name].text()


def copy_node_id(from_scratch, to_scratch):
    """Gives a second agent the first one's identity, as a copied disk image would."""
    os.makedirs(to_scratch, exist_ok=True)
    for name in ["node-id"]:
        path = os.path.join(from_scratch, name)
        if os.path.isfile(path) and os.path.getsize(path) < 256:
            shutil.copy(path, os.path.join(to_scratch, name))


def pause(seconds):
    time.sleep(seconds)
