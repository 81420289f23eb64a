"""Subtitles, images and chapters through a whole farm, judged by readers of our own and by ffprobe."""
import os
import re
import subprocess
import unittest
import urllib.error
import urllib.request
import xml.etree.ElementTree as xml

import media
from farm import Farm
from harness import TMP, main, run, wait_until

POLICY = """name: texts
gop: 1s
segment: 2s
chunk: 4s
check: none
codecs:
  - codec: h264
    route: [x264]
    preset: ultrafast
    rungs:
      - {name: 120p, height: 120, crf: 35, maxrate: 200k}
      - {name: 180p, height: 180, crf: 35, maxrate: 300k}
images: {poster: true, thumbnails: 1s, preview: true}
"""
SECONDS = 9
HOSTILE = 'q"uo\'te\n</Label><b>&\x1b[31m\u202e,URI="http://127.0.0.1:18999/"'
SRT = """1
00:00:00,500 --> 00:00:01,500
<i>one</i> & <b>two</b>

2
00:00:01,800 --> 00:00:06,200
over %s boundaries --> <script>alert(1)</script>

3
00:00:08,000 --> 00:00:59,000
to the end
"""


def clip():
    """Video from 4 s on with its own clock, two text streams, one of pictures, two chapters; names that bite."""
    path = os.path.join(TMP, "texts.mkv")
    if os.path.isfile(path):
        return path
    os.makedirs(TMP, exist_ok=True)
    with open(os.path.join(TMP, "texts.srt"), "w") as file:
        file.write(SRT % "two")
    with open(os.path.join(TMP, "texts.meta"), "w") as file:
        file.write(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=3000\ntitle=First\n"
                   "[CHAPTER]\nTIMEBASE=1/1000\nSTART=3000\nEND=60000\ntitle=%s\n" %
                   re.sub(r"([=;#\\\n])", r"\\\1", HOSTILE))
    part = path + ".%d.mkv" % os.getpid()
    # Dark first: the poster must come from elsewhere.
    media.ffmpeg("-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=%d,drawbox=color=black:t=fill:enable='lt(t,2)'"
                 % SECONDS, "-i", os.path.join(TMP, "texts.srt"), "-i", os.path.join(TMP, "texts.meta"),
                 "-map", "0:v", "-map", "1:s", "-map", "1:s", "-map_chapters", "2", "-c:v", "libx264", "-preset", "veryfast",
                 "-g", "25", "-pix_fmt", "yuv420p", "-c:s:0", "srt", "-c:s:1", "ass", "-metadata:s:s:0", "language=eng",
                 "-metadata:s:s:1", "language=ger", "-metadata:s:s:1", "title=" + HOSTILE,
                 "-disposition:s:0", "default", "-output_ts_offset", "4", part)
    os.replace(part, path)
    return path


def milliseconds(text):
    hours, minutes, rest = text.split(":")
    seconds, ms = rest.split(".")
    if len(ms) != 3 or len(minutes) != 2 or len(seconds) != 2:
        raise AssertionError("no time: %s" % text)
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(ms)


def cues(text):
    """[(id, start ms, end ms, lines)] of a WebVTT file, read as the recommendation says."""
    blocks = re.split(r"\n\n+", text.rstrip("\n"))
    if blocks[0].split("\n")[0] != "WEBVTT":
        raise AssertionError("no WebVTT: %r" % text[:40])
    found = []
    for block in blocks[1:]:
        lines = block.split("\n")
        name = None if "-->" in lines[0] else lines.pop(0)
        times = re.fullmatch(r"(\S+) --> (\S+)( .*)?", lines[0])
        if not times or any("-->" in line for line in lines[1:]) or len(lines) < 2:
            raise AssertionError("no cue: %r" % block)
        found.append((name, milliseconds(times.group(1)), milliseconds(times.group(2)), lines[1:]))
    return found


class Texts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.farm = Farm("texts")
        cls.farm.policy("texts", POLICY)
        cls.farm.start_up()
        cls.latin = os.path.join(cls.farm.folder, "latin.srt")
        with open(cls.latin, "wb") as file:
            file.write((SRT % "zw\xf6lf").encode("latin-1"))
        cls.wide = os.path.join(cls.farm.folder, "wide.vtt")
        with open(cls.wide, "wb") as file:
            file.write("\ufeffWEBVTT\n\n00:01.000 --> 00:02.000\nwide \U0001f600\n\n".encode("utf-16-le"))
        options = ["--policy", "texts", "--provider", "p", "--external-id", "1", "--subtitles", "fr:" + cls.latin,
                   "--subtitles", "pt-BR:" + cls.wide, "--json"]
        cls.submit = ["submit", clip()] + options
        done = cls.farm.cli(*cls.submit)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        cls.video = done.json["video_id"]
        cls.status = cls.farm.wait_ready(cls.video)
        cls.root = os.path.dirname(cls.farm.local(cls.status["manifests"]["hls"]))

    @classmethod
    def tearDownClass(cls):
        cls.farm.stop()

    def text(self, name):
        with open(os.path.join(self.root, name), encoding="utf-8") as file:
            return file.read()

    def put(self, video, language, data, method="PUT"):
        request = urllib.request.Request("%s/api/v1/videos/%s/subtitles/%s" % (self.farm.http, video, language), data=data,
                                         method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def medias(self):
        rows = []
        for line in self.text("master.m3u8").split("\n"):
            if line.startswith("#EXT-X-MEDIA:TYPE=SUBTITLES"):
                rows.append({key: value.strip('"') for key, value in re.findall(r'([A-Z-]+)=("[^"]*"|[^,]*)', line)})
        return rows

    def test_tracks_are_in_the_master_with_their_languages(self):
        rows = self.medias()
        self.assertEqual([row["LANGUAGE"] for row in rows], ["en", "de", "fr", "pt-br"])
        self.assertEqual([row["DEFAULT"] for row in rows], ["YES", "NO", "NO", "NO"])
        self.assertEqual(len({row["NAME"] for row in rows}), 4)
        self.assertTrue(all("127.0.0.1" not in row["URI"] for row in rows))
        self.assertEqual(self.text("master.m3u8").count('SUBTITLES="subtitles"'), 2)

    def test_segments_hold_every_cue_that_is_seen_in_them(self):
        for row in self.medias():
            playlist = self.text(row["URI"])
            names = [line for line in playlist.split("\n") if line and line[0] != "#"]
            lengths = [float(x) for x in re.findall(r"#EXTINF:([0-9.]+),", playlist)]
            folder = os.path.dirname(row["URI"])
            whole = cues(self.text(os.path.join(folder, [n for n in os.listdir(os.path.join(self.root, folder))
                                                         if n.startswith("subtitles.t")][0])))
            self.assertEqual(len(names), len(lengths))
            self.assertAlmostEqual(sum(lengths), SECONDS, places=2)
            start = 0
            for name, length in zip(names, lengths):
                segment = self.text(os.path.join(folder, name))
                self.assertIn("X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000", segment)
                end = start + length * 1000
                self.assertEqual(cues(segment), [cue for cue in whole if cue[1] < end and cue[2] > start])
                start = end
            self.assertTrue(all(0 <= cue[1] < cue[2] <= SECONDS * 1000 for cue in whole))

    def test_times_count_from_the_first_picture_and_text_is_inert(self):
        for row, word in zip(self.medias()[:3], ("two", "two", "zw\xf6lf")):
            folder = os.path.join(self.root, os.path.dirname(row["URI"]))
            name = [n for n in os.listdir(folder) if n.startswith("subtitles.t")][0]
            whole = cues(self.text(os.path.join(os.path.dirname(row["URI"]), name)))
            self.assertEqual([cue[1:3] for cue in whole], [(500, 1500), (1800, 6200), (8000, 9000)])
            self.assertEqual(whole[0][3], ["<i>one</i> &amp; <b>two</b>"])
            self.assertIn("over %s boundaries --&gt; " % word, whole[1][3][0])
            self.assertNotIn("<script", whole[1][3][0])

    def test_the_mpd_names_the_whole_tracks(self):
        root = xml.parse(os.path.join(self.root, "manifest.mpd")).getroot()
        sets = [s for s in root.findall(".//{*}AdaptationSet") if s.get("contentType") == "text"]
        self.assertEqual([s.get("lang") for s in sets], ["en", "de", "fr", "pt-br"])
        for s in sets:
            self.assertEqual(s.get("mimeType"), "text/vtt")
            self.assertGreater(len(cues(self.text(s.find("{*}Representation/{*}BaseURL").text))), 0)
        self.assertIn("</Label><b>&", sets[1].find("{*}Label").text)
        wide = self.text(sets[3].find("{*}Representation/{*}BaseURL").text)
        self.assertEqual(cues(wide)[0][3], ["wide \U0001f600"])

    def test_pictures_are_pictures(self):
        for name, size in (("poster.jpg", "320,180"), (os.listdir(os.path.join(self.root, "images"))[0], None)):
            path = os.path.join(self.root, name if size else os.path.join("images", name))
            done = run(["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", path])
            self.assertEqual(done.stderr, "")
            if size:
                self.assertEqual(done.stdout.strip(), "mjpeg," + size)
        # A tile each second: the pictures of the first two are black, and the poster is not.
        self.assertGreater(self.luma(os.path.join(self.root, "poster.jpg")), 60)
        places = cues(self.text("thumbnails.vtt"))
        self.assertEqual((places[0][1], places[-1][2]), (0, SECONDS * 1000))
        for before, after in zip(places, places[1:]):
            self.assertEqual(before[2], after[1])
        for place in places:
            sheet, x, y, w, h = re.fullmatch(r"(images/sheet-000\.t\d+\.jpg)#xywh=(\d+),(\d+),(\d+),(\d+)", place[3][0]).groups()
            self.assertEqual((w, h), ("160", "90"))
            luma = self.luma(os.path.join(self.root, sheet), "crop=%s:%s:%s:%s" % (w, h, x, y))
            if place[2] <= 2000:
                self.assertLess(luma, 24, place)
            elif place[1] >= 2500:
                self.assertGreater(luma, 60, place)
        with open(os.path.join(self.root, "preview.webp"), "rb") as file:
            data = file.read()
        self.assertEqual((data[:4], data[8:12]), (b"RIFF", b"WEBP"))
        self.assertGreaterEqual(data.count(b"ANMF"), 5)

    def luma(self, path, crop="null"):
        raw = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-vf", crop + ",scale=1:1,format=gray", "-f",
                              "rawvideo", "-"], stdout=subprocess.PIPE, timeout=60, check=True).stdout
        return raw[0]

    def test_status_tells_of_them(self):
        status = self.farm.status(self.video)
        self.assertEqual(status["pipeline_progress"]["subtitles"], "completed")
        self.assertEqual(status["pipeline_progress"]["images"], "completed")
        self.assertEqual([t["cues"] for t in status["subtitles"]], [3, 3, 3, 1])
        for address in [t["url"] for t in status["subtitles"]] + list(status["images"].values()):
            with urllib.request.urlopen(address, timeout=30) as answer:
                self.assertEqual(answer.status, 200)
        chapters = cues(self.text("chapters.vtt"))
        self.assertEqual(len(chapters), len(status["chapters"]))
        self.assertEqual(chapters[-1][2], SECONDS * 1000)
        self.assertNotIn("<b>", "".join(chapters[-1][3]))
        self.assertNotIn("\x1b", str(status))
        self.assertNotIn("\u202e", str(status))

    def test_the_same_again_changes_nothing_and_others_wait_for_a_version(self):
        done = self.farm.cli(*self.submit)
        self.assertEqual((done.returncode, done.json), (0, {"video_id": self.video, "created": False}))
        with open(self.latin, "rb") as file:
            same = file.read()
        self.assertEqual(self.put(self.video, "fr", same)[0], 200)
        self.assertEqual(self.put(self.video, "FR", b"")[0], 400)
        self.assertIn(self.put(self.video, "..%2fx", same)[0], (400, 404))
        self.assertEqual(self.put(self.video, "en", b"\x00\x01binary")[0], 422)
        code, answer = self.put(self.video, "en", b"just words")
        self.assertEqual(code, 422)
        self.assertIn("neither SRT, ASS nor WebVTT", answer)
        self.assertEqual(self.put("v0000000000001", "en", same)[0], 404)

    def test_a_bad_file_fails_the_step_and_another_cures_it(self):
        short = media.made("texts-short", 2, "160x90", audio=False)
        bad = os.path.join(self.farm.folder, "bad.srt")
        with open(bad, "w") as file:
            file.write("words --> words\n")
        video = self.farm.submit(short, "texts", subtitles="en:" + bad)
        status = self.farm.wait_final(video)
        self.assertEqual((status["status"], status["error"]["class"], status["error"]["step"]), ("failed", "input", "subtitles"))
        self.assertIn("no cue that can be read", status["error"]["message"])
        self.assertEqual(self.put(video, "en", b"1\n00:00:00,100 --> 00:00:01,000\ngood\n")[0], 200)
        self.assertEqual(self.farm.cli("retry", video, "--from", "plan").returncode, 0)
        status = self.farm.wait_ready(video)
        self.assertEqual([t["cues"] for t in status["subtitles"]], [1])
        self.assertEqual(self.put(video, "en", None, "DELETE")[0], 200)
        self.assertEqual(self.put(video, "en", None, "DELETE")[0], 404)
        # A new version has what there is then, under the same names.
        self.assertEqual(self.farm.cli("retry", video, "--from", "images").returncode, 0)
        status = self.farm.wait_ready(video)
        self.assertIn("/2/poster.jpg", status["images"]["poster"])
        self.assertEqual((status["subtitles"], status["pipeline_progress"]["subtitles"]), ([], "skipped"))
        # Names of leases go once the video is ready, behind its back.
        def left():
            return [name for name in self.farm.published(video)
                    if re.search(r"(poster|preview|thumbnails|chapters|master)\.t\d", name)]
        wait_until(lambda: not left(), 30, lambda: "names of leases are gone; there are still %s" % left())

    def test_uploads_bring_their_subtitles_first(self):
        short = media.made("texts-short", 2, "160x90", audio=False)
        code, made = self.farm.api("POST", "/api/v1/videos", {"name": "x", "policy": "texts"})
        self.assertEqual(code, 201)
        video = made["video_id"]
        self.assertEqual(self.put(video, "en", b"WEBVTT\n\n00:00.000 --> 00:01.000\nfirst\n")[0], 201)
        self.assertEqual(self.put(video, "en", b"WEBVTT\n\n00:00.000 --> 00:01.000\nsecond\n")[0], 200)
        with open(short, "rb") as file:
            request = urllib.request.Request("%s/api/v1/videos/%s/source" % (self.farm.http, video), data=file.read(), method="PUT")
        urllib.request.urlopen(request, timeout=30).close()
        status = self.farm.wait_ready(video)
        with urllib.request.urlopen(status["subtitles"][0]["url"], timeout=30) as answer:
            self.assertIn("second", answer.read().decode())


if __name__ == "__main__":
    main()
