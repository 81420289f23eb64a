"""The main job over real clips: every rung has the source's frames at the source's times, through HLS and DASH.

Read by ffprobe, which shares nothing with what wrote it but the file formats. With SLUICE_TEST_FULL=1 the default
policy is used and every reading decodes; otherwise a quick preset, and the readings by path only read packets.
"""
import os
import re
import unittest
import xml.etree.ElementTree as xml

import media
from farm import Farm
from harness import FULL, main

SYNC_MAX_S = 0.050
DURATION_MAX_S = 0.5
STEP_MAX_S = 0.001 + 1e-6
HEIGHTS = (240, 360, 480, 720, 1080, 1440, 2160)


class Sources:
    """What the sources are, decoded once each."""
    _known = {}

    @classmethod
    def of(cls, path):
        if path not in cls._known:
            found, _ = media.frames(path)
            times = sorted(time for time, _ in found[min(found)])
            video = [s for s in media.streams(path)["streams"] if s["codec_type"] == "video"][0]
            cls._known[path] = (times, media.first_audio_time(path), int(video["width"]), int(video["height"]))
        return cls._known[path]


def steps(times):
    return [b - a for a, b in zip(times, times[1:])]


class MainJob(unittest.TestCase):
    farm = None
    videos = {}
    table = []

    @classmethod
    def setUpClass(cls):
        if not media.has_ffmpeg():
            raise unittest.SkipTest("there is no ffprobe: make deps-test installs it")
        cls.farm = Farm("main-job")
        cls.addClassCleanup(cls.farm.stop)
        cls.farm.start_up()
        for name, path in CLIPS:
            if path:
                cls.videos[name] = cls.farm.submit(path, policy=None if FULL else "quick")

    @classmethod
    def tearDownClass(cls):
        print("TABLE")
        print("%-38s %-26s %6s %9s %8s" % ("clip", "rungs", "frames", "duration", "sync ms"))
        for row in cls.table:
            print("%-38s %-26s %6d %8.3fs %8s" % row)
        print("END TABLE")

    def streams_by_rung(self, target, renditions):
        """{stream index: rung name} of the video streams of a manifest, by their size."""
        names = {(r["width"], r["height"]): r["name"] for r in renditions}
        found = {}
        for stream in media.streams(target)["streams"]:
            if stream["codec_type"] == "video":
                size = (stream["width"], stream["height"])
                self.assertIn(size, names, "%s has a stream of a size that status does not name" % target)
                found[stream["index"]] = names[size]
        self.assertEqual(sorted(found.values()), sorted(names.values()), target)
        return found

    def check_times(self, what, expected, times):
        self.assertEqual(len(times), len(expected) + 1, "%s: frames" % what)
        for number, (want, have) in enumerate(zip(expected, steps(times))):
            if abs(want - have) > STEP_MAX_S:
                self.fail("%s: from frame %d to the next %.6f s pass, in the source %.6f s" %
                          (what, number, have, want))

    def check_decoded(self, kind, target, renditions, expected):
        """Decodes all rungs from start to end; returns {rung: times}, after comparing with the source."""
        rungs = self.streams_by_rung(target, renditions)
        found, complaints = media.frames(target, "v")
        self.assertEqual(complaints.strip(), "", kind)
        keys = {}
        times = {}
        for stream, rows in found.items():
            rung = rungs[stream]
            times[rung] = [time for time, _ in rows]
            self.assertEqual(times[rung], sorted(times[rung]), "%s %s goes back in time" % (kind, rung))
            self.check_times("%s %s" % (kind, rung), expected, times[rung])
            keys[rung] = [number for number, (_, key) in enumerate(rows) if key]
        first = keys[renditions[0]["name"]]
        for rung, positions in keys.items():
            self.assertEqual(positions, first, "%s %s: keyframes lie elsewhere than in other rungs" % (kind, rung))
        return times

    def check_read(self, kind, target, renditions, expected):
        rungs = self.streams_by_rung(target, renditions)
        found, complaints = media.packets(target, "v")
        self.assertEqual(complaints.strip(), "", kind)
        for stream, times in found.items():
            self.check_times("%s %s" % (kind, rungs[stream]), expected, times)

    def check_playlists(self, hls, renditions, duration):
        master = self.farm.api("GET", hls[len(self.farm.http):])[1]
        variants = re.findall(r"^#EXT-X-STREAM-INF:(.*)\n(\S+)$", master, re.M)
        self.assertEqual(len(variants), len(renditions))
        base = hls[len(self.farm.http):].rsplit("/", 1)[0]
        for attributes, uri in variants:
            for name in ("BANDWIDTH", "AVERAGE-BANDWIDTH", "CODECS", "RESOLUTION", "FRAME-RATE"):
                self.assertRegex(attributes, r"(^|,)%s=" % name)
            code, playlist = self.farm.api("GET", "%s/%s" % (base, uri))
            self.assertEqual(code, 200)
            self.assertIn("#EXT-X-ENDLIST", playlist)
            lengths = [float(x) for x in re.findall(r"^#EXTINF:([0-9.]+)", playlist, re.M)]
            self.assertLess(abs(sum(lengths) - duration), DURATION_MAX_S, uri)
            target = int(re.search(r"#EXT-X-TARGETDURATION:(\d+)", playlist)[1])
            self.assertLessEqual(max(round(x) for x in lengths), target)

    def check_mpd(self, dash, duration):
        code, text = self.farm.api("GET", dash[len(self.farm.http):])
        self.assertEqual(code, 200)
        root = xml.fromstring(text)
        said = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?([0-9.]+)S", root.get("mediaPresentationDuration"))
        seconds = int(said[1] or 0) * 3600 + int(said[2] or 0) * 60 + float(said[3])
        self.assertLess(abs(seconds - duration), DURATION_MAX_S)
        self.assertTrue(root.findall(".//{*}SegmentTimeline"))

    def check_sound(self, path, first_frame, hls):
        """Where the same sound lies against the picture, in the source and in the segments. Returns the difference."""
        master = self.farm.local(hls)
        with open(master) as file:
            text = file.read()
        folder = os.path.dirname(master)
        audio = re.search(r'#EXT-X-MEDIA:.*TYPE=AUDIO.*URI="([^"]+)"', text)[1]
        rung = re.search(r"^#EXT-X-STREAM-INF:.*\n(\S+)$", text, re.M)[1]
        sound = media.joined(os.path.join(folder, audio), os.path.join(self.farm.folder, "sound.mp4"))
        picture = media.joined(os.path.join(folder, rung), os.path.join(self.farm.folder, "picture.mp4"))
        start = media.packets(picture)[0].popitem()[1][0]
        lag = media.lag_seconds(media.samples(path), media.samples(sound))
        if lag is None:
            return None
        off = lag - (start - first_frame)
        self.assertLess(abs(off), SYNC_MAX_S, "the sound lies elsewhere against the picture than in the source")
        return off

    def check_clip(self, name, path):
        video = self.videos[name]
        status = self.farm.wait_ready(video, 900)
        times, audio_at, width, height = Sources.of(path)
        expected = steps(times)
        duration = times[-1] - times[0] + (expected[-1] if expected else 0)
        renditions = sorted(status["renditions"], key=lambda r: r["height"])

        heights = [r["height"] for r in renditions]
        self.assertEqual(len(set(heights)), len(heights))
        for r in renditions:
            self.assertEqual((r["width"] % 2, r["height"] % 2), (0, 0))
            self.assertLessEqual((r["width"], r["height"]), (width, height), "a rung above the source")
            self.assertEqual((r["codec"], r["encoder"], r["frames"]), ("h264", "x264", len(times)), r["name"])
            self.assertLess(abs(r["width"] / r["height"] - width / height), 0.02, r["name"])
            self.assertGreater(r["bytes"], 0)
            self.assertTrue(r["devices"])
        limit = height if FULL else min(height, 1080)
        for standard in HEIGHTS:
            if standard <= limit:
                self.assertIn("%dp" % standard, [r["name"] for r in renditions])

        hls, dash = status["manifests"]["hls"], status["manifests"]["dash"]
        self.check_playlists(hls, renditions, duration)
        self.check_mpd(dash, duration)
        for kind, target in (("HLS", hls), ("DASH", dash)):
            out = self.check_decoded(kind, target, renditions, expected)
            if audio_at is None:
                self.assertIsNone(media.first_audio_time(target))
                continue
            heard = media.first_audio_time(target)
            self.assertIsNotNone(heard, "%s has no audio" % kind)
            for rung, at in out.items():
                off = (at[0] - heard) - (times[0] - audio_at)
                self.assertLess(abs(off), SYNC_MAX_S, "%s %s: sound and picture begin apart" % (kind, rung))
            end_v = max(at[-1] for at in out.values())
            end_a = max(media.packets(target, "a:0")[0].popitem()[1])
            self.assertLess(end_a - end_v, 1.0, "%s: sound goes on after the picture" % kind)
        for kind, target in (("HLS by path", hls), ("DASH by path", dash)):
            local = self.farm.local(target)
            self.assertTrue(os.path.isfile(local), local)
            if FULL:
                self.check_decoded(kind, local, renditions, expected)
            else:
                self.check_read(kind, local, renditions, expected)

        sync = self.check_sound(path, times[0], hls) if audio_at is not None else None
        tokens = self.farm.segments(video)
        self.assertTrue(tokens)
        self.assertEqual([key for key, t in tokens.items() if len(t) != 1], [], "segments published twice")
        self.table.append((name[:38], " ".join(r["name"] for r in renditions), len(times), duration,
                           "-" if sync is None else "%.1f" % (sync * 1000)))


CLIPS = [(name, media.clip(name)) for name in media.CLIPS]
if not any(path for _, path in CLIPS) and media.has_ffmpeg():
    CLIPS += [("made-25fps", media.made("25fps", 14)), ("made-720p-ntsc", media.made("ntsc", 9, "1280x720", "30000/1001")),
              ("made-vfr", media.made("vfr", 12, vfr=True)), ("made-video-only", media.made("silent", 8, "854x480", audio=False))]


def claim(name, path):
    def test(self):
        if not path:
            self.skipTest("the clip %s is not there: SLUICE_MEDIA names the folder" % name)
        self.check_clip(name, path)
    return test


for _name, _path in CLIPS:
    setattr(MainJob, "test_frames_times_and_sync_are_the_sources_" + re.sub(r"\W+", "_", _name.split(".")[0]),
            claim(_name, _path))

if __name__ == "__main__":
    main()
