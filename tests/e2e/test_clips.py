"""Every clip of the media folder, and made ones with further traits, through one farm: what comes out is held against what
ffmpeg and ffprobe make of the source by themselves.

Held: the number of frames of each rung and their times, the duration, the size of the upright picture in square samples,
the picture itself (PSNR against ffmpeg's own, turned, deinterlaced, tone-mapped), colour tags, progressive frames.
"""
import array
import concurrent.futures
import math
import os
import re
import subprocess
import unittest

import clips_made
import media
from farm import Farm
from harness import MEDIA, TMP, main

POLICY = """name: %s
gop: 1s
segment: 2s
chunk: 2s
codecs:
  - codec: h264
    route: [x264]
    preset: ultrafast
    rungs:
      - {name: 144p, height: 144, crf: 23, maxrate: 2M, bufsize: 4M}
%saudio:
  - {codec: aac, bitrate: 96k, channels: 2, sample_rate: 48000}
"""
TOP = "      - {name: 2160p, height: 2160, crf: 18, maxrate: 40M, bufsize: 80M}\n"

# What a check needs to know of a real clip beyond what ffprobe says of it. "small": the rung of the source's size is left out.
REAL = {
    "sintel-trailer-720p24-h264-aac.mp4": {"small": True, "packets": True},
    "bbb-1080p24-h264-aac51.mp4": {"small": True, "packets": True},
    "bbb-480p24-h264-aac51.mp4": {"small": True, "packets": True},
    "long-362s-1080p30-black.mp4": {"small": True, "packets": True},
    "bottles-video-only-179-6fps.mp4": {"small": True, "packets": True},
    "sintel-vfr-derived.mp4": {"small": True},
    "sintel-subs-2srt-ass-chapters.mkv": {"small": True},
    "sintel-720p-vp9-opus-derived.webm": {"small": True},
    "cars-768x432-baseline-12_5fps.mp4": {"small": True, "packets": True},
    "phone-hevc10-hlg-rot90-vfr-editlist.mp4": {"filter": clips_made.HDR},
    "hdr10-av1-10bit-portrait.mp4": {"filter": clips_made.HDR},
    "sintel-480i2997-telecine-mpeg2-derived.ts": {"filter": clips_made.DEINT, "note": "pulldown"},
    "nasa-2video-2audio-2movtext.mp4": {"stream": 3, "note": "video stream 3 was taken of 2 (0: h264 320x180, 3"},
    "bbb-audio-only-aac-fragmented.mp4": {"audio": True},
    "audio-only-aac2-ac3_51.mp4": {"audio": True},
}

PSNR_MIN_DB = 27.0
WIDE_ENOUGH = 96
COLUMNS = ("frames", "times", "length", "size", "picture", "colours", "progressive")


def real_clips():
    if not os.path.isdir(MEDIA):
        return []
    return [(name, os.path.join(MEDIA, name), dict(REAL.get(name, {})))
            for name in sorted(os.listdir(MEDIA)) if not name.endswith(".md")]


def chosen(path, want):
    """The stream that the farm is expected to take, by ffprobe, with its index."""
    rows = [s for s in media.streams(path)["streams"] if s["codec_type"] == "video" and
            not s.get("disposition", {}).get("attached_pic")]
    for row in rows:
        if row["index"] == want.get("stream", rows[0]["index"]):
            return row
    raise AssertionError("no stream %s in %s" % (want.get("stream"), path))


def matrix_of(stream):
    for side in stream.get("side_data_list", []):
        if "displaymatrix" in side:
            rows = [[int(n) for n in line.split(":")[1].split()] for line in side["displaymatrix"].strip().splitlines()]
            return rows[0][0], rows[0][1], rows[1][0], rows[1][1]
    return 65536, 0, 0, 65536


def upright(stream):
    """Size in square samples, turned as the display matrix says."""
    width, height = int(stream["width"]), int(stream["height"])
    sar = stream.get("sample_aspect_ratio", "1:1").split(":")
    if int(sar[0]) and int(sar[1]):
        width = width * int(sar[0]) / int(sar[1])
    a, b, _, _ = matrix_of(stream)
    return (height, width) if abs(b) > abs(a) else (width, height)


def pixels(path, select, chain, height):
    """One frame after the chain, as RGB bytes of WIDE_ENOUGH x height."""
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-noautorotate", "-i", path, "-map", select, "-an", "-sn", "-vf",
            "%s,format=rgb24" % chain, "-vsync", "passthrough", "-frames:v", "1", "-f", "rawvideo", "-"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=120)
    if len(done.stdout) != WIDE_ENOUGH * height * 3:
        raise AssertionError("ffmpeg gave %d bytes for %s: %s" % (len(done.stdout), chain, done.stderr[-300:]))
    return array.array("B", done.stdout)


def psnr(a, b):
    error = sum((x - y) * (x - y) for x, y in zip(a, b)) / len(a)
    return 99.0 if error == 0 else 10 * math.log10(255 * 255 / error)


def orientation(stream):
    """ffmpeg's filters for the eight orientations, found from the matrix and not from the farm's words for it."""
    a, b, c, d = [(n > 0) - (n < 0) for n in matrix_of(stream)]
    return {(1, 0, 0, 1): "null", (-1, 0, 0, 1): "hflip", (1, 0, 0, -1): "vflip", (-1, 0, 0, -1): "hflip,vflip",
            (0, 1, -1, 0): "transpose=clock", (0, -1, 1, 0): "transpose=cclock",
            (0, 1, 1, 0): "transpose=cclock_flip", (0, -1, -1, 0): "transpose=clock_flip"}[(a, b, c, d)]


class Checked:
    """One clip's row: a word for each trait, and what is wrong."""

    def __init__(self, name):
        self.name = name
        self.words = {}
        self.wrong = []

    def say(self, trait, word, fault=None):
        self.words[trait] = word if fault is None else "WRONG"
        if fault:
            self.wrong.append("%s: %s: %s" % (self.name, trait, fault))


class Clips(unittest.TestCase):
    farm = None

    @classmethod
    def setUpClass(cls):
        if not media.has_ffmpeg():
            raise unittest.SkipTest("there is no ffprobe: make deps-test installs it")
        cls.farm = Farm("clips")
        cls.addClassCleanup(cls.farm.stop)
        cls.farm.policy("small", POLICY % ("small", ""))
        cls.farm.policy("both", POLICY % ("both", TOP))
        cls.farm.start_up()

    def source_times(self, path, stream, want):
        if want.get("packets"):  # no edit lists there: spares decoding
            found, _ = media.packets(path, str(stream["index"]))
            return found[stream["index"]]
        found, _ = media.frames(path, str(stream["index"]))
        times = [time for time, _ in found[stream["index"]]]
        if want.get("counted"):
            times = [n / want["counted"] for n in range(len(times))]
        if want.get("late") and times[-1] is None:  # the decoder has no packet behind the last to take a time from
            times[-1] = 2 * times[-2] - times[-3]
        if None in times:
            raise AssertionError("ffprobe knows no time of frame %d" % times.index(None))
        return sorted(times)

    def rung_check(self, row, rung, playlist, times):
        joined = media.joined(playlist, os.path.join(self.farm.folder, "joined-%d.mp4" % id(row)))
        got, marks, complaints = media.shown(joined)
        stream = [s for s in media.streams(joined)["streams"] if s["codec_type"] == "video"][0]
        row.say("frames", str(len(times)), None if len(got) == len(times) and not complaints.strip() else
                "%s has %d frames and the source %d %s" % (rung["name"], len(got), len(times), complaints[:100]))
        worst = max([abs((a - got[0]) - (b - times[0])) for a, b in zip(got, times)], default=9)
        row.say("times", "%.1f ms" % (worst * 1000), None if worst <= 0.0012 else
                "%s: a frame lies %.4f s off" % (rung["name"], worst))
        with open(playlist) as file:
            length = sum(float(n) for n in re.findall(r"#EXTINF:([0-9.]+)", file.read()))
        shown = times[-1] - times[0]
        row.say("length", "%.3f s" % length, None if shown < length <= shown + max(
            [1.1] + [2 * (b - a) for a, b in zip(times, times[1:])]) else "%.3f s for frames over %.3f s" % (length, shown))
        row.say("progressive", "yes", None if not marks and stream.get("field_order") in (None, "unknown", "progressive")
                else "%d frames of %s are marked interlaced" % (marks, rung["name"]))
        return joined, stream

    def picture_check(self, row, path, source, want, joined, out, times):
        wide, high = want.get("size") or upright(source)
        width, height = int(out["width"]), int(out["height"])
        right = (abs(width / height - wide / high) <= 2.2 * max(1 / height, 1 / width) * width / height and
                 width % 2 == 0 and height % 2 == 0 and out.get("sample_aspect_ratio", "1:1") in ("1:1", "0:1"))
        if not want.get("small"):
            right = right and abs(width - wide) <= 2 and abs(height - high) <= 2
        row.say("size", "%dx%d" % (width, height), None if right else
                "%dx%d for %gx%g" % (width, height, wide, high))

        tags = tuple(out.get(key, "unknown") for key in ("color_primaries", "color_transfer", "color_space"))
        told = want.get("tags") or (("bt709",) * 3 if want.get("filter") == clips_made.HDR else None)
        fine = "unknown" not in tags and (told is None or tags == told) and \
            out.get("color_range") == "tv" and out["pix_fmt"] == "yuv420p"
        row.say("colours", tags[2], None if fine else "%s %s %s, wanted %s" % (
            tags, out.get("color_range"), out["pix_fmt"], told))

        small = max(2, round(WIDE_ENOUGH * height / width / 2) * 2)
        spoken = {"bt709": "bt709", "smpte170m": "smpte170m", "bt470bg": "bt470", "bt2020nc": "bt2020"}
        matrix = "in_color_matrix=%s:" % spoken[tags[2]]
        scale = "scale=%d:%d:%sflags=area+accurate_rnd+full_chroma_int" % (WIDE_ENOUGH, small, "%s")
        # What the source leaves unsaid the farm takes to be as it tags its own.
        known = source.get("color_space", "unknown") in spoken and not want.get("filter", "").startswith("zscale")
        rgb = source["pix_fmt"].startswith(("gbr", "rgb", "bgr", "gray"))
        other = "" if rgb else "in_color_matrix=%s:" % spoken[source["color_space"]] if known else matrix
        places = [min(len(times) * part // 5, 150) for part in (3, 2, 4, 1)]
        look = want.get("look") or [(at, None, at, "null") for at in places]
        for at, other_path, other_at, fit in look:
            chain = ",".join(([want["filter"]] if want.get("filter") else []) + [
                "select=eq(n\\,%d)" % other_at, fit, orientation(source), scale % other])
            mine = pixels(joined, "0:v:0", "select=eq(n\\,%d),%s" % (at, scale % matrix), small)
            theirs = pixels(other_path and os.path.join(TMP, "trait-" + other_path) or path,
                            "0:%d" % source["index"], chain, small)
            likeness = psnr(mine, theirs)
            row.say("picture", "%.0f dB" % likeness, None if likeness >= PSNR_MIN_DB else
                    "frame %d differs from ffmpeg's: %.1f dB" % (at, likeness))
            if not want.get("look") and (max(theirs) - min(theirs) > 60 or likeness < PSNR_MIN_DB):
                break  # not a black one, which would be like anything black

    def ready_check(self, row, path, want, status):
        source = chosen(path, want)
        times = self.source_times(path, source, want)
        master = self.farm.local(status["manifests"]["hls"])
        notes = " | ".join(status["source"]["notes"])
        if want.get("note") and want["note"] not in notes:
            row.wrong.append("%s: status does not say '%s': %s" % (row.name, want["note"], notes))
        rungs = sorted(status["renditions"], key=lambda rung: rung["height"])
        for rung in rungs:
            playlist = os.path.join(os.path.dirname(master), "h264", rung["name"], "playlist.m3u8")
            if not os.path.isfile(playlist):
                folder = os.path.dirname(playlist)
                playlist = [os.path.join(folder, f) for f in sorted(os.listdir(folder)) if f.endswith(".m3u8")][-1]
            joined, out = self.rung_check(row, rung, playlist, times)
            if rung is rungs[-1]:
                self.picture_check(row, path, source, want, joined, out, times)
            os.unlink(joined)

    def check(self, name, path, want):
        row = Checked(name)
        try:
            video = self.farm.submit(path, policy="small" if want.get("small") else "both")
            status = self.farm.wait_final(video, 400)
            error = status["error"]["message"] if status["error"] else ""
            if want.get("audio"):
                row.say("frames", "(sound only) %s" % status["status"],
                        None if status["status"] == "ready" and not status["renditions"] else error)
            elif want.get("refuse"):
                sentence = "refused: %s" % error
                row.say("frames", sentence, None if status["status"] == "failed" and want["refuse"] in error and
                        status["error"]["class"] == "input" else "%s: %s" % (status["status"], error))
            elif status["status"] != "ready":
                row.say("frames", "-", "it %s: %s" % (status["status"], error))
            else:
                self.ready_check(row, path, want, status)
        except Exception as error:  # one clip's trouble is one row's
            row.wrong.append("%s: %s: %s" % (name, type(error).__name__, str(error)[-400:]))
        return row

    def table_check(self, title, clips):
        only = os.environ.get("SLUICE_CLIP")
        clips = [c for c in clips if not only or only in c[0]]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            rows = list(pool.map(lambda clip: self.check(*clip), clips))
        print("TABLE")
        print("%-46s %s" % (title, " ".join("%-11s" % c for c in COLUMNS)))
        for row in rows:
            cells = " ".join("%-11s" % row.words.get(c, "") for c in COLUMNS).rstrip()
            print("  %-44s %s%s" % (row.name[:44], cells, "" if not row.wrong else "   WRONG"))
        print("END TABLE")
        for row in rows:
            for fault in row.wrong:
                print(fault)
        self.assertEqual([w for row in rows for w in row.wrong], [])

    def test_1_every_clip_of_the_folder_is_right(self):
        clips = real_clips()
        if not clips:
            self.skipTest("there is no folder of clips: set SLUICE_MEDIA")
        self.table_check("clips", clips)

    def test_2_every_trait_made_is_right(self):
        self.table_check("made clips", clips_made.clips())

    def test_3_another_stream_is_taken_when_asked_for(self):
        path = media.clip("nasa-2video-2audio-2movtext.mp4")
        if not path:
            self.skipTest("there is no clip with two video streams")
        video = self.farm.submit(path, policy="small", stream="0")
        status = self.farm.wait_ready(video)
        self.assertEqual((status["source"]["width"], status["source"]["height"]), (320, 180))
        self.assertIn("video stream 0 was asked for", " ".join(status["source"]["notes"]))
        text = self.farm.cli("status", video).stdout
        self.assertIn("video stream 0 was asked for", text)
        video = self.farm.submit(path, policy="small", stream="4")
        status = self.farm.wait_final(video)
        self.assertEqual((status["status"], status["error"]["class"]), ("failed", "input"))
        self.assertIn("video streams are: 0 (h264 320x180), 3 (h264 480x270)", status["error"]["message"])
        done = self.farm.cli("submit", path, "--stream", "x")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--stream", done.stderr)


if __name__ == "__main__":
    main()
