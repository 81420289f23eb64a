"""Farms with devices, as far as they can be had without hardware: H.265 on stand-in GPUs through session limits, losses,
hangs and broken drivers. tests/standin/README.md says what the stand-ins do."""
import json
import os
import re
import shutil
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import clips_made  # noqa: E402
import media  # noqa: E402
from farm import FINAL, Farm  # noqa: E402
from harness import BUILD, ROOT, main, program, run, wait_until, work_folder  # noqa: E402

STANDIN = os.path.join(ROOT, "build", "standin")
SECONDS, RATE = 20, 10

# As many chunks as seconds, four small rungs; the watchdog is the shortest that policies may have.
POLICY = """name: gpu
gop: 1s
segment: 1s
chunk: 1s
watchdog: 5s
codecs:
  - codec: h265
    route: [%s]
    preset: ultrafast
    rungs:
      - {name: 128p, height: 128, crf: 28, maxrate: 400k, bufsize: 800k}
      - {name: 116p, height: 116, crf: 28, maxrate: 300k, bufsize: 600k}
      - {name: 106p, height: 106, crf: 28, maxrate: 200k, bufsize: 400k}
      - {name: 96p, height: 96, crf: 28, maxrate: 200k, bufsize: 400k}
"""


# H.264 on CPUs.
FED = POLICY.replace("h265", "h264").replace("name: gpu", "name: fed") % "x264"


def source(seconds=SECONDS):
    return media.made("devices-%d" % seconds, seconds, size="192x128", rate=str(RATE), audio=False,
                      extra=("-g", str(RATE)))


def vp9_source():
    """What stand-in GPUs decode."""
    return media.made("devices-vp9", SECONDS, size="192x128", rate=str(RATE), audio=False, extra=(
        "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k", "-g", str(RATE)))


def hdr_source(folder):
    """A second of HDR10."""
    path = os.path.join(folder, "hdr10.mp4")
    media.ffmpeg("-f", "lavfi", "-i", "testsrc2=size=192x128:rate=%d:duration=1" % RATE, "-vf",
                 "eq=saturation=0.5,scale=out_color_matrix=bt2020,format=yuv420p10le", "-c:v", "libx264", "-preset",
                 "ultrafast", "-qp", "4", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace",
                 "bt2020nc", path)
    return path


def fields_source(folder):
    """Two seconds of fields, the upper one first."""
    path = os.path.join(folder, "fields.mp4")
    media.ffmpeg("-f", "lavfi", "-i", "testsrc2=size=192x128:rate=%d:duration=2" % (2 * RATE), "-vf",
                 "tinterlace=interleave_top", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "4", "-g", str(RATE), "-flags",
                 "+ildct+ilme", "-x264opts", "tff=1", path)
    return path


def psnr_of(made, clip, filters):
    """What was published beside what ffmpeg makes of the source."""
    done = run(["ffmpeg", "-hide_banner", "-nostdin", "-i", made, "-i", clip, "-lavfi",
                "[0:v]setpts=N/TB[a];[1:v]%s,setpts=N/TB[b];[a][b]psnr" % filters, "-f", "null", "-"])
    return float(re.search(r"PSNR .*average:([0-9.]+)", done.stderr).group(1))


class Standin:
    """A farm of `sluice up --standin` and what its devices counted."""

    def __init__(self, name, devices, faults="", route="nvenc", agent=""):
        self.farm = Farm(name, config="agent:\n  prove_after: 2s\n  calibrate: false\n" + agent)
        self.farm.policy("gpu", POLICY % route)
        self.farm.policy("fed", FED)
        self.farm.start_up(more=["--standin", devices], env={"SLUICE_STANDIN_FAULTS": faults})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.farm.stop()

    def counted(self):
        done = run([os.path.join(STANDIN, "standin-stat"), os.path.join(self.farm.data, "standin")])
        return json.loads(done.stdout) if done.returncode == 0 else None

    def gpus(self):
        """The stand-in GPUs' rows, in the order of their names."""
        code, document = self.farm.api("GET", "/api/v1/devices")
        rows = [row for row in document["devices"] if row["kind"] == "nvenc"] if code == 200 else []
        return sorted(rows, key=lambda row: row["name"])

    def tasks(self, video):
        code, document = self.farm.api("GET", "/api/v1/videos/%s/tasks" % video)
        assert code == 200, document
        return [task for task in document["tasks"] if task["step"] == "transcode"]


class Devices(unittest.TestCase):
    def whole(self, standin, video, encoder="nvenc", codec="h265"):
        """It is ready, by this encoder, and every frame is there once."""
        status = standin.farm.wait_ready(video, 120)
        self.assertEqual([r["name"] for r in status["renditions"]], ["128p", "116p", "106p", "96p"])
        for rendition in status["renditions"]:
            self.assertEqual((rendition["encoder"], rendition["frames"]), (encoder, status["source"]["frames"]))
        smallest = os.path.join(os.path.dirname(standin.farm.local(status["manifests"]["hls"])),
                                codec, "96p", "playlist.m3u8")
        self.assertEqual(media.decoded_frames(smallest), status["source"]["frames"])
        return status

    def hdr_becomes_sdr_on_the_gpu(self, standin, policy="gpu", encoder="nvenc", codec="h265"):
        """The colours are those of the CPU's filters, and the pictures were not fetched for it."""
        clip = hdr_source(standin.farm.folder)
        status = self.whole(standin, standin.farm.submit(clip, policy), encoder, codec)
        made = os.path.join(os.path.dirname(standin.farm.local(status["manifests"]["hls"])),
                            codec, "128p", "playlist.m3u8")
        row = media.streams(made)["streams"][0]
        self.assertEqual([row[key] for key in ("color_primaries", "color_transfer", "color_space")], ["bt709"] * 3)
        psnr = psnr_of(made, clip, clips_made.HDR)
        print("HDR made SDR on the GPU and encoded: %.1f dB of the CPU's filters" % psnr)
        self.assertGreater(psnr, 30)
        self.assertNotIn("the CPU scales for", standin.farm.up.text())

    def fields_become_pictures_on_the_gpu(self, standin):
        """They are bwdif's, also where chunks meet, and were not fetched for it."""
        clip = fields_source(standin.farm.folder)
        status = self.whole(standin, standin.farm.submit(clip, "gpu"))
        made = os.path.join(os.path.dirname(standin.farm.local(status["manifests"]["hls"])), "h265", "128p", "playlist.m3u8")
        psnr, fields = psnr_of(made, clip, "bwdif=mode=send_frame"), psnr_of(made, clip, "null")
        print("deinterlaced on the GPU and encoded: %.1f dB of bwdif's pictures, %.1f dB of the fields" % (psnr, fields))
        self.assertGreater(psnr, fields + 3)
        self.assertNotIn("the CPU scales for", standin.farm.up.text())

    def test_a_session_limit_is_never_exceeded_and_costs_no_attempt(self):
        with Standin("limit", "nvenc=2", "limit=3") as standin:
            video = standin.farm.submit(source(), "gpu")
            status = self.whole(standin, video)
            ids = {gpu["device_id"] for gpu in standin.gpus()}
            for rendition in status["renditions"]:
                self.assertLessEqual(set(rendition["devices"]), ids)
            tasks = standin.tasks(video)
            self.assertEqual(len(tasks), SECONDS)
            self.assertEqual([task["attempts"] for task in tasks], [0] * SECONDS)
            self.hdr_becomes_sdr_on_the_gpu(standin)
            self.fields_become_pictures_on_the_gpu(standin)
            counted = standin.counted()
            self.assertLessEqual(counted["sessions_high"], 3)
            self.assertGreaterEqual(counted["sessions_high"], 1)
            self.assertGreaterEqual(sum(d["pictures"] for d in counted["devices"]), 4 * RATE * SECONDS)
            self.assertEqual(counted["sessions"], 0)
            self.assertTrue(all(gpu["health"] == "healthy" for gpu in standin.gpus()), standin.gpus())

    def test_what_a_lost_and_a_hanging_device_held_is_done_elsewhere(self):
        """While they encode, and while they decode; the fifth works."""
        faults = "lost@0:60,hang@1:60,nvdec/lost@2:45,nvdec/hang@3:45"
        with Standin("lost", "nvenc=5", faults) as standin:
            video = standin.farm.submit(vp9_source(), "gpu")
            happened, left = {}, {}
            began = time.monotonic()

            def watch():
                now = time.monotonic() - began
                counted = standin.counted()
                for i, key in enumerate(("lost", "hung", "lost", "hung")):
                    if counted and counted["devices"][i][key]:
                        happened.setdefault(i, now)
                for i, gpu in enumerate(standin.gpus()[:4]):
                    if gpu["health"] != "healthy":
                        left.setdefault(i, (now, gpu["health"], gpu["health_reason"]))
                return standin.farm.status(video)["status"] in FINAL and len(left) == 4

            wait_until(watch, 90, lambda: "four devices are out of use: %s, %s; %s" %
                       (happened, left, standin.gpus()), 0.1)
            self.whole(standin, video)
            for i, word in enumerate(("device_lost", "hang", "device_lost", "hang")):
                self.assertIn(left[i][1], ("quarantined", "proving"))
                self.assertIn(word, left[i][2])
            print("quarantined %.1f and %.1f s after the losses, %.1f and %.1f s after the hangs (watchdog 5 s)" %
                  tuple(left[i][0] - happened[i] for i in (0, 2, 1, 3)))
            self.assertLessEqual(max(task["attempts"] for task in standin.tasks(video)), 4)  # each of them once
            self.assertEqual(standin.gpus()[4]["health"], "healthy")
            counted = standin.counted()
            self.assertEqual([counted["devices"][i][key] for i, key in enumerate(("lost", "hung", "lost", "hung"))],
                             [1, 1, 1, 1])
            # A killed worker's sessions are free.
            wait_until(lambda: standin.counted()["sessions"] == 0, 30, standin.counted)
            # The faults are over, and golden chunks have shown it.
            wait_until(lambda: all(gpu["health"] == "healthy" for gpu in standin.gpus()), 30, standin.gpus)

    def test_wrong_pictures_are_noticed_and_their_device_stays_out(self):
        with Standin("wrong", "nvenc=2", "wrong@0:30") as standin:
            video = standin.farm.submit(source(), "gpu")
            wait_until(lambda: standin.gpus()[0]["health"] == "quarantined", 60, standin.gpus)
            self.assertRegex(standin.gpus()[0]["health_reason"], "output_mismatch.*(first picture is not|does not read back|golden chunk)")
            self.whole(standin, video)
            # What it makes of the golden chunk is as wrong.
            wait_until(lambda: "stays quarantined: the golden chunk in" in standin.farm.up.text(), 30,
                       lambda: standin.farm.up.text()[-2000:])
            self.assertEqual([gpu["health"] for gpu in standin.gpus()], ["quarantined", "healthy"])

    def test_a_gpu_that_cannot_encode_feeds_the_cpus(self):
        feed = "  devices: {nvenc: {feed: always}}\n"
        with Standin("feed", "nvenc=1", "no_engine,lost:45", agent=feed) as standin:
            gpu = standin.gpus()[0]
            self.assertEqual((gpu["encodes"], gpu["feed"], gpu["feed_ratio"]), ([], "always", None))
            cli = standin.farm.cli("devices")
            self.assertIn("decodes and scales for the CPU, as configured", cli.stdout)
            # The device is lost in mid-chunk: those chunks are done by CPUs alone, and golden pictures bring it back.
            status = self.whole(standin, standin.farm.submit(source(6), "fed"), "x264", "h264")
            for rendition in status["renditions"]:
                self.assertEqual(sorted(rendition["devices"]), sorted(["cpu", gpu["device_id"]]))
            self.assertEqual(standin.counted()["devices"][0]["lost"], 1)
            self.assertIn("device %s is quarantined: device_lost" % gpu["device_id"], standin.farm.up.text())
            wait_until(lambda: standin.gpus()[0]["health"] == "healthy", 30, standin.gpus)
            before = standin.counted()["devices"][0]["pictures"]
            self.whole(standin, standin.farm.submit(source(3), "fed"), "x264", "h264")
            self.assertEqual(standin.counted()["devices"][0]["pictures"] - before, 3 * RATE)
            self.hdr_becomes_sdr_on_the_gpu(standin, "fed", "x264", "h264")

    def load_is_told(self, standin, gpu):
        """What the stand-in's NVML says: 40 degrees and 20 watts at least."""
        def telemetry():
            return standin.gpus()[0]["telemetry"]

        wait_until(lambda: telemetry().get("temperature_c", 0) >= 40, 20, telemetry)
        # A probe says that as well; how busy CPUs are is known to what watches alone.
        wait_until(lambda: standin.farm.api("GET", "/api/v1/devices")[1]["devices"][0]["telemetry"], 20, standin.gpus)
        self.assertGreaterEqual(telemetry()["power_watts"], 20)
        self.assertIn("busy_percent", telemetry())
        self.assertIn(", CUDA", gpu["driver"])
        self.assertTrue(gpu["standin"])
        self.assertIn("h265", gpu["ten_bit"])
        lines = standin.farm.api("GET", "/metrics")[1].splitlines()
        ours = {line.split("{")[0]: float(line.split()[-1]) for line in lines if 'device="%s"' % gpu["device_id"] in line
                and "sluice_device_health" not in line}
        self.assertGreaterEqual(ours["sluice_device_temperature_celsius"], 40)
        self.assertGreaterEqual(ours["sluice_device_power_watts"], 20)
        self.assertLessEqual(ours["sluice_device_busy_ratio"], 1)
        self.assertEqual([line.split()[-1] for line in lines if 'device="%s"' % gpu["device_id"] in line and
                          'state="healthy"' in line], ["1"])

    def test_both_kinds_are_there_and_a_policy_chooses(self):
        with Standin("kinds", "nvenc=1,vaapi=1", "", "vaapi") as standin:
            code, document = standin.farm.api("GET", "/api/v1/devices")
            rows = {row["kind"]: row for row in document["devices"]}
            self.assertEqual((code, sorted(rows)), (200, ["cpu", "nvenc", "vaapi"]))
            self.assertTrue(all("stand-in" in rows[kind]["name"] for kind in ("nvenc", "vaapi")), rows)
            self.load_is_told(standin, rows["nvenc"])
            status = self.whole(standin, standin.farm.submit(source(3), "gpu"), "vaapi")
            self.assertEqual({d for r in status["renditions"] for d in r["devices"]}, {rows["vaapi"]["device_id"]})

    def test_a_driver_that_crashes_costs_its_devices_and_a_line(self):
        with Standin("crash", "nvenc=2", "crash_at_init", "x265") as standin:
            self.assertEqual(standin.gpus(), [])
            video = standin.farm.submit(source(3), "gpu")
            self.whole(standin, video, "x265")
            self.assertIn("crashed at probe (signal 11", standin.farm.up.text())


# What `sluice hw` says of each broken driver: in its notes, and in the row of a device that is there. None of them encodes.
BROKEN = [
    ("crash_at_init", "notes", "nvenc: the driver crashed at probe (signal 11, SIGSEGV)"),
    ("crash_at_open", "notes", "nvenc: the driver crashed at probe (signal 11, SIGSEGV)"),
    ("cuinit=100", "notes", "nvenc: the NVIDIA driver shows no GPU"),
    ("cuinit=999", "notes", "nvenc: the NVIDIA driver does not start"),
    ("no_engine", "driver", "the GPU has no encode engine"),
    ("old_driver", "driver", "the driver is too old: NVENC 8.0"),
    ("limit=0", "notes", "nvenc: probing nvenc on GPU-736c7569-6365-2073-7461-6e642d696e30 failed: no free encoder "),
    ("half", "driver", "libnvidia-encode.so.1 is not installed"),
]


class Hardware(unittest.TestCase):
    def hw(self, faults="", folder=STANDIN):
        env = dict(os.environ, LD_LIBRARY_PATH=folder, SLUICE_STANDIN_NVENC="1", SLUICE_STANDIN_FAULTS=faults)
        done = run([program("sluice"), "hw", "--json"], env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        document = json.loads(done.stdout)
        kinds = [device["kind"] for device in document["devices"]]
        self.assertIn("cpu", kinds)
        gpus = [device for device in document["devices"] if device["kind"] == "nvenc"]
        return gpus, document.get("notes", [])

    def test_each_broken_driver_has_one_exact_line(self):
        for fault, where, text in BROKEN:
            with self.subTest(fault):
                half = fault == "half"
                gpus, notes = self.hw("" if half else fault, os.path.join(STANDIN, "half") if half else STANDIN)
                ours = [note for note in notes if note.startswith("nvenc")]
                self.assertEqual([gpu["encodes"] for gpu in gpus], [[]] * len(gpus))
                if where == "notes":
                    self.assertEqual([note.startswith(text) for note in ours], [True], ours)
                else:
                    says = f"nvenc: {gpus[0]['device_id']}: it encodes nothing: "
                    self.assertEqual([note.startswith(says) and text in note for note in ours], [True], ours)
                    self.assertEqual([text in gpu["driver"] for gpu in gpus], [True], gpus)

    def test_a_stand_in_says_that_it_is_one(self):
        gpus, _ = self.hw()
        self.assertEqual([(gpu["standin"], gpu["name"]) for gpu in gpus], [(True, "sluice stand-in GPU 0")])
        self.assertEqual(gpus[0]["encodes"][:2], ["h264", "h265"])


class Asking(unittest.TestCase):
    def up(self, text, sluice=None):
        return run([sluice or program("sluice"), "up", "--data", os.path.join(work_folder("up"), "data"), "--http",
                    "127.0.0.1:1", "--standin", text])

    def test_devices_that_are_not_understood_are_refused(self):
        for text in ("nvenc", "nvenc=0", "cuda=1", "nvenc=9", "nvenc=1,nvenc=1", "nvenc=1,", "nvenc=-1", "nvenc=1x"):
            done = self.up(text)
            self.assertEqual(done.returncode, 2, text)
            self.assertIn("write it like nvenc=2,vaapi=1", done.stderr)

    def test_drivers_that_were_not_built_are_named_with_a_remedy(self):
        folder = work_folder("alone")
        sluice = shutil.copy(os.path.join(BUILD, "sluice"), folder)
        done = self.up("nvenc=1", sluice)
        self.assertEqual(done.returncode, 3)
        self.assertIn(os.path.join(folder, "standin"), done.stderr)
        self.assertIn("make standin", done.stderr)


if __name__ == "__main__":
    main()
