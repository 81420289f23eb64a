"""What independent readers (ffprobe) say about a file or a manifest, and clips to feed the farm."""
import array
import csv
import io
import json
import math
import operator
import os
import re
import subprocess

from harness import MEDIA, TMP, run

CLIPS = ["sintel-trailer-720p24-h264-aac.mp4", "bbb-480p24-h264-aac51.mp4", "bbb-1080p24-h264-aac51.mp4",
         "sintel-720p-vp9-opus-derived.webm", "cars-768x432-baseline-12_5fps.mp4",
         "sintel-vfr-derived.mp4", "bottles-video-only-179-6fps.mp4"]


def clip(name):
    """The path of a real clip, or None where the folder of clips is not there."""
    path = os.path.join(MEDIA, name)
    return path if os.path.isfile(path) else None


def ffmpeg(*args):
    done = run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y"] + list(args), 300)
    if done.returncode != 0:
        raise AssertionError("ffmpeg %s: %s" % (" ".join(args), done.stderr))


def made(name, seconds, size="640x360", rate="25", audio=True, vfr=False, extra=()):
    """A clip of our own, made once: moving test picture and a tone."""
    os.makedirs(TMP, exist_ok=True)
    path = os.path.join(TMP, "made-%s.mp4" % name)
    if os.path.isfile(path):
        return path
    args = ["-f", "lavfi", "-i", "testsrc2=size=%s:rate=%s:duration=%g" % (size, rate, seconds)]
    if audio:
        args += ["-f", "lavfi", "-i", "sine=frequency=440:beep_factor=3:sample_rate=48000:duration=%g" % seconds]
    if vfr:
        args += ["-vf", "select='mod(n,7)*mod(n,5)'", "-vsync", "vfr", "-video_track_timescale", "90000"]
    args += ["-c:v", "libx264", "-preset", "veryfast", "-g", "60", "-pix_fmt", "yuv420p"]
    if audio:
        args += ["-c:a", "aac", "-b:a", "96k"]
    part = path + ".%d.part.mp4" % os.getpid()
    ffmpeg(*(args + list(extra) + [part]))
    os.replace(part, path)
    return path


def long_clip():
    """A clip of some 50 s for jobs that are to be disturbed."""
    return clip("sintel-trailer-720p24-h264-aac.mp4") or made("long", 50, "1280x720", "24")


def _rows(target, entries, select, seconds=600, more=()):
    """ffprobe's rows of the selected streams. libavformat's DASH reader ends with whichever stream ends first in
    coding order, some frames before the others, so the streams of an MPD are read one by one."""
    if not target.endswith(".mpd") or ":" in select:
        return _rows_at_once(target, entries, select, seconds, more)
    rows, complaints = [], ""
    for number in range(64):
        some, said = _rows_at_once(target, entries, "%s:%d" % (select, number), seconds, more)
        if not any(some):
            return rows, complaints
        rows += some
        complaints += said
    raise AssertionError("%s has more streams than this test reads" % target)


def _rows_at_once(target, entries, select, seconds, more):
    argv = ["ffprobe", "-v", "error", "-select_streams", select, "-show_entries", entries, "-of", "csv=p=1"]
    done = run(argv + list(more) + [target], seconds)
    if done.returncode != 0:
        raise AssertionError("ffprobe %s: %s" % (target, done.stderr[-2000:]))
    return list(csv.reader(io.StringIO(done.stdout))), done.stderr


def streams(target):
    done = run(["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", target], 120)
    if done.returncode != 0:
        raise AssertionError("ffprobe %s: %s" % (target, done.stderr[-2000:]))
    return json.loads(done.stdout)


def frames(target, select="v:0"):
    """Decodes everything: {stream index: [(time in seconds, is a keyframe), …]} and what was complained about."""
    rows, complaints = _rows(target, "frame=stream_index,key_frame,best_effort_timestamp_time", select)
    found = {}
    for row in rows:
        if row and row[0] == "frame":
            stream, key, time = int(row[1]), row[2] == "1", row[3]
            found.setdefault(stream, []).append((float(time) if time not in ("N/A", "") else None, key))
    return found, complaints


def shown(target):
    """Decodes the picture: sorted times, how many frames are marked interlaced, and what was complained about."""
    rows, complaints = _rows(target, "frame=interlaced_frame,best_effort_timestamp_time", "v:0")
    rows = [row for row in rows if row and row[0] == "frame"]
    return sorted(float(row[1]) for row in rows), sum(row[2] == "1" for row in rows), complaints


def packets(target, select="v:0"):
    """Reads without decoding: {stream index: sorted times}."""
    rows, complaints = _rows(target, "packet=stream_index,pts_time", select)
    found = {}
    for row in rows:
        if row and row[0] == "packet":
            found.setdefault(int(row[1]), []).append(float(row[2]))
    return {stream: sorted(times) for stream, times in found.items()}, complaints


def first_audio_time(target):
    """When the first sound is heard, or None without audio. Edit lists count."""
    rows, _ = _rows(target, "frame=best_effort_timestamp_time", "a:0", more=["-read_intervals", "%+1"])
    times = [float(row[1]) for row in rows if row and row[0] == "frame" and row[1] not in ("N/A", "")]
    return min(times) if times else None


RATE_HZ = 8000


def samples(target):
    """The sound as the file says it is heard, mono, RATE_HZ samples a second, the first at time zero."""
    done = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-copyts", "-i", target, "-map", "0:a:0", "-ac", "1", "-af",
                           "aresample=%d:async=1:first_pts=0" % RATE_HZ, "-f", "s16le", "-"], stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, timeout=300)
    found = array.array("h")
    found.frombytes(done.stdout[:len(done.stdout) // 2 * 2])
    return found


def lag_seconds(source, other, reach_s=0.15, window_s=1.5):
    """How much later the same sound comes in other: where the loudest part of source fits best."""
    window, reach = int(window_s * RATE_HZ), int(reach_s * RATE_HZ)
    last = min(len(source), len(other)) - window - reach
    loudest, best = reach, -1
    for start in range(reach, last, window // 2):
        energy = sum(x * x for x in source[start:start + window:16])
        if energy > best:
            loudest, best = start, energy
    if best <= 0:
        return None  # silence fits everywhere
    piece = [float(x) for x in source[loudest:loudest + window]]
    fits = []
    for lag in range(-reach, reach + 1):
        there = other[loudest + lag:loudest + lag + window]
        norm = math.sqrt(sum(x * x for x in there[::16]) + 1)
        fits.append((sum(map(operator.mul, piece, there)) / norm, lag))
    return max(fits)[1] / RATE_HZ


def joined(playlist, into):
    """The init and all segments of a local media playlist in one file, as a player's buffer gets them."""
    folder = os.path.dirname(playlist)
    with open(playlist) as file:
        text = file.read()
    names = re.findall(r'#EXT-X-MAP:URI="([^"]+)"', text)[:1] + re.findall(r"^([^#\n].*)$", text, re.M)
    with open(into, "wb") as out:
        for name in names:
            with open(os.path.join(folder, name), "rb") as part:
                out.write(part.read())
    return into


def decoded_frames(path):
    """How many frames a whole decode counts: ffprobe -count_frames."""
    done = run(["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries",
                "stream=nb_read_frames", "-of", "csv=p=0", path], 600)
    return int(done.stdout.split()[0].split(",")[0])  # a playlist's streams are listed twice


def has_ffmpeg():
    try:
        return subprocess.call(["ffprobe", "-version"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False
