"""What goes wrong on a farm, made to go wrong: killed processes, silent nodes, full disks, mistakes of people."""
import os
import re
import signal
import subprocess
import time
import unittest
import urllib.request

import media
from farm import Farm, PIECES_POLICY, copy_node_id, pause
from harness import children_of, free_ports, main, name_of, process_state, program, run, wait_until

# With these a daemon says that it will not start as things are; `sluice up` passes them on.
# As many on every machine, so that a job lasts long enough to be disturbed.
CPUS = ["--cpus", "2"]
LEASE = ("5s", "1s")  # a farm that notices silence sooner than the default one


class FaultCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not media.has_ffmpeg():
            raise unittest.SkipTest("there is no ffprobe: make deps-test installs it")
        cls.clip = media.long_clip()
        cls.frames = len(media.packets(cls.clip)[0].popitem()[1])

    def farm(self, name, preset="medium", **more):
        farm = Farm(name, lease=LEASE, **more)
        self.addCleanup(farm.stop)
        farm.policy("pieces", PIECES_POLICY % preset)
        return farm

    def assert_whole(self, farm, video, kept=None, least=0):
        """Ready, every frame there, each segment published once; of the segments in `kept` at least so many are
        the very ones from before."""
        status = farm.wait_ready(video)
        for rendition in status["renditions"]:
            self.assertEqual(rendition["frames"], self.frames)
        found = media.packets(status["manifests"]["hls"], "v")[0]
        self.assertEqual([len(times) for times in found.values()], [self.frames])
        found = media.packets(status["manifests"]["dash"], "v")[0]
        self.assertEqual([len(times) for times in found.values()], [self.frames])
        wait_until(lambda: all(len(tokens) == 1 for tokens in farm.segments(video).values()), 30,
                   lambda: "orphans are swept: %s" % farm.segments(video))
        segments = farm.segments(video)
        numbers = sorted(number for _, number in segments)
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))), "a segment is missing")
        if kept is not None:
            same = [key for key, tokens in kept.items() if segments.get(key) and segments[key][0] in tokens]
            self.assertGreaterEqual(len(same), least, "finished chunks were encoded again: %s became %s" % (kept, segments))
        return status


class Killed(FaultCase):
    def begin(self, name):
        farm = self.farm(name)
        farm.start_daemon()
        farm.start_agent("a1", more=CPUS)
        video = farm.submit(self.clip, policy="pieces")
        done, total = farm.wait_pieces(video, 3)
        self.assertLess(done, total)
        return farm, video, farm.segments(video), done

    def kill_worker(self, farm):
        agent = farm.agents["a1"]
        pids = wait_until(lambda: farm.busy_workers(agent), 30, "a worker is at work")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return pids

    def test_worker_killed_in_mid_job(self):
        farm, video, before, done = self.begin("kill-worker")
        pids = self.kill_worker(farm)
        self.assert_whole(farm, video, before, done)
        for pid in pids:
            self.assertIn(process_state(pid)[0], (None, "Z"))
        self.assertTrue(farm.agents["a1"].alive())

    def test_agent_killed_in_mid_job(self):
        farm, video, before, done = self.begin("kill-agent")
        workers = farm.workers(farm.agents["a1"])
        farm.agents["a1"].kill9()
        wait_until(lambda: all(process_state(pid)[0] in (None, "Z") for pid in workers), 10, "its workers end with it")
        farm.start_agent("a1", wait=False, more=CPUS)
        self.assert_whole(farm, video, before, done)

    def test_daemon_killed_in_mid_job(self):
        farm, video, before, done = self.begin("kill-daemon")
        farm.daemon.kill9()
        pause(1.0)
        self.assertTrue(farm.agents["a1"].alive())
        farm.start_daemon()
        self.assert_whole(farm, video, before, done)

    def test_all_three_killed_in_mid_job(self):
        farm, video, before, done = self.begin("kill-all")
        self.kill_worker(farm)
        farm.agents["a1"].kill9()
        farm.daemon.kill9()
        pause(0.5)
        farm.start_daemon()
        farm.start_agent("a1", wait=False, more=CPUS)
        self.assert_whole(farm, video, before, done)

    def test_up_restarts_what_is_killed(self):
        farm = self.farm("up-kill")
        up = farm.start_up(more=CPUS)
        video = farm.submit(self.clip, policy="pieces")
        done, _ = farm.wait_pieces(video, 3)
        before = farm.segments(video)
        children = {name_of(pid): pid for pid in children_of(up.pid)}
        self.assertEqual(sorted(children), ["sluice-agent", "sluiced"])
        for pid in children.values():
            os.kill(pid, signal.SIGKILL)
        self.assert_whole(farm, video, before, done)
        self.assertIn("sluiced was killed by signal 9", up.text())
        self.assertEqual(up.stop(40), 0)

    def test_up_killed_leaves_nothing_and_goes_on_later(self):
        farm = self.farm("up-gone")
        up = farm.start_up(more=CPUS)
        video = farm.submit(self.clip, policy="pieces")
        done, _ = farm.wait_pieces(video, 2)
        before = farm.segments(video)
        children = children_of(up.pid)
        grandchildren = [pid for child in children for pid in children_of(child)]
        up.kill9()
        wait_until(lambda: all(process_state(pid)[0] in (None, "Z") for pid in children + grandchildren), 10,
                   "nothing is left running")
        farm.start_up(more=CPUS)
        self.assert_whole(farm, video, before, done)


class Silent(FaultCase):
    def silenced(self, name):
        """A farm whose agent a1 was stopped in mid-lease for longer than the lease, with a2 doing its work."""
        farm = self.farm(name)
        farm.start_daemon()
        slow = farm.start_agent("a1", more=["--cpus", "1"])
        video = farm.submit(self.clip, policy="pieces")
        farm.wait_pieces(video, 1)
        wait_until(lambda: farm.node("a1").get("running", 0) >= 1 and farm.busy_workers(slow), 30, "a1 is at work")
        slow.signal(signal.SIGSTOP)
        farm.start_agent("a2", more=["--cpus", "1"])
        wait_until(lambda: farm.node("a1").get("state") == "lost", 30, "the silent node is lost")
        return farm, slow, video

    def come_back(self, farm, slow):
        slow.signal(signal.SIGCONT)
        wait_until(lambda: farm.node("a1").get("state") == "ready", 60, "the node is back")
        wait_until(lambda: "given to another" in slow.text(), 30, "it is told that its lease is another's")

    def test_late_completion_of_a_lapsed_lease_is_refused_and_its_output_gone(self):
        farm, slow, video = self.silenced("silent")
        self.assert_whole(farm, video)
        before = farm.published(video)
        self.come_back(farm, slow)
        wait_until(lambda: not farm.node("a1").get("running"), 30, "it gave up what it held")
        stale = [int(t) for t in re.findall(r'"token":(\d+),"message":"the lease was given', slow.text())]
        self.assertTrue(stale)
        pause(2.0)
        # Fewer there may be: names of leases go once a video is ready.
        self.assertEqual(set(farm.published(video)) - set(before), set(), "the late output is gone")
        self.assertEqual(farm.status(video)["status"], "ready")
        left = [name for _, _, names in os.walk(farm.data) for name in names
                if any(".t%d." % token in name for token in stale)]
        self.assertEqual(left, [])

    def test_node_that_comes_back_in_mid_job_drops_what_it_lost_and_works_on(self):
        farm, slow, video = self.silenced("back")
        self.come_back(farm, slow)
        self.assertGreaterEqual(farm.counter("sluice_stale_total"), 1)
        self.assert_whole(farm, video)

    def test_second_live_node_of_one_identity_is_refused(self):
        farm = self.farm("twin")
        farm.start_daemon()
        first = farm.start_agent("a1", more=CPUS)
        node = farm.node("a1")["node_id"]
        scratch = os.path.join(farm.folder, "scratch-copy")
        copy_node_id(first.scratch, scratch)
        copy = farm.start_agent("copy", wait=False, scratch=scratch)
        wait_until(lambda: re.search(r"identity|same node|node id", copy.text()), 30, lambda: "the copy is told: " + copy.text()[-1500:])
        pause(2.5)
        nodes = farm.api("GET", "/api/v1/nodes")[1]["nodes"]
        self.assertEqual([(n["node_id"], n["name"], n["state"]) for n in nodes], [(node, "a1", "ready")])
        self.assertTrue(first.alive())


class Drained(FaultCase):
    def test_drain_finishes_what_runs_and_undrain_brings_it_back(self):
        farm = self.farm("drain")
        farm.start_daemon()
        farm.start_agent("a1", more=CPUS)
        video = farm.submit(self.clip, policy="pieces")
        farm.wait_pieces(video, 1)
        wait_until(lambda: farm.node("a1")["running"] >= 1, 30, "it is busy")
        done = farm.cli("drain", "a1", "--wait")
        self.assertEqual(done.returncode, 0, done.stderr)
        node = farm.node("a1")
        self.assertEqual((node["state"], node["running"]), ("drained", 0))
        at_rest = farm.pieces(video)
        self.assertLess(*at_rest)
        self.assertEqual(farm.counter("sluice_failures_total"), 0)
        pause(2.0)
        self.assertEqual(farm.pieces(video), at_rest, "nothing new starts on a drained node")
        farm.daemon.stop()
        farm.start_daemon()
        wait_until(lambda: farm.node("a1").get("state") == "drained", 20, "drained outlives a restart")
        explained = farm.cli("explain", video, "--json").json
        self.assertTrue(explained["reasons"])
        self.assertEqual(farm.cli("undrain", "a1").returncode, 0)
        self.assert_whole(farm, video)

    def test_drain_whose_deadline_passes_is_exit_1_and_loses_nothing(self):
        farm = self.farm("drain-late", preset="veryslow")
        farm.start_daemon()
        farm.start_agent("a1", more=["--cpus", "1"])
        video = farm.submit(self.clip, policy="pieces")
        wait_until(lambda: farm.pieces(video)[1] > 0 and farm.node("a1")["running"] >= 1 and
                   farm.busy_workers(farm.agents["a1"]), 60, "it is busy")
        done = farm.cli("drain", "a1", "--wait", "--deadline", "0.2s")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(farm.cli("undrain", "a1").returncode, 0)
        wait_until(lambda: farm.node("a1")["state"] == "ready", 20, "it is back")
        self.assertEqual(farm.status(video)["error"], None)
        self.assertEqual(farm.cli("cancel", video).returncode, 0)
        self.assertEqual(farm.wait_final(video)["status"], "cancelled")


class Refused(FaultCase):
    def short_clip(self):
        return media.made("short", 4, "320x240")

    def second(self, farm, *args):
        argv = [program("sluiced"), "--config", farm.config] + list(args)
        done = run(argv, 30)
        return done.returncode, done.stderr + done.stdout

    def test_second_daemon_on_the_same_data(self):
        farm = self.farm("data-in-use")
        farm.start_daemon()
        video = farm.submit(self.short_clip())
        http, wire = free_ports(2)
        code, text = self.second(farm, "--data", farm.data, "--http", "127.0.0.1:%d" % http, "--wire",
                                 "tcp://127.0.0.1:%d" % wire)
        self.assertEqual(code, 5, text)
        self.assertIn(farm.data, text)
        done = farm.cli("status", video)
        self.assertEqual(done.returncode, 0)
        farm.start_agent("a1", more=CPUS)
        farm.wait_ready(video)

    def test_port_taken(self):
        farm = self.farm("port-taken")
        farm.start_daemon()
        http, wire = free_ports(2)
        other = os.path.join(farm.folder, "other")
        code, text = self.second(farm, "--data", other, "--http", "127.0.0.1:%d" % farm.http_port, "--wire",
                                 "tcp://127.0.0.1:%d" % wire)
        self.assertEqual(code, 5, text)
        self.assertIn(str(farm.http_port), text)
        self.assertIn("--http", text)
        code, text = self.second(farm, "--data", other, "--http", "127.0.0.1:%d" % http, "--wire", farm.wire)
        self.assertEqual(code, 5, text)
        self.assertIn(str(farm.wire_port), text)
        self.assertIn("--wire", text)
        done = farm.cli("up", "--data", other, "--http", "127.0.0.1:%d" % farm.http_port)
        self.assertEqual(done.returncode, 5)

    def test_strangers_without_a_secret_are_kept_out(self):
        farm = self.farm("open")
        code, text = self.second(farm, "--data", farm.data, "--http", "0.0.0.0:%d" % farm.http_port, "--wire", farm.wire)
        self.assertEqual(code, 5, text)
        self.assertIn("secret", text)

    def test_unknown_things_are_exit_3(self):
        farm = self.farm("unknown")
        farm.start_daemon()
        for args in (["status", "v0000000000001"], ["watch", "v0000000000001"], ["cancel", "v0000000000001"],
                     ["retry", "v0000000000001"], ["delete", "v0000000000001"], ["explain", "v0000000000001"],
                     ["status", "nonsense"], ["drain", "nobody"], ["dlq", "show", "t99"], ["dlq", "redrive", "t99"],
                     ["submit", os.path.join(farm.folder, "none.mp4")]):
            done = farm.cli(*args)
            self.assertEqual(done.returncode, 3, "%s: %s" % (args, done.stderr))
            self.assertRegex(done.stderr, r"^sluice: \S.*\n$")
        self.assertEqual(farm.cli("list", "--json").json, {"videos": [], "next": None})

    def test_mistakes_in_yaml_name_their_place(self):
        farm = self.farm("yaml")
        bad = os.path.join(farm.folder, "bad.yaml")
        with open(bad, "w") as file:
            file.write("name: bad\ngop: 2s\ncodecs:\n  - codec: h264\n    route: [x264]\n    prest: fast\n")
        done = farm.cli("policy", "check", bad)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, re.escape(bad) + r":6:\d+: .*prest.*preset")
        document = farm.cli("policy", "check", bad, "--json").json
        self.assertEqual((document["ok"], document["mistakes"][0]["line"]), (False, 6))
        wrong = os.path.join(farm.folder, "wrong.yaml")
        with open(wrong, "w") as file:
            file.write("daemon:\n  htp: 127.0.0.1:1\n")
        done = farm.cli("config", "check", wrong)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, re.escape(wrong) + r":2:\d+: .*htp.*http")
        done = run([program("sluiced"), "--data", farm.data, "--config", wrong], 30)
        self.assertEqual(done.returncode, 2)
        self.assertIn(wrong + ":2:", done.stderr)
        done = run([program("sluice"), "up", "--data", farm.data, "--config", wrong], 30)
        self.assertEqual(done.returncode, 2)
        self.assertIn(wrong + ":2:", done.stderr)
        farm.start_daemon()
        done = farm.cli("submit", self.short_clip(), "--policy", "no-such")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no-such", done.stderr)
        done = farm.cli("submit", self.short_clip(), "--policy", bad)
        self.assertEqual(done.returncode, 2)

    def test_same_external_id_is_the_same_video_and_deleting_removes_it(self):
        farm = self.farm("ids")
        farm.start_daemon()
        farm.start_agent("a1", more=CPUS)
        options = dict(provider="shop", external_id="42")
        first = farm.cli("submit", self.short_clip(), "--json", "--provider", "shop", "--external-id", "42").json
        again = farm.cli("submit", self.short_clip(), "--json", "--provider", "shop", "--external-id", "42").json
        self.assertEqual((first["created"], again["created"]), (True, False))
        self.assertEqual(first["video_id"], again["video_id"])
        self.assertEqual(farm.submit(self.short_clip(), **options), first["video_id"])
        farm.wait_ready(first["video_id"])
        self.assertTrue(farm.published(first["video_id"]))
        done = farm.cli("delete", first["video_id"])
        self.assertEqual(done.returncode, 0, done.stderr)
        wait_until(lambda: not farm.published(first["video_id"]), 20, "what was published is gone")
        self.assertEqual(farm.cli("status", first["video_id"]).returncode, 3)

    def test_a_file_that_is_no_video_fails_with_exit_1_and_a_reason(self):
        farm = self.farm("no-video")
        farm.start_daemon()
        farm.start_agent("a1", more=CPUS)
        text = os.path.join(farm.folder, "letter.mp4")
        with open(text, "w") as file:
            file.write("Dear farm, this is no video.\n" * 50)
        done = farm.cli("submit", text, "--watch")
        self.assertEqual(done.returncode, 1, done.stderr)
        video = done.stdout.split()[0]
        status = farm.status(video)
        self.assertEqual((status["status"], status["error"]["class"], status["error"]["step"]), ("failed", "input", "probe"))

    def test_an_upload_arrives_whole(self):
        farm = self.farm("upload")
        farm.start_daemon()
        farm.start_agent("a1", more=CPUS)
        clip = self.short_clip()
        code, made = farm.api("POST", "/api/v1/videos", {"name": "short.mp4"})
        self.assertIn(code, (200, 201))
        with open(clip, "rb") as file:
            content = file.read()
        half = len(content) // 2
        url = "%s/api/v1/videos/%s/source" % (farm.http, made["video_id"])
        for first, last in ((0, half - 1), (half, len(content) - 1)):
            request = urllib.request.Request(url, data=content[first:last + 1], method="PUT", headers={
                "Content-Range": "bytes %d-%d/%d" % (first, last, len(content))})
            with urllib.request.urlopen(request, timeout=30) as answer:
                self.assertEqual(answer.status, 200)
        self.assertEqual(farm.wait_ready(made["video_id"])["status"], "ready")


class FullDisk(FaultCase):
    def test_full_disk_makes_work_wait_and_nothing_is_lost(self):
        if os.geteuid() != 0:
            self.skipTest("mounting a small tmpfs needs root")
        farm = self.farm("full")
        os.makedirs(farm.data)
        done = run(["mount", "-t", "tmpfs", "-o", "size=96m,mode=755", "none", farm.data])
        if done.returncode != 0:
            self.skipTest("cannot mount a tmpfs here: " + done.stderr.strip())
        ballast = os.path.join(farm.data, "ballast")

        def clear():
            farm.stop()
            subprocess.call(["umount", "-l", farm.data])
        self.addCleanup(clear)
        farm.start_daemon()
        farm.start_agent("a1", more=CPUS)
        video = farm.submit(self.clip, policy="pieces")
        farm.wait_pieces(video, 1)
        with open(ballast, "wb") as file:
            try:
                while True:
                    file.write(b"\0" * 65536)
                    file.flush()
            except OSError:
                pass
        time.sleep(8)
        status = farm.api("GET", "/api/v1/videos/%s/status" % video)
        if status[0] == 200:
            self.assertNotIn(status[1]["status"], ("ready", "failed", "cancelled"))
        self.assertTrue(farm.daemon.alive())
        self.assertTrue(farm.agents["a1"].alive())
        logs = farm.daemon.text() + farm.agent_log("a1")
        self.assertRegex(logs, "(?i)space|disk")
        os.unlink(ballast)
        self.assert_whole(farm, video)


if __name__ == "__main__":
    main()
