// hls.js, shaka-player and dash.js play what the farm published. Each frame of the clip carries its number as
// a row of black and white blocks, read back here from the picture that is shown: a gap, a frame that comes twice
// or a picture at the wrong time shows as a number that is not time × rate.
import { FARM, api, check, equal, main, packaged, pageOf, ready, skip, statusOf, submit, test, until } from "./kit.mjs";

const { clip: CLIP, policy: POLICY, slow: SLOW, fps: FPS, frames: FRAMES, gop: GOP, codecs: CODECS } = JSON.parse(process.env.SLUICE_CLIP);
const HTML = `<!doctype html><title>test</title><video id="v" muted playsinline width="640" height="360"></video><canvas id="c" width="128" height="72"></canvas>`;

// ---- in the page ----

// Runs in the browser: what the three players have in common, under one name each.
function inPage() {
  const video = document.getElementById("v"), canvas = document.getElementById("c");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  window.seen = [];
  // The number of the picture that is shown, or null where the blocks cannot be read.
  window.readNumber = () => {
    pen.drawImage(video, 0, 0, 128, 72);
    const line = pen.getImageData(0, 4, 128, 1).data, bit = (i) => line[(i * 8 + 4) * 4] > 127;
    if (!bit(0) || bit(1) || !bit(15)) return null;
    let number = 0, ones = 0;
    for (let i = 2; i < 14; i++) { number = number * 2 + bit(i); ones += bit(i); }
    return ones % 2 === Number(bit(14)) ? number : null;
  };
  const watch = (_, frame) => {
    // By the time of this call a later picture may be there already, but none that the clock has not come to.
    const number = window.readNumber();
    window.seen.push({ time: frame.mediaTime, number, height: frame.height, clock: video.currentTime });
    video.requestVideoFrameCallback(watch);
  };
  video.requestVideoFrameCallback(watch);
  window.errors = [];
  const wait = (claim, what, seconds = 40) => new Promise((done, fail) => {
    const end = performance.now() + seconds * 1000;
    const look = () => { const value = claim(); if (value) done(value); else if (performance.now() > end) fail(new Error("not in time: " + what)); else setTimeout(look, 50); };
    look();
  });
  window.wait = wait;
  const makers = {
    // codec: the letters that its name begins with, where only one is to be played.
    hls(address, codec) {
      const hls = new Hls({ enableWorker: false, maxBufferLength: 4, maxMaxBufferLength: 4, startLevel: 0, startPosition: 0 });
      if (codec) hls.on(Hls.Events.MANIFEST_PARSED, () => { hls.loadLevel = hls.levels.findIndex((level) => level.videoCodec.startsWith(codec)); });
      hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) window.errors.push(data.details); });
      hls.loadSource(address);
      hls.attachMedia(video);
      return {
        started: () => wait(() => hls.levels.length > 0 && video.readyState >= 2, "hls.js has a picture"),
        heights: () => hls.levels.map((level) => level.height),
        codecs: () => hls.levels.map((level) => level.videoCodec),
        codec: () => hls.levels[hls.currentLevel]?.videoCodec,
        choose: (height) => { hls.loadLevel = hls.levels.findIndex((level) => level.height === height); },
        audios: () => hls.audioTracks.map((track) => track.lang),
        audio: (language) => { hls.audioTrack = hls.audioTracks.findIndex((track) => track.lang === language); },
        texts: () => hls.subtitleTracks.map((track) => track.lang),
        text: (language) => { hls.subtitleDisplay = true; hls.subtitleTrack = hls.subtitleTracks.findIndex((track) => track.lang === language); },
      };
    },
    shaka(address, codec) {
      shaka.polyfill.installAll();
      const player = new shaka.Player();
      player.addEventListener("error", (event) => window.errors.push("shaka " + event.detail.code + " " + JSON.stringify(event.detail.data)));
      player.configure({ abr: { enabled: false }, streaming: { bufferingGoal: 4, rebufferingGoal: 0.5, bufferBehind: 60 } });
      if (codec) player.configure({ preferredVideoCodecs: [codec], preferredVideo: [{ codec }] });
      const loaded = player.attach(video).then(() => player.load(address)).catch((error) => { window.errors.push("shaka " + error.code + " " + JSON.stringify(error.data)); throw error; });
      const tracks = () => player.getVariantTracks(), now = () => tracks().find((track) => track.active) || {};
      return {
        started: () => loaded.then(() => wait(() => video.readyState >= 2, "shaka has a picture")),
        heights: () => [...new Set(tracks().map((track) => track.height))],
        codecs: () => [...new Set(tracks().map((track) => track.videoCodec))],
        codec: () => now().videoCodec,
        choose: (height) => player.selectVariantTrack(tracks().find((track) => track.height === height && track.language === now().language), false),
        audios: () => [...new Set(tracks().map((track) => track.language))],
        audio: (language) => player.selectVariantTrack(tracks().find((track) => track.height === now().height && track.language === language), true),
        texts: () => player.getTextTracks().map((track) => track.language),
        text: (language) => { player.selectTextTrack(player.getTextTracks().find((track) => track.language === language)); player.setTextTrackVisibility?.(true); },
      };
    },
    dash(address) {
      const player = dashjs.MediaPlayer().create();
      player.on("error", (event) => window.errors.push("dash.js " + JSON.stringify(event.error)));
      player.updateSettings({ streaming: { abr: { autoSwitchBitrate: { video: false, audio: false }, initialBitrate: { video: 50 } },
        buffer: { bufferTimeDefault: 4, bufferTimeAtTopQuality: 4, bufferTimeAtTopQualityLongForm: 4, bufferToKeep: 60, fastSwitchEnabled: false }, text: { defaultEnabled: false } } });
      player.initialize(video, address, false);
      const rungs = () => player.getRepresentationsByType("video");
      return {
        started: () => wait(() => video.readyState >= 2, "dash.js has a picture"),
        heights: () => rungs().map((one) => one.height),
        choose: (height) => player.setRepresentationForTypeById("video", rungs().find((one) => one.height === height).id),
        audios: () => player.getTracksFor("audio").map((track) => track.lang),
        audio: (language) => player.setCurrentTrack(player.getTracksFor("audio").find((track) => track.lang === language)),
        texts: () => player.getTracksFor("text").map((track) => track.lang),
        text: (language) => { const at = player.getTracksFor("text").findIndex((track) => track.lang === language); player.enableText(true); player.setTextTrack(at); },
      };
    },
  };
  window.start = async (kind, address, codec) => {
    window.player = makers[kind](address, codec);
    await window.player.started();
  };
  // Pauses on a frame and says which one is shown.
  window.step = async (number, fps) => {
    video.currentTime = (number + 0.5) / fps;
    await wait(() => !video.seeking && video.readyState >= 2, "seek to frame " + number);
    let read = null;
    for (let i = 0; i < 60 && read !== number; i++) {
      await new Promise((done) => setTimeout(done, 25));
      read = window.readNumber();
    }
    return read;
  };
  window.ranges = () => [...Array(video.buffered.length).keys()].map((i) => [video.buffered.start(i), video.buffered.end(i)]);
  // The loudest tone between two frequencies, in hertz.
  window.tone = async () => {
    if (!window.ears) {
      const context = new AudioContext();
      await context.resume();
      window.ears = context.createAnalyser();
      window.ears.fftSize = 8192;
      context.createMediaElementSource(video).connect(window.ears);
      video.muted = false;
    }
    const levels = new Float32Array(window.ears.frequencyBinCount);
    window.ears.getFloatFrequencyData(levels);
    let best = 0;
    for (let i = 8; i < levels.length; i++) if (levels[i] > levels[best]) best = i;
    return levels[best] > -90 ? (best * window.ears.context.sampleRate) / window.ears.fftSize : 0;
  };
}

const LIBRARIES = { hls: "hls.js/dist/hls.min.js", shaka: "shaka-player/dist/shaka-player.compiled.js", dash: "dashjs/dist/modern/umd/dash.all.min.js" };

async function player(browser, kind, address, codec) {
  const page = await pageOf(browser);
  await page.route("**/__test/", (route) => route.fulfill({ contentType: "text/html", body: HTML }));
  await page.goto(FARM + "/__test/");
  await page.addScriptTag({ content: packaged(LIBRARIES[kind]) });
  await page.evaluate(inPage);
  await page.evaluate(([one, at, of]) => window.start(one, at, of), [kind, address, codec]);
  return page;
}

// ---- what holds for every player ----

const WAYS = [["hls.js plays HLS", "hls", "hls"], ["shaka-player plays HLS", "shaka", "hls"], ["shaka-player plays DASH", "shaka", "dash"], ["dash.js plays DASH", "dash", "dash"]];
const state = {};

async function published() {
  state.video ??= await submit(CLIP, POLICY);
  state.status ??= await ready(state.video);
  return state.status;
}

// Every painted picture has the number of its time; none comes twice in another place.
function judge(seen, what) {
  const unread = seen.filter((one) => one.number === null);
  check(unread.length <= seen.length / 50, `${what}: ${unread.length} of ${seen.length} pictures could not be read`);
  const wrong = seen.filter((one) => one.number !== null && (one.number < Math.round(one.time * FPS) || one.number > Math.max(Math.round(one.time * FPS), Math.floor(one.clock * FPS) + 2)));
  equal(wrong.slice(0, 5), [], `${what}: pictures at the wrong time (${wrong.length} of ${seen.length})`);
}

async function playThrough(page, what) {
  const heights = (await page.evaluate(() => window.player.heights())).sort((a, b) => a - b);
  check(heights.length >= 2, `${what}: rungs ${heights}`);
  const [low, high] = [heights[0], heights[heights.length - 1]];
  await page.evaluate((height) => window.player.choose(height), low);
  await page.evaluate(() => { const v = document.getElementById("v"); v.playbackRate = 1.5; return v.play(); });
  const passed = (time) => page.waitForFunction((t) => { const v = document.getElementById("v"); return v.currentTime >= t || v.ended; }, time, { timeout: 60000, polling: 100 });
  await passed(1);
  await page.evaluate((height) => window.player.choose(height), high);
  await passed(10);
  await page.evaluate((height) => window.player.choose(height), low);
  await page.waitForFunction(() => document.getElementById("v").ended, null, { timeout: 90000, polling: 100 });
  const seen = await page.evaluate(() => window.seen);
  judge(seen, what);
  for (let i = 1; i < seen.length; i++) check(seen[i].time > seen[i - 1].time - 1e-6, `${what}: the picture went back from ${seen[i - 1].time} to ${seen[i].time}`);
  const order = seen.map((one) => one.height).filter((height, i, all) => i === 0 || height !== all[i - 1]);
  check(order.join() === [low, high, low].join() || order.join() === [high, low, high, low].join(), `${what}: rungs were shown in the order ${order}`);
  const ranges = await page.evaluate(() => window.ranges());
  check(ranges.length === 1 && ranges[0][0] < 0.05 && ranges[0][1] > FRAMES / FPS - 0.1, `${what}: buffered ${JSON.stringify(ranges)}, not one range over all`);
}

// Every frame beside a segment's start, both ways, as it is shown when paused there.
async function stepBoundaries(page, what) {
  await page.evaluate(() => document.getElementById("v").pause());
  const frames = [];
  for (let at = GOP; at < FRAMES; at += GOP) frames.push(at - 1, at, at + 1);
  frames.push(FRAMES - 1, 0, 1);
  const backwards = [...frames].reverse().filter((_, i) => i % 3 === 0);
  for (const number of [...frames, ...backwards]) {
    const read = await page.evaluate(([n, fps]) => window.step(n, fps), [number, FPS]);
    equal(read, number, `${what}: the picture shown when paused on frame ${number}`);
  }
}

for (const [name, kind, format] of WAYS) {
  test(`${name}: starts, switches rungs up and down, ends, seeks both ways`, async (browser) => {
    const status = await published();
    const page = await player(browser, kind, status.manifests[format]);
    await playThrough(page, name);
    await stepBoundaries(page, name);
    equal(await page.evaluate(() => window.errors), [], "errors of the player");
    await page.done();
  });

  test(`${name}: switches the audio language`, async (browser) => {
    const status = await published();
    const page = await player(browser, kind, status.manifests[format]);
    const languages = await page.evaluate(() => window.player.audios());
    if (languages.filter(Boolean).length < 2) { await page.done(); skip(`the farm publishes ${languages.length} audio language of this clip's two`); }
    await page.evaluate(() => document.getElementById("v").play());
    const [english, german] = ["en", "de"].map((code) => languages.find((language) => language.startsWith(code)));
    const hears = (hertz, what) => until(async () => Math.abs((await page.evaluate(() => window.tone())) - hertz) < 30, 20, `${name}: ${what} is heard`);
    await page.evaluate((language) => window.player.audio(language), english);
    await hears(440, "the English tone");
    await page.evaluate((language) => window.player.audio(language), german);
    await hears(880, "the German tone");
    judge(await page.evaluate(() => window.seen), name);
    await page.done();
  });

  test(`${name}: shows subtitles`, async (browser) => {
    const status = await published();
    const page = await player(browser, kind, status.manifests[format]);
    const languages = await page.evaluate(() => window.player.texts());
    if (languages.length === 0) { await page.done(); skip("the farm publishes no subtitles of this clip"); }
    await page.evaluate((language) => window.player.text(language), languages[0]);
    await page.evaluate(() => document.getElementById("v").play());
    const found = await until(() => page.evaluate(() => {
      const cues = [...document.getElementById("v").textTracks].flatMap((track) => [...(track.cues || [])]);
      return cues.map((cue) => [cue.startTime, cue.text]);
    }).then((cues) => cues.length > 0 && cues), 20, `${name}: cues are there`);
    const first = found.sort((a, b) => a[0] - b[0])[0];
    check(Math.abs(first[0] - 1) < 0.05 && first[1].includes("first line"), `${name}: the first cue is ${JSON.stringify(first)}`);
    await page.done();
  });
}

// From the first seconds that are there to the end of the whole, while the rest is encoded.
for (const [name, kind] of [["hls.js", "hls"], ["shaka-player", "shaka"]])
  test(`${name} plays the growing playlist while encodes run`, async (browser) => {
    const video = await submit(CLIP, SLOW);
    const early = await until(async () => { const status = await statusOf(video); return (status.manifests?.hls || status.status === "ready") && status; }, 120, "something plays");
    check(early.status !== "ready", "the encode was over before anything could be played early");
    const page = await player(browser, kind, early.manifests.hls);
    await page.evaluate(() => document.getElementById("v").play());
    await until(() => page.evaluate(() => window.seen.length > 5), 20, "pictures are shown");
    const then = await statusOf(video);
    check(then.status !== "ready" && then.playable_seconds < FRAMES / FPS, `it was ${then.status} when the first pictures were shown`);
    await ready(video);
    await page.waitForFunction((end) => { const v = document.getElementById("v"); return v.ended || v.currentTime >= end; }, FRAMES / FPS - 0.1, { timeout: 120000, polling: 200 });
    judge(await page.evaluate(() => window.seen), name);
    const ranges = await page.evaluate(() => window.ranges());
    check(ranges.length === 1 && ranges[0][1] > FRAMES / FPS - 0.1, `buffered ${JSON.stringify(ranges)}`);
    await stepBoundaries(page, name);
    equal(await page.evaluate(() => window.errors), [], "errors of the player");
    await page.done();
    await api("DELETE", `/api/v1/videos/${video}`);
  });

// ---- codecs ----

for (const [codec, entry, kind, format] of [["VP9", "vp09", "hls", "hls"], ["AV1", "av01", "shaka", "dash"], ["H.265", "hvc1", "shaka", "hls"]])
  test(`${codec} plays by ${kind === "hls" ? "hls.js" : "shaka-player"} and ${format.toUpperCase()}, each frame at its time`, async (browser) => {
    state.codecs ??= await submit(CODECS.clip, CODECS.policy);
    const status = await ready(state.codecs);
    const rendition = status.renditions.find((one) => entry.startsWith({ vp9: "vp09", av1: "av01", h265: "hvc1" }[one.codec] || "?"));
    check(rendition, `there is a rendition of ${codec}`);
    const blank = await pageOf(browser);
    const name = { vp09: "vp09.00.21.08", av01: "av01.0.04M.08", hvc1: "hvc1.1.6.L63.90" }[entry];
    const knows = await blank.evaluate((one) => MediaSource.isTypeSupported(`video/mp4; codecs="${one}"`), name);
    await blank.done();
    if (!knows) skip(`this browser has no decoder of ${codec} (${name}); Chromium has none of H.265 in software`);
    const page = await player(browser, kind, status.manifests[format], entry);
    await page.evaluate(() => { const v = document.getElementById("v"); v.playbackRate = 1.5; return v.play(); });
    await page.waitForFunction(() => document.getElementById("v").ended, null, { timeout: 60000, polling: 100 });
    const played = await page.evaluate(() => window.player.codec());
    check(played.startsWith(entry), `what was played is ${played}`);
    const seen = await page.evaluate(() => window.seen);
    check(seen.length > CODECS.frames / 4, `${seen.length} of ${CODECS.frames} pictures were shown`);
    judge(seen, codec);
    for (const number of [0, GOP - 1, GOP, CODECS.frames - 1])
      equal(await page.evaluate(([n, fps]) => window.step(n, fps), [number, FPS]), number, `${codec}: the picture shown when paused on frame ${number}`);
    equal(await page.evaluate(() => window.errors), [], "errors of the player");
    await page.done();
  });

await main();
