"""Routes on a farm of CPUs alone: a route that begins with GPUs falls to the CPU's encoder, one of GPUs alone waits and says for
what, a condition that never holds fails with its reason, and a policy's mistakes have their place."""
import os
import unittest

import media
from farm import Farm
from harness import main, wait_until

HEAD = """name: %s
gop: 1s
segment: 1s
chunk: 1s
check: none
audio: []
images: {poster: false, thumbnails: none, preview: false}
codecs:
"""
CODEC = """  - codec: %s
    route: %s
    preset: ultrafast
    rungs:
      - {name: 96p, height: 96, crf: 32, maxrate: 200k}
"""
POLICIES = {
    "falls": CODEC % ("h264", "[nvenc, {encoder: x264, crf_offset: 3}]") +
             CODEC % ("h265", "[{encoder: nvenc, when: {min_height: 1080}}, vaapi, {encoder: x265, when: {provider: acme}}]"),
    "waits": CODEC % ("h264", "[nvenc, vaapi]"),
    "never": CODEC % ("h264", "[{encoder: x264, when: {min_height: 2160}}]"),
}


class Routing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.farm = Farm("routing", lease=("3s", "500ms"))
        for name, codecs in POLICIES.items():
            cls.farm.policy(name, HEAD % name + codecs)
        cls.farm.start_up()
        cls.clip = media.made("routing", 3, "170x96", "25", audio=False)
        cls.falls = cls.farm.submit(cls.clip, "falls", provider="acme")
        cls.waits = cls.farm.submit(cls.clip, "waits")

    @classmethod
    def tearDownClass(cls):
        cls.farm.stop()

    def reasons(self, video):
        return "\n".join(self.farm.cli("explain", video, "--json").json["reasons"])

    def test_a_route_falls_to_the_cpu_where_there_are_no_gpus(self):
        status = self.farm.wait_ready(self.falls)
        made = {r["codec"]: (r["encoder"], r["devices"]) for r in status["renditions"]}
        self.assertEqual(made, {"h264": ("x264", ["cpu"]), "h265": ("x265", ["cpu"])})

    def test_a_route_of_gpus_alone_waits_and_says_for_what(self):
        wait_until(lambda: "no node can encode h264 by nvenc or vaapi: 1 node is ready, none has a usable device for it"
                   in self.reasons(self.waits), 60, lambda: self.reasons(self.waits))
        status = self.farm.status(self.waits)
        self.assertEqual(status["status"], "transcoding")
        self.assertGreater(self.farm.counter('sluice_encodes_queued{kind="nvenc"}'), 0)
        self.assertEqual(self.farm.counter('sluice_encode_devices{kind="nvenc"}'), 0)
        self.assertEqual(self.farm.cli("cancel", self.waits).returncode, 0)

    def test_a_condition_that_never_holds_fails_with_its_reason(self):
        status = self.farm.wait_final(self.farm.submit(self.clip, "never"))
        self.assertEqual(status["status"], "failed")
        self.assertEqual(status["error"]["step"], "plan")
        self.assertIn("no condition of h264's route (x264) holds for this video: 170x96, 8 bits", status["error"]["message"])

    def test_mistakes_in_a_route_have_their_place(self):
        path = os.path.join(self.farm.folder, "wrong.yaml")
        with open(path, "w") as file:
            file.write(HEAD % "wrong" + CODEC % ("h265", "[nvenc, {encoder: x264, when: {queue_longer: 10m}}]"))
        done = self.farm.cli("policy", "check", path)
        self.assertNotEqual(done.returncode, 0, done)
        self.assertIn("wrong.yaml:10:30: codecs[0].route[1].encoder: \"x264\"; expected one of x265, nvenc, vaapi", str(done))


if __name__ == "__main__":
    main()
