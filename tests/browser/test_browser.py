"""The pages and what the farm publishes, in headless Chromium: node runs the .mjs files beside this one."""
import json
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import media  # noqa: E402
from farm import Farm  # noqa: E402
from harness import BUILD, ROOT, TMP, main  # noqa: E402

FPS, SECONDS, GOP = 25, 24, 50

POLICY = """name: browser
gop: 2s
segment: 2s
chunk: 4s
codecs:
  - codec: h264
    route: [x264]
    preset: ultrafast
    rungs:
      - {name: 240p, height: 240, crf: 26, maxrate: 500k, bufsize: 1000k}
      - {name: 360p, height: 360, crf: 26, maxrate: 1200k, bufsize: 2400k}
audio:
  - {codec: aac, bitrate: 96k, channels: 2, sample_rate: 48000}
"""

# Works long enough for a person, or a test, to see it at work.
SLOW_POLICY = POLICY.replace("name: browser", "name: slow").replace("preset: ultrafast", "preset: slower").replace("crf: 26", "crf: 18")


# Every codec at one size: what is asked is whether a browser decodes it, and each frame at its time.
CODECS_POLICY = """name: codecs
gop: 2s
segment: 2s
chunk: 2s
codecs:
"""
for _codec, _encoder in (("h264", "x264"), ("h265", "x265"), ("av1", "svtav1"), ("vp9", "vpx")):
    CODECS_POLICY += """  - codec: %s
    route: [%s]
    preset: ultrafast
    rungs: [{name: 360p, height: 360, crf: 28, maxrate: 1200k}]
""" % (_codec, _encoder)
CODECS_POLICY += "audio: []\n"
CODECS_SECONDS = 4


def numbered(seconds=SECONDS):
    """A clip whose frames carry their number: white, black, 12 bits, parity, white, 40 pixels each. A tone per language."""
    path = os.path.join(TMP, "numbered-%d.mp4" % seconds)
    if os.path.isfile(path):
        return path
    os.makedirs(TMP, exist_ok=True)
    box = "drawbox=x=%d:y=0:w=40:h=40:color=white:t=fill"
    filters = ["drawbox=x=0:y=0:w=640:h=44:color=black:t=fill", box % 0, box % 600]
    for bit in range(12):
        filters.append((box + ":enable='gte(mod(n,%d),%d)'") % ((2 + bit) * 40, 2 ** (12 - bit), 2 ** (11 - bit)))
    ones = "+".join("gte(mod(n\\,%d)\\,%d)" % (2 ** (bit + 1), 2 ** bit) for bit in range(12))
    filters.append((box + ":enable='mod(%s,2)'") % (14 * 40, ones.replace("\\", "")))
    lines = path + ".srt"
    with open(lines, "w") as file:
        file.write("1\n00:00:01,000 --> 00:00:03,000\nthe first line\n\n2\n00:00:05,000 --> 00:00:08,500\nthe second line\n")
    tone = "sine=frequency=%d:sample_rate=48000:duration=" + str(seconds)
    part = path + ".%d.part.mp4" % os.getpid()
    media.ffmpeg("-f", "lavfi", "-i", "testsrc2=size=640x360:rate=%d:duration=%d" % (FPS, seconds), "-f", "lavfi", "-i", tone % 440,
                 "-f", "lavfi", "-i", tone % 880, "-i", lines, "-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "3:s",
                 "-vf", ",".join(filters), "-c:v", "libx264", "-preset", "veryfast", "-crf", "16", "-g", str(GOP), "-pix_fmt", "yuv420p",
                 "-c:a", "aac", "-b:a", "96k", "-ac", "2", "-c:s", "mov_text", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1",
                 "language=deu", "-metadata:s:s:0", "language=eng", part)
    os.replace(part, path)
    return path


class Browser(unittest.TestCase):
    """One farm for all; each file's lines are shown as they come, and its sum is added to this file's."""

    @classmethod
    def setUpClass(cls):
        cls.farm = Farm("browser")
        cls.addClassCleanup(cls.farm.stop)
        cls.farm.policy("browser", POLICY)
        cls.farm.policy("slow", SLOW_POLICY)
        cls.farm.policy("codecs", CODECS_POLICY)
        cls.farm.start_up()

    def node(self, file, seconds):
        env = dict(os.environ, SLUICE_FARM=self.farm.http, SLUICE_NPM=os.path.join(BUILD, "npm-browser"),
                   SLUICE_CLIP=json.dumps({"clip": numbered(), "policy": "browser", "slow": "slow", "fps": FPS,
                                           "frames": FPS * SECONDS, "gop": GOP,
                                           "codecs": {"clip": numbered(CODECS_SECONDS), "policy": "codecs",
                                                      "frames": FPS * CODECS_SECONDS}}))
        done = subprocess.run(["node", os.path.join(ROOT, "tests", "browser", file)], env=env, timeout=seconds, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, errors="replace")
        print(done.stdout)
        found = re.search(r"^SUM (\d+) (\d+) (\d+)$", done.stdout, re.M)
        self.assertTrue(found, "%s ended with %d:\n%s" % (file, done.returncode, done.stdout[-2000:]))
        passed, failed, _ = (int(part) for part in found.groups())
        self.assertEqual(failed, 0, "tests of %s failed" % file)
        self.assertGreater(passed, 0, "%s ran no test" % file)

    def test_pages(self):
        self.node("pages.mjs", 600)

    def test_players(self):
        self.node("players.mjs", 900)


if __name__ == "__main__":
    main()
