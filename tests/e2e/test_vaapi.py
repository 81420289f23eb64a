"""VA-API devices as a farm uses them, on the stand-in driver: two codecs scaled and encoded on devices of which one is
lost, and what broken drivers are told as. tests/standin/README.md says what the stand-in does."""
import glob
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import media  # noqa: E402
from farm import Farm  # noqa: E402
from harness import ROOT, main, program, run, wait_until  # noqa: E402

STANDIN = os.path.join(ROOT, "build", "standin")
SECONDS = 6

# The largest rung has the source's size: its surface is the one that the picture went up in.
POLICY = """name: va
gop: 1s
segment: 1s
chunk: 1s
codecs:
  - codec: h264
    route: [vaapi]
    preset: ultrafast
    rungs:
      - {name: 180p, height: 180, crf: 28, maxrate: 400k, bufsize: 800k}
      - {name: 96p, height: 96, crf: 28, maxrate: 200k, bufsize: 400k}
  - codec: h265
    route: [vaapi]
    preset: ultrafast
    rungs:
      - {name: 120p, height: 120, crf: 28, maxrate: 300k, bufsize: 600k}
"""


class Devices(unittest.TestCase):
    def test_codecs_are_made_on_va_devices_and_a_lost_one_costs_nothing(self):
        clip = media.made("vaapi", SECONDS, size="320x180", audio=False, extra=("-g", "25"))
        with Farm("vaapi") as farm:
            farm.policy("va", POLICY)
            farm.start_up(more=["--standin", "vaapi=2"], env={"SLUICE_STANDIN_FAULTS": "vaapi/lost@0:40"})
            status = farm.wait_ready(farm.submit(clip, "va"), 120)
            made = [(r["codec"], r["name"], r["encoder"], r["frames"]) for r in status["renditions"]]
            frames = 25 * SECONDS
            self.assertEqual(made, [("h264", "180p", "vaapi", frames), ("h264", "96p", "vaapi", frames),
                                    ("h265", "120p", "vaapi", frames)])
            for rendition in status["renditions"]:
                self.assertLessEqual(set(rendition["devices"]), {"standin-va0", "standin-va1"})
                folder = os.path.join(os.path.dirname(farm.local(status["manifests"]["hls"])), rendition["codec"],
                                      rendition["name"])
                playlist = glob.glob(os.path.join(folder, "playlist.t*.m3u8"))
                self.assertEqual(media.decoded_frames(playlist[0]), frames)
            code, document = farm.api("GET", "/api/v1/devices")
            self.assertEqual(code, 200)
            lost = next(row for row in document["devices"] if row["device_id"] == "standin-va0")
            self.assertIn(lost["health"], ("quarantined", "proving", "healthy"))
            done = run([os.path.join(STANDIN, "standin-stat"), os.path.join(farm.data, "standin"), "vaapi"])
            counted = json.loads(done.stdout)
            self.assertEqual(counted["devices"][0]["lost"], 1)
            wait_until(lambda: json.loads(run([os.path.join(STANDIN, "standin-stat"),
                                               os.path.join(farm.data, "standin"), "vaapi"]).stdout)["sessions"] == 0,
                       30, "sessions are closed")
            log = farm.up.text()
            self.assertIn("device standin-va0 is quarantined: device_lost", log)
            self.assertNotIn("the CPU scales", log)


# What `sluice hw` says of each driver in its notes; none of them has a device.
BROKEN = [
    ("crash_at_init", STANDIN, "vaapi: the driver crashed at probe (signal 11, SIGSEGV)"),
    ("old_driver", STANDIN, "vaapi: standin-va0: no VA driver opens"),
    ("", os.path.join(STANDIN, "half"), "vaapi: standin-va0: SLUICE_STANDIN_VAAPI asks for it"),
]


class Hardware(unittest.TestCase):
    def hw(self, faults="", folder=STANDIN):
        env = dict(os.environ, LD_LIBRARY_PATH=folder, SLUICE_STANDIN_NVENC="0", SLUICE_STANDIN_VAAPI="1",
                   SLUICE_STANDIN_FAULTS=faults)
        done = run([program("sluice"), "hw", "--json"], env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        document = json.loads(done.stdout)
        self.assertIn("cpu", [device["kind"] for device in document["devices"]])
        return ([device for device in document["devices"] if device["kind"] == "vaapi"],
                [note for note in document.get("notes", []) if note.startswith("vaapi")])

    def test_each_broken_driver_has_one_exact_line(self):
        for fault, folder, text in BROKEN:
            with self.subTest(fault):
                devices, notes = self.hw(fault, folder)
                self.assertEqual(devices, [])
                self.assertEqual([note.startswith(text) for note in notes], [True], notes)

    def test_rows_are_what_the_driver_says(self):
        devices, notes = self.hw("no_h265")
        self.assertEqual(notes, [])
        self.assertEqual([(device["device_id"], device["standin"]) for device in devices], [("standin-va0", True)])
        self.assertIn("h264", devices[0]["encodes"])
        self.assertNotIn("h265", devices[0]["encodes"])


if __name__ == "__main__":
    main()
