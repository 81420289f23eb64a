"""Hostile input: each file of the media folder's hostile/ ends as its table says, whatever it is called, and harms nobody.

Its README's table names the right outcome of each: refuse (failed, class input, one sentence, exit 1, soon), encode, or
either. Files of our own come on top, whose playlists, references and tracks name a canary file and a listening port.
"""
import concurrent.futures
import ctypes
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import threading
import time
import unittest
import xml.etree.ElementTree

import media
from farm import Farm
from harness import MEDIA, die_with_parent, main, program, run, wait_until, work_folder

HOSTILE = os.path.join(os.path.dirname(MEDIA), "hostile")
SECONDS = 20  # a refusal comes within
SECRET = "canary-5ad0f3c1e2"
# Ports of loopback that the files of the folder name.
TCP_PORT, UDP_PORT = 18999, 19000
# Low, so that a file that asks for a gigabyte is seen to be held; nothing good here comes near it.
PROBE_MIB = 512

POLICY = """name: tiny
gop: 2s
segment: 6s
chunk: 6s
codecs:
  - codec: h264
    route: [x264]
    preset: ultrafast
    rungs:
      - {name: 100p, height: 100, crf: 32, maxrate: 200k, bufsize: 400k}
      - {name: 180p, height: 180, crf: 32, maxrate: 400k, bufsize: 800k}
audio:
  - {codec: aac, bitrate: 64k, channels: 2, sample_rate: 48000}
"""


def table_rows():
    """[(file, right outcome)] of the folder's README, and what we make ourselves where there is none."""
    rows = []
    try:
        with open(os.path.join(HOSTILE, "README.md")) as readme:
            for line in readme:
                cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
                if len(cells) > 3 and cells[2] in ("refuse", "encode", "either"):
                    rows.append((os.path.join(HOSTILE, cells[0].strip("`")), cells[2]))
    except FileNotFoundError:
        pass
    return rows


class Watch:
    """Says whether a file was opened or read by anybody."""
    OPEN, ACCESS = 0x20, 0x1

    def __init__(self, path):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if libc.inotify_add_watch(self.fd, os.fsencode(path), self.OPEN | self.ACCESS) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def touched(self):
        try:
            return len(os.read(self.fd, 65536)) > 0
        except BlockingIOError:
            return False


class Listener:
    """Counts who calls."""

    def __init__(self, kind, port=0):
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            self.socket.listen(16)
        self.port = self.socket.getsockname()[1]

    def called(self):
        return bool(select.select([self.socket], [], [], 0)[0])


class Memory(threading.Thread):
    """The most memory that any worker of an agent had, by looking often."""

    def __init__(self, farm, agent):
        super().__init__(daemon=True)
        self.farm, self.agent, self.most_kib, self.ended = farm, agent, 0, False

    def run(self):
        while not self.ended:
            for pid in self.farm.workers(self.agent):
                try:
                    with open("/proc/%d/status" % pid) as status:
                        found = re.search(r"VmHWM:\s+(\d+)", status.read())
                except OSError:
                    continue
                self.most_kib = max(self.most_kib, int(found.group(1)) if found else 0)
            time.sleep(0.1)


def box(kind, payload):
    return struct.pack(">I", 8 + len(payload)) + kind + payload


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not media.has_ffmpeg():
            raise unittest.SkipTest("no ffmpeg to make clips")
        cls.folder = work_folder("hostile-input")
        cls.canary = os.path.join(cls.folder, "canary.txt")
        with open(cls.canary, "w") as file:
            file.write(SECRET + "\n")
        cls.listeners = [Listener(socket.SOCK_STREAM), Listener(socket.SOCK_DGRAM)]
        cls.named_ports = True
        for kind, port in ((socket.SOCK_STREAM, TCP_PORT), (socket.SOCK_DGRAM, UDP_PORT)):
            try:
                cls.listeners.append(Listener(kind, port))
            except OSError:
                cls.named_ports = False
        cls.good = media.made("hostile-good", 1, "320x180")
        cls.farm = Farm("hostile", config="limits:\n  probe_memory: %dM\n" % PROBE_MIB)
        cls.farm.policy("tiny", POLICY)
        cls.farm.start_daemon()
        cls.agent = cls.farm.start_agent("a1", more=["--cpus", "2"])
        cls.memory = Memory(cls.farm, cls.agent)
        cls.memory.start()
        cls.watch = Watch(cls.canary)

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "memory"):
            cls.memory.ended = True
            cls.memory.join()
        if hasattr(cls, "farm"):
            cls.farm.stop()

    # ---- what is always so ----

    def nothing_was_touched(self):
        self.assertFalse(self.watch.touched(), "the canary file was opened")
        for listener in self.listeners:
            self.assertFalse(listener.called(), "somebody called port %d" % listener.port)

    def the_queue_lives(self):
        self.farm.wait_ready(self.farm.submit(self.good, "tiny"), 60)

    def logs_are_lines_of_json(self):
        for process in (self.farm.daemon, self.agent):
            with open(process.log, "rb") as log:
                for line in log.read().splitlines():
                    self.assertNotIn(b"\x1b", line)
                    self.assertIn("message", json.loads(line), line)

    def submit_and_watch(self, path):
        began = time.monotonic()
        done = self.farm.cli("submit", path, "--policy", "tiny", "--watch", "--json", seconds=120)
        took = time.monotonic() - began
        first = json.loads(done.stdout.splitlines()[0])
        return done, self.farm.status(first["video_id"]), took

    def check(self, path, wanted):
        """A row of the table, and what is wrong with it (None: nothing)."""
        done, status, took = self.submit_and_watch(path)
        state, error = status["status"], status["error"] or {}
        sentence = error.get("message", "")
        wrong = None
        if state == "ready":
            if wanted == "refuse":
                wrong = "it should be refused"
            elif done.returncode != 0:
                wrong = "exit %d" % done.returncode
            else:
                wrong = self.unusable(status)
                sentence = "%d frames" % status["source"]["frames"]
        elif wanted == "encode":
            wrong = "it should be encoded"
        elif state != "failed" or error["class"] != "input" or done.returncode != 1:
            wrong = "%s, class %s, exit %d" % (state, error.get("class"), done.returncode)
        elif not sentence or "\n" in sentence or any(ord(c) < 32 for c in sentence):
            wrong = "no sentence"
        elif took > SECONDS:
            wrong = "too late"
        return (os.path.basename(path), wanted, state, took, sentence), wrong

    def unusable(self, status):
        """A decode by another program."""
        master = self.farm.local(status["manifests"]["hls"])
        done = run(["ffmpeg", "-v", "error", "-nostdin", "-i", master, "-f", "null", "-"], 120)
        if done.returncode != 0 or done.stderr.strip():
            return "ffmpeg: " + done.stderr.strip()[:200]
        return None

    def table_check(self, rows, title):
        found, wrong = [], []
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            for row, fault in pool.map(lambda pair: self.check(*pair), rows):
                found.append(row)
                if fault:
                    wrong.append("%s: %s: %s" % (row[0], fault, row[4]))
        print("\nTABLE")
        print("%s (memory of a worker: at most %d MiB)" % (title, self.memory.most_kib >> 10))
        for name, wanted, state, took, sentence in found:
            print("  %-46s %-7s %-7s %5.1f s  %s" % (name, wanted, state, took, sentence))
        print("END TABLE")
        self.assertEqual(wrong, [])

    # ---- tests ----

    def test_1_every_file_of_the_folder_ends_as_its_table_says(self):
        rows = table_rows()
        if not rows:
            self.skipTest("no folder of hostile files beside the clips: %s" % HOSTILE)
        self.assertGreaterEqual(len(rows), 40)
        self.table_check(rows, "hostile files")
        self.nothing_was_touched()
        self.the_queue_lives()
        self.logs_are_lines_of_json()
        self.assertLess(self.memory.most_kib, (PROBE_MIB + 128) << 10)
        if not self.named_ports:
            print("ports %d and %d were taken: whether the folder's own addresses are called was not seen" %
                  (TCP_PORT, UDP_PORT))

    def test_2_files_that_name_a_file_or_an_address_reach_neither(self):
        where, port = self.canary, self.listeners[0].port
        url = "http://127.0.0.1:%d/x" % port
        playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n%s\n#EXT-X-ENDLIST\n"
        texts = {
            "local.m3u8": playlist % where,
            "file-url.mp4": playlist % ("file://" + where),
            "http.m3u8": playlist % url,
            "http-named.ts": playlist % url,
            "key.m3u8": "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"%s\"\n#EXTINF:10,\n%s\n" % (url, where),
            "concat.mp4": "ffconcat version 1.0\nfile '%s'\nfile '%s'\n" % (where, url),
            "subfile.mkv": playlist % ("subfile,,start,0,end,64,,:" + where),
            "sdp.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video %d RTP/AVP 96\n"
                       "a=rtpmap:96 H264/90000\n" % self.listeners[1].port,
            "list.mpd": "<MPD><Period><BaseURL>%s</BaseURL><AdaptationSet><Representation id='1'><BaseURL>%s</BaseURL>"
                        "</Representation></AdaptationSet></Period></MPD>" % ("file://" + where, url),
            "picture.svg": "<svg xmlns='http://www.w3.org/2000/svg'><image href='%s'/></svg>" % url,
            "play.asx": "<asx><entry><ref href='%s'/></entry></asx>" % url,
        }
        rows = []
        for name, text in texts.items():
            path = os.path.join(self.folder, name)
            with open(path, "w") as file:
                file.write(text)
            rows.append((path, "refuse"))
        # A track whose data lie in another file, by alias and by address.
        with open(self.good, "rb") as file:
            whole = file.read()
        for name, target in (("alias.mov", where), ("address.mov", url)):
            entry = box(b"url ", b"\0\0\0\0" + target.encode() + b"\0")
            dref = box(b"dref", struct.pack(">II", 0, 1) + entry)
            path = os.path.join(self.folder, name)
            with open(path, "wb") as file:
                file.write(self.with_dref(whole, dref))
            rows.append((path, "either"))
        self.table_check(rows, "files that name a canary file and a listening port")
        self.nothing_was_touched()
        for top, _, names in os.walk(os.path.join(self.farm.data, "published")):
            for name in names:
                with open(os.path.join(top, name), "rb") as file:
                    self.assertNotIn(SECRET.encode(), file.read(), name)

    def with_dref(self, whole, dref):
        """The same MP4 with each track's data reference replaced; the boxes around it grow."""
        def rebuilt(data):
            out, at = b"", 0
            while at + 8 <= len(data):
                size, kind = struct.unpack(">I4s", data[at:at + 8])
                payload = data[at + 8:at + size]
                if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
                    out += box(kind, rebuilt(payload))
                else:
                    out += dref if kind == b"dref" else data[at:at + size]
                at += size
            return out
        return rebuilt(whole)

    def test_3_names_are_only_names(self):
        names = [b"-dash.mp4", b"--watch", b"a b  c.mp4", b"q'u\"o`te.mp4", b"$(touch pwned).mp4", b"`id`.mp4", b"%d%s%n.mp4",
                 b"%08d.mp4", b"new\nline\r.mp4", b"esc\x1b]0;pwned\x07\x1b[31m.mp4", b"bad\xff\xfe\xc3.mp4", b"x" * 251 + b".mp4",
                 b"file:x.mp4", b"concat:a|b.mp4", b"<script>alert(1)<.mp4", b"{\"status\":\"ready\"}.mp4",
                 "\u202egpj.mp4".encode(), b";rm -rf x;.mp4", b"pipe:0", b"a&b|c>d.mp4"]
        folder = os.fsencode(os.path.join(self.folder, "names"))
        os.mkdir(folder)
        env = dict(os.environ, SLUICE_API=self.farm.http, LC_ALL="C.UTF-8")
        videos = []
        with open(self.good, "rb") as file:
            good = file.read()
        for name in names:
            with open(os.path.join(folder, name), "wb") as file:
                file.write(good)
            done = subprocess.run([program("sluice"), "submit", "--policy", "tiny", "--json", "--", name], cwd=folder, env=env,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
            self.assertEqual(done.returncode, 0, (name, done.stderr))
            videos.append(json.loads(done.stdout)["video_id"])
        for video in videos:
            self.farm.wait_ready(video, 120)
        self.assertEqual(sorted(os.listdir(folder)), sorted(names))
        for command in (["list"], ["status", videos[9]], ["explain", videos[9]], ["status", videos[8]]):
            self.assertNotIn("\x1b]0;", self.farm.cli(*command).stdout)
            self.assertNotIn(b"\x1b]0;", self.on_a_terminal(command))
            json.loads(self.farm.cli(*(command + ["--json"])).stdout)
        self.nothing_was_touched()
        self.logs_are_lines_of_json()

    def on_a_terminal(self, command):
        """What a person's terminal would get."""
        ours, theirs = pty.openpty()
        env = dict(os.environ, SLUICE_API=self.farm.http, LC_ALL="C.UTF-8", TERM="xterm")
        child = subprocess.Popen([program("sluice")] + command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL,
                                 env=env, preexec_fn=die_with_parent)
        os.close(theirs)
        got = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            if not piece:
                break
            got += piece
        child.wait(60)
        os.close(ours)
        return got

    def test_4_what_is_no_file_or_changes_while_it_is_read_is_refused(self):
        folder = os.path.join(self.folder, "places")
        os.makedirs(folder + "/sub")
        os.mkfifo(folder + "/pipe.mp4")
        for name, words in (("sub", "a folder"), ("pipe.mp4", "a pipe"), ("none.mp4", "there is no file")):
            done = self.farm.cli("submit", os.path.join(folder, name), seconds=20)
            self.assertIn(done.returncode, (2, 3))
            self.assertIn(words, done.stderr)
            code, document = self.farm.api("POST", "/api/v1/videos", {"path": os.path.join(folder, name)})
            self.assertIn(code, (404, 422), document)
        # A link leads to a file; that file alone is read, and as media.
        os.symlink(self.canary, folder + "/link.mp4")
        status = self.submit_and_watch(folder + "/link.mp4")[1]
        self.assertEqual((status["status"], status["error"]["class"]), ("failed", "input"))
        self.assertNotIn(SECRET, json.dumps(status))
        wait_until(self.watch.touched, 5, "the canary was read as it was named")
        for name, change in (("grows", self.grow), ("shrinks", self.shrink), ("vanishes", self.vanish)):
            with self.subTest(name):
                path = os.path.join(folder, name + ".mp4")
                change(path)
        self.the_queue_lives()

    def slow_copy_of(self, path, change):
        """Submits a file that changes until the daemon has looked at it."""
        with open(self.good, "rb") as file:
            good = file.read()
        with open(path, "wb") as file:
            file.write(good + bytes(64 << 20))
        ended = threading.Event()
        thread = threading.Thread(target=change, args=(ended,))
        thread.start()
        try:
            video = self.farm.submit(path, "tiny")
            status = self.farm.wait_final(video, 60)
        finally:
            ended.set()
            thread.join()
        if status["status"] == "failed":
            self.assertIn(status["error"]["class"], ("input", "config", "transient"), status)
            self.assertTrue(status["error"]["message"])
        return status

    def grow(self, path):
        def change(ended):
            while not ended.wait(0.002):
                with open(path, "ab") as file:
                    file.write(bytes(4096))
        status = self.slow_copy_of(path, change)
        self.assertEqual((status["status"], status["error"]["code"]), ("failed", "source_changed"), status)

    def shrink(self, path):
        def change(ended):
            size = os.path.getsize(path)
            while not ended.wait(0.002) and size > 8192:
                size -= 4096
                os.truncate(path, size)
        status = self.slow_copy_of(path, change)
        self.assertEqual((status["status"], status["error"]["code"]), ("failed", "source_changed"), status)

    def vanish(self, path):
        def change(ended):
            ended.wait(0.01)
            if os.path.exists(path):
                os.unlink(path)
        try:
            status = self.slow_copy_of(path, change)
        except AssertionError as error:
            self.assertRegex(str(error), "exit 3|there is no|No such file")  # it went before it was named
            return
        self.assertIn(status["status"], ("failed", "ready"))

    def test_6_tags_are_only_texts(self):
        tag = "\"><script>alert(1)</script>\r\n#EXT-X-ENDLIST\nhttp://127.0.0.1:%d/x\x1b]0;pwned\x07\",\"a\":\"$(id) %%s {{7*7}}" \
            % self.listeners[0].port
        path = os.path.join(self.folder, "tags.mkv")
        media.ffmpeg("-i", self.good, "-c", "copy", "-metadata", "title=" + tag, "-metadata:s:a:0", "title=" + tag,
                     "-metadata:s:a:0", "language=" + tag, "-metadata:s:v:0", "title=" + tag, path)
        video = self.farm.submit(path, "tiny")
        status = self.farm.wait_ready(video, 60)
        folder = os.path.dirname(self.farm.local(status["manifests"]["hls"]))
        for top, _, names in os.walk(folder):
            for name in names:
                if not name.endswith((".m3u8", ".mpd")):
                    continue
                with open(os.path.join(top, name), newline="") as file:
                    text = file.read()
                self.assertFalse([c for c in text if ord(c) < 32 and c not in "\n\t"], name)
                if name.endswith(".mpd"):
                    xml.etree.ElementTree.fromstring(text)
                    self.assertNotIn("<script", text)
                else:
                    for line in text.splitlines():
                        self.assertRegex(line, r"^(#.*|[\w./-]*)$", name)
                        self.assertEqual(line.count('"') % 2, 0, line)
        self.assertNotIn("\x1b", self.farm.cli("status", video).stdout)
        self.nothing_was_touched()
        self.logs_are_lines_of_json()

    def test_5_workers_are_in_the_sandbox_and_the_agent_said_so(self):
        self.assertIn("sandbox of the workers: ", self.farm.agent_log("a1"))
        idle = wait_until(lambda: self.farm.workers(self.agent), 10, "a worker waits")
        def held():
            with open("/proc/%d/status" % idle[0]) as file:
                text = file.read()
            return re.search(r"^Seccomp:\s+2$", text, re.M) and re.search(r"^NoNewPrivs:\s+1$", text, re.M) and \
                re.search(r"^CapEff:\s+0+$", text, re.M)
        wait_until(held, 10, "worker %d is in the sandbox" % idle[0])


if __name__ == "__main__":
    main()
