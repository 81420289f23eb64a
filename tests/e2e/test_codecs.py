"""H.264, H.265, AV1 and VP9 of one clip through a whole farm, in 8 and 10 bits, SDR and HDR10: every rendition decoded by
HLS and by DASH, names for players held against the boxes that they open, and tiers of one policy file.
"""
import os
import re
import struct
import unittest
import xml.etree.ElementTree as xml

import media
from farm import Farm
from harness import TMP, main, run

FRAMES = 75
FPS = 25
ENCODERS = {"h264": "x264", "h265": "x265", "av1": "svtav1", "vp9": "vpx"}
ENTRIES = {"h264": "avc1", "h265": "hvc1", "av1": "av01", "vp9": "vp09"}
FFNAMES = {"h264": "h264", "h265": "hevc", "av1": "av1", "vp9": "vp9"}

HEAD = """name: %s
gop: 1s
segment: 1s
chunk: 2s
check: all
images: {poster: false, thumbnails: none, preview: false}
codecs:
"""
CODEC = """  - codec: %s
    route: [%s]
    preset: ultrafast
%s    rungs:
"""
RUNG = "      - {name: %dp, height: %d, crf: 30, maxrate: 600k}\n"
TIERS = """audio: []
tiers:
  - {name: narrow, codecs: [h264]}
"""
MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
SHARED_HDR = "hdr10-av1-10bit-portrait.mp4"


def hdr_clip():
    """HDR10 as cameras and editors write it: light in SEI messages, nothing in the container."""
    path = os.path.join(TMP, "hdr10.mp4")
    if os.path.isfile(path):
        return path
    os.makedirs(TMP, exist_ok=True)
    part = path + ".%d.mp4" % os.getpid()
    media.ffmpeg("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=1,"
                 "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc", "-pix_fmt", "yuv420p10le", "-c:v", "libx265",
                 "-preset", "ultrafast", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc",
                 "-x265-params", "log-level=none:hdr10=1:repeat-headers=1:max-cll=900,300:master-display=" + MASTERING,
                 "-tag:v", "hvc1", part)
    os.replace(part, path)
    return path


def boxes(data, at=0, end=None):
    end = len(data) if end is None else end
    while at + 8 <= end:
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if size < 8 or at + size > end:
            raise AssertionError("a box of %d bytes at %d" % (size, at))
        yield kind.decode("latin-1"), at + 8, at + size
        at += size


def inside(data, *path):
    """The bytes of a box, from its header on behind its fields."""
    at, end = 0, len(data)
    for kind in path:
        found = [place for place in boxes(data, at, end) if place[0] == kind]
        if not found:
            raise AssertionError("no %s in %s" % (kind, "/".join(path)))
        _, at, end = found[0]
        at += {"stsd": 8}.get(kind, 78 if kind in ENTRIES.values() else 0)
    return data[at:end]


def codecs_of(init, codec):
    """What the sample entry says, by the letter of the codecs' bindings."""
    entry = ["moov", "trak", "mdia", "minf", "stbl", "stsd", ENTRIES[codec]]
    colours = inside(init, *(entry + ["colr"]))
    if colours[:4] != b"nclx":
        raise AssertionError("colours of kind %r" % colours[:4])
    primaries, transfer, matrix, full = struct.unpack(">HHHB", colours[4:11])
    if codec == "h264":
        return "avc1.%02X%02X%02X" % tuple(inside(init, *(entry + ["avcC"]))[1:4])
    if codec == "h265":
        box = inside(init, *(entry + ["hvcC"]))
        flags = int("{:032b}".format(struct.unpack(">I", box[2:6])[0])[::-1], 2)
        limits = box[6:12].rstrip(b"\0")
        return ".".join(["hvc1", "%s%d" % (("", "A", "B", "C")[box[1] >> 6], box[1] & 31), "%X" % flags,
                         "%s%d" % ("LH"[box[1] >> 5 & 1], box[12])] + ["%X" % byte for byte in limits])
    if codec == "av1":
        box = inside(init, *(entry + ["av1C"]))
        depth = 8 if not box[2] & 64 else 12 if box[2] & 32 else 10
        return "av01.%d.%02d%s.%02d.%d.%d%d%d.%02d.%02d.%02d.%d" % (
            box[1] >> 5, box[1] & 31, "MH"[box[2] >> 7], depth, box[2] >> 4 & 1, box[2] >> 3 & 1, box[2] >> 2 & 1, box[2] & 3,
            primaries, transfer, matrix, full >> 7)
    box = inside(init, *(entry + ["vpcC"]))[4:]
    return "vp09.%02d.%02d.%02d.%02d.%02d.%02d.%02d.%02d" % (box[0], box[1], box[2] >> 4, box[2] >> 1 & 7, box[3], box[4],
                                                           box[5], box[2] & 1)


class Codecs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.farm = Farm("codecs")
        cls.farm.start_up()
        devices = cls.farm.cli("devices", "--json").json["devices"]
        here = {codec for device in devices for codec in device["encodes"]}
        cls.codecs = [codec for codec in ENCODERS if codec in here]
        cls.absent = [codec for codec in ENCODERS if codec not in here]
        wide = HEAD % "wide"
        light = HEAD % "light"
        for codec in reversed(cls.codecs):  # the policy's order is not the manifests'
            wide += CODEC % (codec, ENCODERS[codec], "") + RUNG % (180, 180)
            wide += RUNG % (96, 96) if codec == "h264" else ""
            keys = {"h264": "", "vp9": "    depth: source\n"}.get(codec, "    hdr: keep\n")
            light += CODEC % (codec, ENCODERS[codec], keys) + RUNG % (180, 180)
        cls.farm.policy("wide", wide + TIERS)
        cls.farm.policy("light", light + "audio: []\n")
        clip = media.made("codecs", FRAMES / FPS, "320x180", str(FPS), audio=False)
        cls.videos = {name: cls.farm.submit(path, policy) for name, path, policy in
                      (("wide", clip, "wide"), ("narrow", clip, "narrow"), ("light", hdr_clip(), "light"))}
        shared = media.clip(SHARED_HDR)
        if shared:
            cls.videos["shared"] = cls.farm.submit(cls.cut(shared), "light")
        cls.status = {}

    @classmethod
    def tearDownClass(cls):
        cls.farm.stop()

    @staticmethod
    def cut(path):
        """Its first half second, as it is coded."""
        out = os.path.join(TMP, "hdr10-av1-cut.mp4")
        if not os.path.isfile(out):
            part = out + ".%d.mp4" % os.getpid()
            media.ffmpeg("-t", "0.5", "-i", path, "-map", "0:v", "-c", "copy", part)
            os.replace(part, out)
        return out

    def ready(self, name):
        if name not in self.status:
            self.status[name] = self.farm.wait_ready(self.videos[name])
        return self.status[name]

    def need(self, codec):
        if codec in self.absent:
            self.skipTest("nothing here encodes %s: the encoder %s is not in this build" % (codec, ENCODERS[codec]))

    def variants(self, name):
        """[(attributes, path of the media playlist, codec)] of the master, in its order."""
        master = self.farm.local(self.ready(name)["manifests"]["hls"])
        with open(master) as file:
            text = file.read()
        found = []
        for attributes, uri in re.findall(r"^#EXT-X-STREAM-INF:(.*)\n(\S+)$", text, re.M):
            values = {key: value.strip('"') for key, value in re.findall(r'([A-Z-]+)=("[^"]*"|[^,]*)', attributes)}
            found.append((values, os.path.join(os.path.dirname(master), uri), uri.split("/")[0]))
        return found

    def init(self, playlist):
        with open(playlist) as file:
            name = re.search(r'#EXT-X-MAP:URI="([^"]+)"', file.read())[1]
        with open(os.path.join(os.path.dirname(playlist), name), "rb") as file:
            return file.read()

    def sets(self, name):
        """[(AdaptationSet, its Representations)] of video."""
        root = xml.parse(self.farm.local(self.ready(name)["manifests"]["dash"])).getroot()
        return [(part, part.findall("{*}Representation")) for part in root.iter("{urn:mpeg:dash:schema:mpd:2011}AdaptationSet")
                if part.get("contentType") == "video"]

    def decoded(self, target, select, frames):
        found, complaints = media.frames(target, select)
        self.assertEqual(complaints, "", target)
        times = [time for time, _ in found.popitem()[1]]
        self.assertEqual(len(times), frames, target)
        self.assertEqual(times, sorted(set(times)), target)
        return times

    def test_every_codec_decodes_frame_by_frame_by_hls_and_dash(self):
        rungs = len(self.codecs) + 1
        variants = self.variants("wide")
        self.assertEqual([codec for _, _, codec in variants], ["h264"] + self.codecs, "h264 comes first")
        for attributes, playlist, codec in variants:
            times = self.decoded(playlist, "v:0", FRAMES)
            self.assertAlmostEqual(times[-1] - times[0], (FRAMES - 1) / FPS, delta=0.002)
            self.assertEqual((attributes["FRAME-RATE"], attributes["VIDEO-RANGE"]), ("25.000", "SDR"))
        dash = self.ready("wide")["manifests"]["dash"]
        for number in range(rungs):
            self.decoded(dash, "v:%d" % number, FRAMES)
        self.assertEqual({(r["codec"], r["encoder"], r["frames"]) for r in self.ready("wide")["renditions"]},
                         {(codec, ENCODERS[codec], FRAMES) for codec in self.codecs})

    def test_names_for_players_are_what_the_boxes_say(self):
        by_hls = []
        for name in ("wide", "light"):
            for attributes, playlist, codec in self.variants(name):
                self.assertEqual(attributes["CODECS"], codecs_of(self.init(playlist), codec))
                stream = media.streams(playlist)["streams"][0]
                self.assertEqual(stream["codec_name"], FFNAMES[codec])
                if codec in ("h264", "h265"):  # level_idc, which ffprobe reads from the parameter sets themselves
                    level = int(attributes["CODECS"][-2:], 16) if codec == "h264" else int(re.search(r"\.[LH](\d+)", attributes["CODECS"])[1])
                    self.assertEqual(stream["level"], level)
                depth = 10 if "10" in stream["pix_fmt"] else 8
                if codec in ("av1", "vp9"):
                    self.assertEqual(int(attributes["CODECS"].split(".")[3]), depth)
                by_hls.append((name, attributes["CODECS"]))
            by_dash = [(name, r.get("codecs")) for _, representations in self.sets(name) for r in representations]
            self.assertEqual(sorted(by_dash), sorted(row for row in by_hls if row[0] == name))

    def test_each_set_of_the_mpd_has_one_codec(self):
        for part, representations in self.sets("wide"):
            self.assertEqual(len({r.get("codecs").split(".")[0] for r in representations}), 1)
            self.assertEqual(part.findall("{*}EssentialProperty"), [])
        self.assertEqual(len(self.sets("wide")), len(self.codecs))

    def test_a_tier_makes_its_codecs_alone(self):
        status = self.ready("narrow")
        self.assertEqual(status["policy"], "narrow")
        self.assertEqual({r["codec"] for r in status["renditions"]}, {"h264"})

    def test_tiers_that_are_shipped_are_found(self):
        clip = media.made("codecs", FRAMES / FPS, "320x180", str(FPS), audio=False)
        for name in ("standard", "popular", "premium", "tiers"):
            done = self.farm.cli("submit", clip, "--policy", name, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.farm.status(done.json["video_id"])["policy"], name)
            self.assertEqual(self.farm.cli("delete", done.json["video_id"]).returncode, 0)
        done = self.farm.cli("submit", clip, "--policy", "premiums", "--json")
        self.assertEqual(done.returncode, 2)
        self.assertIn('there is no policy "premiums"', done.stderr)
        self.farm.policy("other", (HEAD % "other") + CODEC % ("h264", "x264", "") + RUNG % (96, 96) + TIERS)
        done = self.farm.cli("submit", clip, "--policy", "narrow")
        os.unlink(os.path.join(self.farm.policies, "other.yaml"))
        self.assertEqual(done.returncode, 2)
        self.assertIn('both other.yaml and wide.yaml', done.stderr)

    # ---- HDR10 ----

    def light(self, codec, name="light"):
        """(variant's attributes, ffprobe's stream) of this codec's rendition."""
        self.need(codec)
        for attributes, playlist, of in self.variants(name):
            if of == codec:
                return attributes, media.streams(playlist)["streams"][0], playlist
        self.fail("no %s" % codec)

    def check_hdr10(self, codec):
        attributes, stream, playlist = self.light(codec)
        self.assertEqual(attributes["VIDEO-RANGE"], "PQ")
        self.assertEqual((stream["pix_fmt"], stream["color_primaries"], stream["color_transfer"], stream["color_space"],
                          stream["color_range"]), ("yuv420p10le", "bt2020", "smpte2084", "bt2020nc", "tv"))
        said = {side["side_data_type"]: side for side in stream["side_data_list"]}
        mastering = said["Mastering display metadata"]
        self.assertEqual({key: mastering[key] for key in ("red_x", "green_y", "blue_x", "white_point_y", "max_luminance", "min_luminance")},
                         {"red_x": "34000/50000", "green_y": "34500/50000", "blue_x": "7500/50000", "white_point_y": "16450/50000",
                          "max_luminance": "10000000/10000", "min_luminance": "50/10000"})
        light = said["Content light level metadata"]
        self.assertEqual((light["max_content"], light["max_average"]), (900, 300))
        for part, representations in self.sets("light"):
            here = any(r.get("codecs") == attributes["CODECS"] for r in representations)
            values = {p.get("schemeIdUri").split(":")[-1]: p.get("value") for p in part.findall("{*}EssentialProperty")}
            if here:
                self.assertEqual(values, {"ColourPrimaries": "9", "TransferCharacteristics": "16", "MatrixCoefficients": "9"})
        self.assertGreater(self.likeness(playlist, "null"), 30, "the picture is not the source's")

    def likeness(self, playlist, source_filter):
        """PSNR of luma against the source made as it should be, frame by frame."""
        done = run(["ffmpeg", "-hide_banner", "-nostdin", "-i", playlist, "-i", hdr_clip(), "-lavfi",
                    "[0:v]format=yuv420p10le,settb=1/25,setpts=N[a];[1:v]%s,format=yuv420p10le,settb=1/25,setpts=N[b];[a][b]psnr" %
                    source_filter, "-f", "null", "-"], 60)
        found = re.search(r"PSNR y:([0-9.]+|inf)", done.stderr)
        self.assertIsNotNone(found, done.stderr[-500:])
        return float(found[1])

    def test_hdr10_stays_hdr10_in_h265(self):
        self.check_hdr10("h265")

    def test_hdr10_stays_hdr10_in_av1(self):
        self.check_hdr10("av1")

    def test_h264_shows_the_sdr_of_it(self):
        attributes, stream, playlist = self.light("h264")
        self.assertEqual(attributes["VIDEO-RANGE"], "SDR")
        self.assertEqual((stream["pix_fmt"], stream["color_transfer"]), ("yuv420p", "bt709"))
        self.assertNotIn("side_data_list", stream)
        self.assertGreater(self.likeness(playlist, "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0:"
                                         "peak=9,zscale=t=bt709:m=bt709:r=tv"), 25)

    def test_ten_bits_do_not_need_hdr(self):
        attributes, stream, _ = self.light("vp9")
        self.assertEqual(attributes["VIDEO-RANGE"], "SDR")
        self.assertEqual((stream["pix_fmt"], stream["color_transfer"]), ("yuv420p10le", "bt709"))

    def test_notes_tell_what_each_codec_keeps(self):
        notes = " ".join(self.ready("light")["source"]["notes"])
        of = lambda *some: ", ".join(codec for codec in some if codec not in self.absent)
        if of("h265", "av1"):
            self.assertIn("HDR (PQ) kept for " + of("h265", "av1"), notes)
        self.assertIn("tone-mapped to BT.709 SDR for " + of("h264", "vp9") if of("h265", "av1") else "tone-mapped", notes)

    def test_a_phone_s_hdr10_of_av1_stays_so(self):
        if "shared" not in self.videos:
            self.skipTest("the clip %s is not there: SLUICE_MEDIA names the folder" % SHARED_HDR)
        source = media.streams(self.cut(media.clip(SHARED_HDR)))["streams"][0]
        frames = len(media.frames(self.cut(media.clip(SHARED_HDR)))[0].popitem()[1])
        self.assertEqual(source["color_transfer"], "smpte2084")
        for codec in ("h265", "av1"):
            if codec in self.absent:
                continue
            attributes, stream, playlist = self.light(codec, "shared")
            self.assertEqual((attributes["VIDEO-RANGE"], stream["color_transfer"], stream["pix_fmt"]), ("PQ", "smpte2084", "yuv420p10le"))
            self.decoded(playlist, "v:0", frames)


def claim(codec):
    def test(self):
        self.need(codec)
        self.assertTrue(any(of == codec for _, _, of in self.variants("wide")))
    return test


for _codec in ENCODERS:
    setattr(Codecs, "test_%s_is_made_here" % _codec, claim(_codec))

if __name__ == "__main__":
    main()
