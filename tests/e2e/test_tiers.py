"""config/policies/tiers.yaml on a farm with stand-in GPUs: each codec by the device that its route names first and that is there."""
import os
import re
import unittest

import media
from farm import Farm
from harness import main, run

FRAMES = 15


class Tiers(unittest.TestCase):
    def test_premium_is_made_by_cpus_and_gpus(self):
        known = run(["ffmpeg", "-hide_banner", "-encoders"]).stdout
        wanted = {"h264": "x264", "h265": "nvenc", "av1": "nvenc" if " av1_nvenc " in known else "svtav1"}
        farm = Farm("tiers", config="agent:\n  calibrate: false\n")
        try:
            farm.start_up(more=["--standin", "nvenc=2"])
            clip = media.made("tiers-%d" % FRAMES, FRAMES / 15, "640x360", "15")
            status = farm.wait_ready(farm.submit(clip, "premium"), 120)
            self.assertEqual({r["codec"]: r["encoder"] for r in status["renditions"]}, wanted)
            for rendition in status["renditions"]:
                on_gpus = {device.startswith("GPU-") for device in rendition["devices"]}
                self.assertEqual(on_gpus, {rendition["encoder"] == "nvenc"}, rendition)
            master = farm.local(status["manifests"]["hls"])
            with open(master) as file:
                playlists = re.findall(r"^#EXT-X-STREAM-INF:.*\n(\S+)$", file.read(), re.M)
            self.assertEqual({uri.split("/")[0] for uri in playlists}, set(wanted))
            for uri in playlists:
                self.assertEqual(media.decoded_frames(os.path.join(os.path.dirname(master), uri)), FRAMES, uri)
            print("premium was made by " + ", ".join("%s (%s)" % pair for pair in wanted.items()))
        finally:
            farm.stop()


if __name__ == "__main__":
    main()
