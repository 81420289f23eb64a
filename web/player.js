// The player's controls over one <video> element, and hls.js below it where it is there.
import { $, clock, el, icon } from "./ui.js";

const LIBRARY = "/assets/hls.min.js";

function libraryLoad() {
  return new Promise((done) => {
    if (window.Hls) return done(window.Hls);
    const script = el("script", { src: LIBRARY });
    script.onload = () => done(window.Hls || null);
    script.onerror = () => done(null);
    document.head.append(script);
  });
}

const video = $("video");

function note(text) {
  $("screen-note").textContent = text;
  $("screen-note").hidden = !text;
}

function label(button, text, picture) {
  button.setAttribute("aria-label", text);
  button.title = text;
  button.replaceChildren(icon(picture));
}

// ---- what is being played ----

// A playlist that still grows has no fixed duration; what can be sought then is what there is.
function length() {
  if (Number.isFinite(video.duration)) return video.duration;
  return video.seekable.length ? video.seekable.end(video.seekable.length - 1) : 0;
}

function paint() {
  const total = length(), seek = $("seek");
  seek.max = total || 1;
  seek.disabled = !total;
  if (!seek.matches(":active")) seek.value = video.currentTime;
  seek.setAttribute("aria-valuetext", `${clock(video.currentTime)} of ${clock(total)}`);
  let end = 0;
  for (let i = 0; i < video.buffered.length; i++) if (video.buffered.start(i) <= video.currentTime + 0.1) end = video.buffered.end(i);
  seek.style.setProperty("--done", `${total ? (Number(seek.value) * 100) / total : 0}%`);
  seek.style.setProperty("--there", `${total ? (end * 100) / total : 0}%`);
  $("now").textContent = clock(video.currentTime);
  $("total").textContent = clock(total);
}

export function seekTo(time) {
  video.currentTime = Math.max(0, Math.min(length(), time));
}

const toggle = () => (video.paused ? video.play().catch(() => {}) : video.pause());

function controlsWire(frameSeconds) {
  const playing = () => {
    label($("play"), video.paused ? "Play" : "Pause", video.paused ? "play" : "pause");
    $("big-play").hidden = !video.paused || video.currentTime > 0;
  };
  const loud = () => {
    const silent = video.muted || video.volume === 0;
    label($("mute"), silent ? "Unmute" : "Mute", silent ? "silent" : "sound");
    $("mute").setAttribute("aria-pressed", String(silent));
    $("volume").value = video.muted ? 0 : video.volume;
  };
  label($("fullscreen"), "Full screen", "full");
  for (const name of ["play", "pause", "ended", "seeked"]) video.addEventListener(name, playing);
  for (const name of ["timeupdate", "progress", "durationchange", "seeking", "loadedmetadata"]) video.addEventListener(name, paint);
  video.addEventListener("volumechange", loud);
  video.addEventListener("waiting", () => $("player").classList.add("waits"));
  for (const name of ["playing", "canplay", "seeked"]) video.addEventListener(name, () => $("player").classList.remove("waits"));
  video.addEventListener("click", toggle);
  $("play").onclick = $("big-play").onclick = toggle;
  $("mute").onclick = () => { video.muted = !video.muted; };
  $("volume").oninput = () => { video.volume = Number($("volume").value); video.muted = false; };
  $("seek").oninput = () => seekTo(Number($("seek").value));
  $("fullscreen").onclick = () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else if ($("player").requestFullscreen) $("player").requestFullscreen();
    else video.webkitEnterFullscreen?.(); // phones that only show the picture alone
  };
  const keys = {
    " ": toggle, k: toggle, ArrowLeft: () => seekTo(video.currentTime - 5), ArrowRight: () => seekTo(video.currentTime + 5),
    j: () => seekTo(video.currentTime - 10), l: () => seekTo(video.currentTime + 10), m: () => $("mute").click(), f: () => $("fullscreen").click(),
    ArrowUp: () => { video.volume = Math.min(1, video.volume + 0.1); }, ArrowDown: () => { video.volume = Math.max(0, video.volume - 0.1); },
    ",": () => video.paused && seekTo(video.currentTime - frameSeconds()), ".": () => video.paused && seekTo(video.currentTime + frameSeconds()),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("button, a, select, input, summary, dialog")) return;
    const digit = /^[0-9]$/.test(event.key);
    const work = digit ? () => seekTo((length() * Number(event.key)) / 10) : keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!work) return;
    event.preventDefault();
    work();
  });
  playing();
  loud();
  paint();
}

// draw(time, tile) of thumbs.js.
export function previewWire(draw) {
  const seek = $("seek"), box = $("preview");
  const show = (time) => {
    const part = Math.max(0, Math.min(1, time / (length() || 1)));
    box.hidden = false;
    $("preview-time").textContent = clock(time);
    draw(time, $("tile"));
    const half = box.offsetWidth / 2, place = part * seek.clientWidth;
    box.style.left = `${Math.max(half, Math.min(seek.clientWidth - half, place))}px`;
  };
  seek.addEventListener("pointermove", (event) => {
    const area = seek.getBoundingClientRect();
    show(((event.clientX - area.left) / area.width) * length());
  });
  seek.addEventListener("pointerleave", () => { box.hidden = true; });
  seek.addEventListener("keydown", () => setTimeout(() => show(Number(seek.value))));
  seek.addEventListener("blur", () => { box.hidden = true; });
}

// ---- choices ----

function choice(name, entries, selected, take) {
  const select = $(name);
  select.replaceChildren(...entries.map(([value, text]) => el("option", { value }, text)));
  select.value = String(selected);
  select.onchange = () => take(Number(select.value));
  $(name + "-choice").hidden = entries.length < 2;
}

const trackName = (track, i) => track.name || track.lang || `track ${i + 1}`;

function choicesWire(hls, Hls) {
  const codecName = (level) => ({ avc1: "H.264", hvc1: "H.265", av01: "AV1", vp09: "VP9" })[(level.videoCodec || "").slice(0, 4)] || "";
  const levelName = (level) => [level.height ? level.height + "p" : level.name || "sound", `${Math.round(level.bitrate / 1000)} kbit/s`,
    new Set(hls.levels.map(codecName)).size > 1 ? codecName(level) : ""].filter(Boolean).join(" · ");
  const levels = () => {
    const order = hls.levels.map((level, i) => [i, level]).sort(([, a], [, b]) => b.height - a.height || b.bitrate - a.bitrate);
    choice("quality", [[-1, "Auto"], ...order.map(([i, level]) => [i, levelName(level)])], hls.autoLevelEnabled ? -1 : hls.nextLevel, (i) => { hls.nextLevel = i; });
  };
  hls.on(Hls.Events.MANIFEST_PARSED, levels);
  hls.on(Hls.Events.LEVELS_UPDATED, levels);
  hls.on(Hls.Events.LEVEL_SWITCHED, (_, { level }) => {
    const auto = $("quality").querySelector('[value="-1"]');
    if (auto) auto.textContent = hls.autoLevelEnabled && hls.levels[level]?.height ? `Auto (${hls.levels[level].height}p)` : "Auto";
  });
  hls.on(Hls.Events.AUDIO_TRACKS_UPDATED, (_, { audioTracks }) =>
    choice("audio", audioTracks.map((track, i) => [i, trackName(track, i)]), Math.max(0, hls.audioTrack), (i) => { hls.audioTrack = i; }));
  hls.on(Hls.Events.SUBTITLE_TRACKS_UPDATED, (_, { subtitleTracks }) =>
    choice("subtitles", [[-1, "Off"], ...subtitleTracks.map((track, i) => [i, trackName(track, i)])], hls.subtitleTrack, (i) => { hls.subtitleDisplay = i >= 0; hls.subtitleTrack = i; }));
  hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => { $("growing").hidden = !details.live; });
}

// ---- life ----

function failed(hls, Hls, data) {
  if (!data.fatal) return;
  if (data.type === Hls.ErrorTypes.MEDIA_ERROR) return hls.recoverMediaError();
  note(`Playing stopped: ${data.response?.code ? "the farm answered " + data.response.code : data.details}. It is tried again.`);
  setTimeout(() => hls.startLoad(), 3000);
}

// Plays the HLS master at the address. frameSeconds: how long a frame lasts.
export async function play(address, frameSeconds) {
  controlsWire(frameSeconds);
  const Hls = await libraryLoad();
  if (Hls?.isSupported()) {
    // No worker: it would have to be made from a blob, which the page's policy refuses; segments are CMAF already.
    const hls = new Hls({ enableWorker: false, startPosition: 0 });
    choicesWire(hls, Hls);
    hls.on(Hls.Events.ERROR, (_, data) => failed(hls, Hls, data));
    hls.on(Hls.Events.FRAG_BUFFERED, () => note(""));
    hls.loadSource(address);
    hls.attachMedia(video);
    window.player = hls;
    return hls;
  }
  $("quality-choice").hidden = true;
  if (video.canPlayType("application/vnd.apple.mpegurl")) {
    video.src = address;
    return null;
  }
  note(Hls ? "This browser has no Media Source Extensions, which playing needs." : "The player library is missing: run make web, and start the farm again.");
  return null;
}

export { note };
