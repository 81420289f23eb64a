"""One job shared by several agents: over a shared folder, and from another network with nothing but an address."""
import os
import unittest

import media
from farm import FINAL, Farm, PIECES_POLICY
from harness import at_end, main, program, run, wait_until

SECRET = "a-secret-of-the-farm-under-test-0123456789"


class SharedJob(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not media.has_ffmpeg():
            raise unittest.SkipTest("there is no ffprobe: make deps-test installs it")
        cls.clip = media.long_clip()
        cls.frames = len(media.packets(cls.clip)[0].popitem()[1])

    def check_shared(self, farm, names, by):
        for name in names:
            self.assertEqual(farm.node(name)["state"], "ready")
        video = farm.submit(self.clip, policy="pieces")
        seen = {name: 0 for name in names}  # how often each was seen at work

        def over():
            for row in farm.api("GET", "/api/v1/nodes")[1]["nodes"]:
                seen[row["name"]] += 1 if row["running"] else 0
            return farm.status(video)["status"] in FINAL
        wait_until(over, 300, "the job ends", 0.1)
        status = farm.wait_ready(video)
        for rendition in status["renditions"]:
            self.assertEqual(rendition["frames"], self.frames)
        for kind in ("hls", "dash"):
            found = media.packets(status["manifests"][kind], "v")[0]
            self.assertEqual([len(times) for times in found.values()], [self.frames], kind)
        segments = farm.segments(video)
        self.assertTrue(segments)
        self.assertEqual([k for k, t in segments.items() if len(t) != 1], [])
        self.assertEqual([name for name, count in seen.items() if count == 0], [], "who never worked: %s" % seen)
        self.assertEqual(farm.counter("sluice_failures_total"), 0)
        for name in names:
            self.assertIn(by, farm.agent_log(name), "how bytes travelled")

    def on_shared_folder(self, count):
        with Farm("shared-%d" % count) as farm:
            farm.policy("pieces", PIECES_POLICY % "medium")
            farm.start_daemon()
            names = ["a%d" % i for i in range(1, count + 1)]
            for name in names:
                farm.start_agent(name, more=["--cpus", "1"])
            self.check_shared(farm, names, "objects lie in %s, used directly" % farm.data)

    def test_two_agents_on_a_shared_folder(self):
        self.on_shared_folder(2)

    def test_four_agents_on_a_shared_folder(self):
        self.on_shared_folder(4)

    def network(self):
        """A namespace joined to us by a pair of interfaces; (its name, our address) or a skip."""
        if os.geteuid() != 0:
            self.skipTest("a network namespace needs root")
        number = os.getpid() % 200
        name = "sluice-e2e-%d" % os.getpid()
        ours, theirs = "slc%dh" % number, "slc%dn" % number
        address = "10.213.%d." % number

        def remove():
            run(["ip", "netns", "del", name])
            run(["ip", "link", "del", ours])
        remove()
        steps = [["ip", "netns", "add", name],
                 ["ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name],
                 ["ip", "addr", "add", address + "1/24", "dev", ours],
                 ["ip", "link", "set", ours, "up"],
                 ["ip", "-n", name, "addr", "add", address + "2/24", "dev", theirs],
                 ["ip", "-n", name, "link", "set", theirs, "up"],
                 ["ip", "-n", name, "link", "set", "lo", "up"]]
        self.addCleanup(remove)
        at_end(remove)
        for step in steps:
            try:
                done = run(step)
            except OSError as error:
                self.skipTest("no ip command: %s" % error)
            if done.returncode != 0:
                self.skipTest("cannot make a network namespace here: %s: %s" % (" ".join(step), done.stderr.strip()))
        return name, address + "1"

    def over_network(self, count):
        namespace, address = self.network()
        farm = Farm("network-%d" % count)
        self.addCleanup(farm.stop)
        secret = os.path.join(farm.folder, "farm.secret")
        with open(secret, "w") as file:
            file.write(SECRET + "\n")
        os.chmod(secret, 0o600)
        with open(farm.config, "a") as file:
            file.write("farm:\n  secret_file: %s\n" % secret)
        farm.policy("pieces", PIECES_POLICY % "medium")
        wire = "tcp://%s:%d" % (address, farm.wire_port)
        farm.start_daemon(http="0.0.0.0:%d" % farm.http_port, wire=wire)
        # In its namespace the data folder is an empty file system: nothing of the store can be seen by path.
        prefix = ["ip", "netns", "exec", namespace, "sh", "-c",
                  "mount -t tmpfs none \"$0\" && exec \"$@\"", farm.data]
        names = ["n%d" % i for i in range(1, count + 1)]
        for name in names:
            farm.start_agent(name, more=["--cpus", "1"], wire=wire, prefix=prefix)
        # A stranger on that network, without the secret, is told nothing.
        done = run(["ip", "netns", "exec", namespace, program("sluice"), "--api",
                    "http://%s:%d" % (address, farm.http_port), "list"], env={"PATH": os.environ["PATH"]})
        self.assertEqual(done.returncode, 5, done.stderr + done.stdout)
        self.check_shared(farm, names, "objects come from http://%s:%d" % (address, farm.http_port))

    def test_two_agents_in_another_network(self):
        self.over_network(2)

    def test_four_agents_in_another_network(self):
        self.over_network(4)


if __name__ == "__main__":
    main()
