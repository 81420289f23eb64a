"""Small clips with the traits that real ones of clear licence were not found for, made by ffmpeg; and edits that it cannot make."""
import os
import struct
import subprocess

import media
from harness import TMP

TEST = "testsrc2=size=%s:rate=%s:duration=%g"
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "12"]
YUV = ["-pix_fmt", "yuv420p"]


def _make(name, *args):
    os.makedirs(TMP, exist_ok=True)
    path = os.path.join(TMP, "trait-" + name)
    if not os.path.isfile(path):
        part = os.path.join(TMP, "part-%d-%s" % (os.getpid(), name))
        media.ffmpeg(*(list(args) + [part]))
        os.replace(part, path)
    return path


def _test(size="320x180", rate="25", seconds=2.0, more=""):
    return ["-f", "lavfi", "-i", TEST % (size, rate, seconds) + more]


def _boxes(data, start, end):
    at = start
    while at + 8 <= end:
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if size < 8:
            return
        yield kind, at, at + size
        at += size


def set_matrix(path, into, matrix):
    """A copy of an MP4 whose video track's header has this display matrix: a, b, c, d of [[a b 0] [c d 0] [x y 1]]."""
    data = bytearray(open(path, "rb").read())
    for kind, at, end in _boxes(data, 0, len(data)):
        if kind != b"moov":
            continue
        for kind2, at2, end2 in _boxes(data, at + 8, end):
            if kind2 != b"trak" or b"vmhd" not in data[at2:end2]:
                continue
            tkhd = data.index(b"tkhd", at2) + 4
            place = tkhd + (4 + 20 + 8 + 8 if data[tkhd] == 0 else 4 + 32 + 8 + 8)
            a, b, c, d = [x << 16 for x in matrix]
            struct.pack_into(">9i", data, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    with open(into, "wb") as out:
        out.write(data)
    return into


def _turned(name, matrix, size="320x180", more=""):
    plain = _make("plain-%s.mp4" % name, *(_test(size, more=more) + X264 + YUV))
    return set_matrix(plain, os.path.join(TMP, "trait-%s.mp4" % name), matrix)


def _joined(name, *parts):
    path = os.path.join(TMP, "trait-" + name)
    with open(path, "wb") as out:
        for part in parts:
            with open(part, "rb") as file:
                out.write(file.read())
    return path


def _ts(name, size, offset, more=()):
    return _make(name, *(_test(size) + X264 + YUV + list(more) +
                         ["-muxdelay", "0", "-muxpreload", "0", "-output_ts_offset", "%g" % offset]))


def _color(primaries, transfer, matrix):
    return ["-color_primaries", primaries, "-color_trc", transfer, "-colorspace", matrix]


WIDE = ["-pix_fmt", "yuv420p10le"] + _color("bt2020", "bt2020-10", "bt2020nc")

# What the farm's picture is compared with, before it is scaled.
HDR = ("zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0:peak=10,"
       "zscale=t=bt709:m=bt709:r=tv,format=yuv420p")
DEINT = "bwdif=mode=send_frame:deint=interlaced"


def clips():
    """[(name, path, {what a check needs to know})]"""
    ten = ["-pix_fmt", "yuv420p10le"]
    hdr = "scale=out_color_matrix=bt2020,format=yuv420p10le"
    field = ",tinterlace=interleave_%s"
    found = [
        ("mirror", _turned("mirror", (-1, 0, 0, 1)), {}),
        ("turn 90", _turned("turn90", (0, 1, -1, 0)), {}),
        ("mirror and turn 90", _turned("mirror90", (0, 1, 1, 0)), {}),
        ("mirror and turn 270", _turned("mirror270", (0, -1, -1, 0)), {}),
        ("upside down mirror", _turned("flip", (1, 0, 0, -1)), {}),
        ("SAR 4:3 and turn 270", _turned("sar270", (0, -1, 1, 0), "240x180", ",setsar=4/3"), {"size": (180, 320)}),
        ("turn by 30 degrees", _turned("turn30", (1, 1, -1, 1)), {"refuse": "no quarter turn"}),
        ("4:4:4", _make("444.mp4", *(_test() + X264 + ["-pix_fmt", "yuv444p"])), {}),
        ("full range", _make("full.mp4", *(_test() + X264 + ["-pix_fmt", "yuvj420p"])), {}),
        ("RGB in H.264", _make("rgb.mp4", *(_test() + ["-c:v", "libx264rgb", "-preset", "ultrafast", "-g", "12"])), {}),
        ("RGB packed", _make("qtrle.mov", *(_test(seconds=1) + ["-c:v", "qtrle", "-pix_fmt", "rgb24"])), {}),
        ("grey", _make("grey.mp4", *(_test() + X264 + ["-pix_fmt", "gray"])), {}),
        ("PQ", _make("pq.mp4", *(_test(seconds=1) + ["-vf", hdr] + X264 + ten +
                                 _color("bt2020", "smpte2084", "bt2020nc"))), {"filter": HDR}),
        ("HLG", _make("hlg.mp4", *(_test(seconds=1) + ["-vf", hdr] + X264 + ten +
                                   _color("bt2020", "arib-std-b67", "bt2020nc"))), {"filter": HDR}),
        ("BT.2020 SDR", _make("wide-pale.mp4", *(_test() + ["-vf", "eq=saturation=0.4," + hdr] + X264 + WIDE)),
         {"filter": "zscale=p=bt709:t=bt709:m=bt709,format=yuv420p", "tags": ("bt709", "bt709", "bt709")}),
        ("BT.601 in HD", _make("601.mp4", *(_test("1280x720", seconds=1) + X264 + YUV + [
            "-vf", "scale=out_color_matrix=bt601"] + _color("smpte170m", "smpte170m", "smpte170m"))),
         {"tags": ("smpte170m", "smpte170m", "smpte170m")}),
        ("top field first", _make("tff.mp4", *(_test("360x288", "50", more=field % "top") + X264 + YUV + [
            "-flags", "+ildct+ilme", "-x264opts", "tff=1"])), {"filter": DEINT}),
        ("bottom field first", _make("bff.ts", *(_test("360x288", "50", more=field % "bottom") + YUV + [
            "-c:v", "mpeg2video", "-b:v", "4M", "-flags", "+ildct+ilme", "-top", "0", "-g", "12", "-bf", "2"])),
         {"filter": DEINT}),
        ("gap of 5 s", _make("gap.mkv", *(_test() + X264 + YUV + [
            "-vf", "setpts=PTS+gt(N\\,20)*5/TB", "-vsync", "passthrough"])), {}),
        ("gap of 2 h", _make("hole.mkv", *(_test() + X264 + YUV + [
            "-vf", "setpts=PTS+gt(N\\,20)*7200/TB", "-vsync", "passthrough"])), {"refuse": "the clock of the video jumps; 3600 s"}),
        ("clock wraps (33 bits)", _ts("wrap.ts", "320x180", 95441.9), {}),
        ("clock jumps back", _joined("back.ts", _ts("back-a.ts", "320x180", 100), _ts("back-c.ts", "320x180", 80)),
         {"refuse": "jumps back"}),
        ("size changes", _joined("sizes.ts", _ts("sizes-a.ts", "320x180", 1), _ts("sizes-b.ts", "320x240", 3)), {
            "look": [(10, "sizes-a.ts", 10, "null"), (75, "sizes-b.ts", 25, "scale=240:180,pad=320:180:40:0")]}),
        # testsrc2 itself makes even pictures where chroma is subsampled.
        ("odd size", _make("odd-size.webm", *(_test(seconds=1) + [
            "-vf", "scale=319:181,setsar=1,format=yuv420p",
            "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M"])), {"size": (318, 180)}),
        ("cropped by its SPS", _make("crop.mp4", *(_test("322x182") + X264 + YUV)), {}),
        ("one frame", _make("one.mp4", *(_test(seconds=0.04) + X264 + YUV + ["-frames:v", "1"])), {}),
        ("48x32", _make("small.mp4", *(_test("48x32", seconds=1) + X264 + YUV)), {}),
        ("open GOP", _make("open.mkv", *(_test(seconds=6) + YUV + [
            "-c:v", "libx264", "-preset", "superfast", "-x264-params",
            "open-gop=1:keyint=25:min-keyint=25:scenecut=0:bframes=3:b-pyramid=normal"])), {}),
        ("sound first", _make("late.mp4", *(["-itsoffset", "0.7"] + _test() + [
            "-f", "lavfi", "-i", "sine=duration=3"] + X264 + YUV + ["-c:a", "aac"])), {}),
        ("hidden frames (VP8)", _make("altref.webm", *(_test(seconds=4) + [
            "-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-deadline", "good", "-cpu-used", "5",
            "-b:v", "300k"])), {}),
        ("AVI with B-frames", _make("bframes.avi", *(_test(seconds=3) + YUV + [
            "-c:v", "mpeg4", "-bf", "2", "-b:v", "1M"])), {"late": True}),
        ("raw stream", _make("raw.h264", *(_test() + X264 + YUV)), {"counted": 25}),
    ]
    return found
