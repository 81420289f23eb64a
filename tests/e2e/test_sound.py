"""Sound through the whole farm: in sync to a flash, in every language and codec, alone, in surround, and as loud as asked.

The sync clip is black with one white frame at each full second, and a beep of 1 kHz that begins with it. It is wrapped in ways
that move sound against picture in careless hands; ffmpeg measures both in every rung and audio rendition, by HLS and by DASH.
"""
import array
import os
import re
import subprocess
import unittest
import xml.etree.ElementTree as xml

import media
from farm import Farm
from harness import TMP, main, run

SYNC_MAX_S = 0.021  # a frame of AAC
RATE_HZ = 8000
SECONDS = 5
ROLE = "{*}Role"

POLICY = """name: sound
gop: 1s
segment: 2s
chunk: 4s
check: none
codecs:
  - codec: h264
    route: [x264]
    preset: ultrafast
    rungs:
      - {name: 120p, height: 120, crf: 30, maxrate: 200k}
      - {name: 180p, height: 180, crf: 30, maxrate: 400k}
audio:
  - {codec: aac, bitrate: 128k}
  - {codec: opus, bitrate: 96k}
  - {codec: aac, bitrate: 256k, channels: 6}
"""

PICTURE = ["-f", "lavfi", "-i", "color=black:size=320x180:rate=25:duration=%d,"
           "drawbox=color=white:t=fill:enable='eq(mod(n,25),0)*gt(n,0)'" % (SECONDS + 1)]
X264 = ["-c:v", "libx264", "-preset", "veryfast", "-g", "75", "-bf", "2", "-pix_fmt", "yuv420p"]


def beeps(layout="stereo", rate=48000, before=()):
    """A beep at every full second but the first, in all channels but an LFE."""
    tone = "0.3*sin(2*PI*1000*t)*gte(t,0.5)*lt(mod(t,1),0.05)"
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    tones = "|".join("0" if channels == 6 and c == 3 else tone for c in range(channels))
    return list(before) + ["-f", "lavfi", "-i", "aevalsrc='%s':s=%d:d=%d:c=%s" % (tones, rate, SECONDS + 1, layout)]


def make(name, *args):
    path = os.path.join(TMP, "sync-" + name)
    if not os.path.isfile(path):
        os.makedirs(TMP, exist_ok=True)
        part = os.path.join(TMP, "part-%d-%s" % (os.getpid(), name))
        media.ffmpeg(*(list(args) + [part]))
        os.replace(part, path)
    return path


def sync_clips():
    """[(name, path, how much later than its flash each beep comes, None where ffmpeg does not keep to it)]"""
    plain = make("plain.mp4", *(PICTURE + beeps() + X264 + ["-c:a", "aac"]))
    keep = "select='not(mod(n,25))+mod(n,25)*eq(mod(n,25),1)+not(mod(n,3))*gt(mod(n,25),6)'"
    rows = [
        ("plain.mp4", plain, 0),
        # The keyframe lies 0.72 s before the first frame shown: edit lists hide it, for sound and picture apart. Copied
        # packets of sound begin elsewhere than those of the picture.
        ("edit-list.mp4", make("edit-list.mp4", "-ss", "0.72", "-i", plain, "-c:v", "copy", "-c:a", "aac"), 0),
        ("edit-list-copied.mp4", make("edit-list-copied.mp4", "-ss", "0.7", "-i", plain, "-c", "copy"), None),
        ("vfr.mp4", make("vfr.mp4", *(PICTURE + beeps() + ["-vf", keep, "-vsync", "vfr", "-video_track_timescale",
                                                         "90000"] + X264 + ["-c:a", "aac"])), 0),
        ("delay.mp4", make("delay.mp4", "-i", plain, "-itsoffset", "0.35", "-i", plain, "-map", "0:v", "-map", "1:a",
                           "-c", "copy"), 0.35),
        ("early.mkv", make("early.mkv", "-itsoffset", "0.25", "-i", plain, "-i", plain, "-map", "0:v", "-map", "1:a", "-c",
                           "copy"), -0.25),
        ("first-pts-10s.mp4", make("first-pts-10s.mp4", "-i", plain, "-c", "copy", "-output_ts_offset", "10"), 0),
        ("stream.ts", make("stream.ts", *(PICTURE + beeps(rate=44100) + X264 + ["-c:a", "mp2"])), 0),
        ("opus.mkv", make("opus.mkv", *(PICTURE + beeps() + X264 + ["-c:a", "libopus"])), 0),
        ("mp3.avi", make("mp3.avi", *(PICTURE + beeps("mono", 44100) + ["-c:v", "mpeg4", "-q:v", "5", "-c:a",
                                                                        "libmp3lame"])), None),
        ("surround.mkv", make("surround.mkv", *(PICTURE + beeps("5.1") + X264 + ["-c:a", "ac3"])), 0),
    ]
    return rows


def edges(times_levels, threshold, quiet_s):
    """Instants at which a level passes the threshold after having been below for so long."""
    found, last = [], -1e9
    for time, level in times_levels:
        if level > threshold:
            if time - last > quiet_s:
                found.append(time)
            last = time
    return found


def measure(target, video, audio, folder):
    """(flashes of each of so many video streams, beeps of each audio stream), in the target's own time."""
    args = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-copyts", "-i", target]
    names = [os.path.join(folder, "%s%d" % (kind, n)) for kind, count in (("v", video), ("a", audio)) for n in range(count)]
    for n in range(video):
        args += ["-map", "0:v:%d" % n, "-vf", "scale=16:16,signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=" +
                 names[n], "-f", "null", "-"]
    for n in range(audio):
        args += ["-map", "0:a:%d" % n, "-ac", "1", "-af", "aresample=%d:async=1:first_pts=0" % RATE_HZ, "-f", "s16le",
                 names[video + n]]
    done = run(args, 120)
    if done.returncode != 0 or done.stderr.strip():
        raise AssertionError("%s: %s" % (target, done.stderr[-2000:]))
    flashes, sounds = [], []
    for name in names[:video]:
        with open(name) as file:
            rows = re.findall(r"pts_time:(\S+)\s+lavfi.signalstats.YAVG=(\S+)", file.read())
        flashes.append(edges([(float(time), float(level)) for time, level in rows], 120, 0))
    for name in names[video:]:
        samples = array.array("h")
        with open(name, "rb") as file:
            samples.frombytes(file.read())
        peak = max(map(abs, samples))
        sounds.append(edges(((n / RATE_HZ, abs(x)) for n, x in enumerate(samples)), peak * 0.4, 0.4))
    for name in names:
        os.remove(name)
    return flashes, sounds


def rendition_names(target, kinds):
    return [s for s in media.streams(target)["streams"] if s["codec_type"] == kinds]


class Sound(unittest.TestCase):
    farm = None
    table = []

    @classmethod
    def setUpClass(cls):
        if not media.has_ffmpeg():
            raise unittest.SkipTest("there is no ffmpeg: make deps-test installs it")
        cls.clips = sync_clips()
        cls.farm = Farm("sound")
        cls.addClassCleanup(cls.farm.stop)
        cls.farm.policy("sound", POLICY)
        cls.farm.policy("loud", POLICY.replace("name: sound", "name: loud\nloudness: -20\ntrue_peak: -2"))
        cls.farm.start_up()
        cls.videos = {name: cls.farm.submit(path, "sound") for name, path, _ in cls.clips}

    @classmethod
    def tearDownClass(cls):
        print("TABLE")
        print("sync error in ms, at most %.0f: the worst beep against its flash" % (SYNC_MAX_S * 1000))
        print("%-20s %-5s %-14s %s" % ("source", "by", "rungs", "audio"))
        for row in cls.table:
            print("%-20s %-5s %-14s %s" % row)
        print("END TABLE")

    def manifests(self, video):
        status = self.farm.wait_ready(video, 300)
        return status, status["manifests"]["hls"], status["manifests"]["dash"]

    def text(self, address):
        code, text = self.farm.api("GET", address[len(self.farm.http):])
        self.assertEqual(code, 200, address)
        return text

    def check_sync(self, name, path, offset):
        status, hls, dash = self.manifests(self.videos[name])
        self.assertEqual([r["name"] for r in status["renditions"]], ["180p", "120p"])
        (source_flashes,), (source_beeps,) = measure(path, 1, 1, self.farm.folder)
        self.assertGreaterEqual(len(source_flashes), SECONDS - 1)
        self.assertEqual(len(source_flashes), len(source_beeps), "%s is no sync clip" % name)
        late = [b - f for f, b in zip(source_flashes, source_beeps)]
        for kind, target in (("HLS", hls), ("DASH", dash)):
            rungs, sounds = rendition_names(target, "video"), rendition_names(target, "audio")
            self.assertEqual({s["height"] for s in rungs}, {120, 180})
            self.assertEqual({s["codec_name"] for s in sounds}, {"aac", "opus"})
            flashes, heard = measure(target, len(rungs), len(sounds), self.farm.folder)
            worst = {}
            for rung, at in zip(rungs, flashes):
                steps = [b - a for a, b in zip(source_flashes, source_flashes[1:])]
                self.assertEqual(len(at), len(source_flashes), "%s: flashes" % kind)
                self.assertLess(max(abs(b - a - s) for a, b, s in zip(at, at[1:], steps)), 0.002)
                for sound, onsets in zip(sounds, heard):
                    self.assertEqual(len(onsets), len(at), "%s %s: beeps at %s" % (kind, sound["codec_name"], onsets))
                    off = max((b - f - l for f, b, l in zip(at, onsets, late)), key=abs)
                    if offset is not None:  # as it was made, and not only as ffmpeg reads the source
                        made = max((b - f - offset for f, b in zip(at, onsets)), key=abs)
                        self.assertLess(abs(made), SYNC_MAX_S, "%s by %s" % (name, kind))
                    key = "%s-%sch" % (sound["codec_name"], sound["channels"])
                    worst[key] = max(worst.get(key, 0.0), off, key=abs)
            self.table.append((name, kind, " ".join(sorted({"%dp" % r["height"] for r in rungs})),
                               " ".join("%s %+.1f" % (k, worst[k] * 1000) for k in sorted(worst))))
            for key, off in worst.items():
                self.assertLess(abs(off), SYNC_MAX_S, "%s by %s: %s" % (name, kind, key))
            if name == "surround.mkv":
                self.assertIn("aac-6ch", worst)

    def test_languages_become_tracks_of_every_group(self):
        titles = [("eng", "", 0), ("deu", "", 0), ("eng", "Director's \"cut\" <&>", "comment")]
        args = list(PICTURE)
        for n in range(3):
            args += ["-f", "lavfi", "-i", "sine=frequency=%d:sample_rate=48000:duration=4" % (300 * (n + 1))]
        args += ["-map", "0:v"] + sum([["-map", "%d:a" % (n + 1)] for n in range(3)], [])
        for n, (language, title, disposition) in enumerate(titles):
            args += ["-metadata:s:a:%d" % n, "language=" + language, "-metadata:s:a:%d" % n, "title=" + title,
                     "-disposition:a:%d" % n, str(disposition)]
        path = make("languages.mkv", *(args + ["-t", "4"] + X264 + ["-c:a", "aac"]))
        _, hls, dash = self.manifests(self.farm.submit(path, "sound"))
        master = self.text(hls)
        rows = re.findall(r'^#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="([^"]+)",NAME="([^"]+)",LANGUAGE="(\w+)",DEFAULT=(\w+),'
                          r'AUTOSELECT=(\w+)', master, re.M)
        wanted = [("English", "en", "YES", "YES"), ("German", "de", "NO", "YES"), ("Director's _cut_ <&>", "en", "NO", "NO")]
        self.assertEqual(rows, [(group,) + row for group in ("aac-128", "opus-96") for row in wanted])
        variants = re.findall(r'CODECS="[^",]+,([^"]+)",RESOLUTION=(\S+?),.*AUDIO="([^"]+)"', master)
        self.assertEqual(variants, [(codec, size, group) for codec, group in (("mp4a.40.2", "aac-128"), ("opus", "opus-96"))
                                    for size in ("320x180", "214x120")])
        sets = [s for s in xml.fromstring(self.text(dash)).findall(".//{*}AdaptationSet") if s.get("contentType") == "audio"]
        self.assertEqual([(s.get("lang"), s.find(ROLE).get("value"), s.find("{*}Label").text) for s in sets],
                         [("en", "main", "English")] * 2 + [("de", "dub", "German")] * 2 +
                         [("en", "commentary", titles[2][1])] * 2)
        for s in sets:
            self.assertEqual(s.find(".//{*}AudioChannelConfiguration").get("value"), "2")
        # Each track has its own sound: the pitch tells which.
        for n, name in enumerate(("eng", "deu", "eng-3")):
            playlist = os.path.join(os.path.dirname(self.farm.local(hls)),
                                    re.search(r'URI="(audio/aac-128-%s/[^"]+)"' % name, master)[1])
            sound = media.samples(media.joined(playlist, os.path.join(self.farm.folder, "track.mp4")))
            crossings = sum(1 for a, b in zip(sound[8000:16000], sound[8001:16001]) if (a < 0) != (b < 0))
            self.assertLess(abs(crossings - 2 * 300 * (n + 1)), 12, name)

    def test_sound_alone_is_published_as_sound(self):
        """With cover art, which is no video; the beeps stay where they were to a few milliseconds."""
        cover = make("cover.png", "-f", "lavfi", "-i", "color=red:size=64x64:d=1", "-frames:v", "1")
        path = make("alone.m4a", *(beeps() + ["-i", cover, "-map", "0:a", "-map", "1:v", "-c:v", "png", "-disposition:v:0",
                                             "attached_pic", "-c:a", "aac"]))
        others = [make("alone.mp3", *(beeps("mono", 44100) + ["-c:a", "libmp3lame"])),
                  make("alone.flac", *(beeps("stereo", 96000) + ["-c:a", "flac"]))]
        videos = [(p, self.farm.submit(p, "sound")) for p in [path] + others]
        for source, video in videos:
            status, hls, dash = self.manifests(video)
            self.assertEqual(status["renditions"], [])
            self.assertEqual(status["pipeline_progress"]["transcode"]["percent"], 100)
            self.assertLess(abs(status["source"]["duration_seconds"] - SECONDS - 1), 0.06)
            self.assertEqual((status["source"]["width"], status["source"]["frames"]), (0, 0))
            self.assertIn(status["source"]["codec"], ("aac", "mp3", "flac"))
            self.assertEqual(len(re.findall("^#EXT-X-STREAM-INF", self.text(hls), re.M)), 2)
            _, (source_beeps,) = measure(source, 0, 1, self.farm.folder)
            first = float(media.streams(source)["format"].get("start_time", 0))
            for target in (hls, dash):
                self.assertEqual(rendition_names(target, "video"), [])
                sounds = rendition_names(target, "audio")
                self.assertEqual({s["codec_name"] for s in sounds}, {"aac", "opus"})
                for onsets in measure(target, 0, len(sounds), self.farm.folder)[1]:
                    self.assertEqual(len(onsets), SECONDS)
                    for a, b in zip(source_beeps, onsets):
                        self.assertLess(abs(a - first - b), SYNC_MAX_S, source)

    def test_loudness_comes_to_the_policy(self):
        path = make("quiet.mkv", *(PICTURE + ["-f", "lavfi", "-i", "anoisesrc=r=48000:d=6:a=0.03:c=pink:seed=5", "-ac", "2"] +
                                   X264 + ["-c:a", "flac"]))
        _, _, dash = self.manifests(self.farm.submit(path, "loud"))
        for n in range(2):
            done = subprocess.run(["ffmpeg", "-nostdin", "-hide_banner", "-i", dash, "-map", "0:a:%d" % n, "-af",
                                   "ebur128=peak=true", "-f", "null", "-"], stderr=subprocess.PIPE, text=True, timeout=120)
            heard = float(re.findall(r"I:\s+(-?[0-9.]+) LUFS", done.stderr)[-1])
            self.assertLess(abs(heard + 20), 1)
            self.table.append(("loudness -20", "DASH", "", "%.1f LUFS" % heard))


for _name in ("plain.mp4", "edit-list.mp4", "edit-list-copied.mp4", "vfr.mp4", "delay.mp4", "early.mkv", "first-pts-10s.mp4", "stream.ts", "opus.mkv",
              "mp3.avi", "surround.mkv"):
    def _test(self, name=_name):
        row = [row for row in self.clips if row[0] == name][0]
        self.check_sync(*row)
    setattr(Sound, "test_flash_and_beep_stay_together_in_" + re.sub(r"\W", "_", _name), _test)

if __name__ == "__main__":
    main()
