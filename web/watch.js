// Watching one video: the finished set, or the part of it that is there while the rest is encoded.
import { follow, get, here, videoPath } from "./api.js";
import { $, FINAL, badge, bytes, clean, clock, nameOf, row } from "./ui.js";
import { note, play, previewWire } from "./player.js";
import { thumbnails } from "./thumbs.js";

const id = decodeURIComponent(location.pathname.split("/")[2] || "");
const TITLES = ["Name", "Codec", "Size", "Bitrate", "Bytes"];
let status = null, playing = false, preview = false;

function show(video) {
  status = video;
  document.title = nameOf(video) + " · sluice";
  $("title").textContent = nameOf(video);
  $("badge").replaceChildren(badge(video.status));
  $("job").href = "/videos/" + video.video_id;
  const source = video.source;
  $("facts").textContent = [source.duration_seconds ? clock(source.duration_seconds) : "", source.width ? `${source.width}×${source.height} ${clean(source.codec)}` : clean(source.codec || ""),
    video.status !== "ready" && video.playable_seconds ? `${clock(video.playable_seconds)} playable so far` : ""].filter(Boolean).join(" · ");
  $("renditions-section").hidden = video.renditions.length === 0;
  $("renditions").replaceChildren(...video.renditions.map((one) => row(TITLES, [clean(one.name), one.codec, one.width ? `${one.width}×${one.height}` : "", `${one.bitrate_kbps} kbit/s`, bytes(one.bytes)])));
}

const frameSeconds = () => (status.source.frames && status.source.duration_seconds ? status.source.duration_seconds / status.source.frames : 1 / 25);

async function previewStart(master) {
  preview = true;
  $("video").poster = new URL("poster.jpg", new URL(master, location.href)).href;
  const draw = await thumbnails(new URL("thumbnails.vtt", new URL(master, location.href)).href);
  if (draw) previewWire(draw);
}

async function update() {
  const video = await get(videoPath(id, "/status"));
  show(video);
  if (video.manifests?.hls && !playing) {
    playing = true;
    note("");
    await play(here(video.manifests.hls), frameSeconds);
  }
  if (video.manifests?.hls && video.status === "ready" && !preview) previewStart(here(video.manifests.hls));
  if (!playing) note(FINAL.includes(video.status) ? `This video is ${video.status}; there is nothing to play.` : `It is ${video.status}; playing begins as soon as the first seconds are there.`);
}

async function tryUpdate() {
  try {
    await update();
  } catch (error) {
    if (error.status === 404) $("title").textContent = "No such video";
    note(error.message);
  }
}

follow((kind, data) => { if (kind !== "video" || data.video_id === id) tryUpdate(); });
setInterval(() => { if (!document.hidden && status && !FINAL.includes(status.status)) tryUpdate(); }, 1000);
