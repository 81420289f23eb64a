// The page of videos and nodes: what the farm says now, and again whenever it says that something changed.
import { follow, get, post, remove, single, videoPath } from "./api.js";
import { $, FINAL, ago, badge, clean, confirmed, el, fill, nameOf, progress, row, say, when } from "./ui.js";
import { upload } from "./upload.js";

const PAGE = 25;
const TITLES = ["Name", "Status", "Progress", "Policy", "Priority", "Added", ""];
const NODE_TITLES = ["Node", "State", "Running", "CPU in use", "Devices", ""];

const address = new URL(location.href);
const view = { status: address.searchParams.get("status") || "", search: address.searchParams.get("q") || "", next: address.searchParams.get("next") || "" };
let shown = [];

function remember() {
  for (const [name, value] of [["status", view.status], ["q", view.search], ["next", view.next]]) {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  history.replaceState(null, "", address);
}

// ---- videos ----

async function act(work, done) {
  try {
    await work();
    say(done);
  } catch (error) {
    say(error.message, true);
  }
  refresh();
}

function actions(video) {
  const name = nameOf(video), cell = [];
  if (["transcoding", "packaging", "verifying", "ready"].includes(video.status))
    cell.push(el("a", { class: "button", id: "watch-" + video.video_id, href: "/watch/" + video.video_id, "aria-label": "Watch " + name }, "Watch"));
  if (!FINAL.includes(video.status))
    cell.push(el("button", { type: "button", id: "cancel-" + video.video_id, "aria-label": "Cancel " + name, onclick: async () => {
      if (await confirmed(`Cancel “${name}”?`, "Running work stops. A retry takes it up again where it stood.", "Cancel the video"))
        act(() => post(videoPath(video.video_id, "/cancel")), "Cancelled.");
    } }, "Cancel"));
  if (video.status === "failed" || video.status === "cancelled")
    cell.push(el("button", { type: "button", id: "retry-" + video.video_id, "aria-label": "Retry " + name, onclick: async () => {
      if (await confirmed(`Retry “${name}”?`, "What is done stays; the rest is tried again.", "Retry"))
        act(() => post(videoPath(video.video_id, "/retry")), "It is queued again.");
    } }, "Retry"));
  if (FINAL.includes(video.status))
    cell.push(el("button", { type: "button", class: "quiet", id: "delete-" + video.video_id, "aria-label": "Delete " + name, onclick: async () => {
      if (await confirmed(`Delete “${name}”?`, "What was published goes away now. The original is kept on the farm's disk.", "Delete"))
        act(() => remove(videoPath(video.video_id)), "Deleted; the original is kept.");
    } }, "Delete"));
  return cell;
}

function videoRow(video) {
  const name = nameOf(video);
  return row(TITLES, [
    [el("a", { href: "/videos/" + video.video_id, id: "open-" + video.video_id, class: "name", title: name }, name),
      el("span", { class: "id" }, video.video_id)],
    badge(video.status),
    FINAL.includes(video.status) && video.status !== "ready" ? "" : el("span", { class: "with-number" }, progress(video.percent, "Progress of " + name), el("span", {}, video.percent + " %")),
    clean(video.policy), video.priority, when(video.created_at), actions(video),
  ], { "data-video": video.video_id });
}

function announce(videos) {
  const before = new Map(shown.map((video) => [video.video_id, video.status]));
  const changed = videos.filter((video) => before.has(video.video_id) && before.get(video.video_id) !== video.status);
  if (changed.length) $("news").textContent = changed.slice(0, 3).map((video) => `${nameOf(video)}: ${video.status}`).join(". ");
  shown = videos;
}

async function loadVideos() {
  const query = new URLSearchParams({ limit: PAGE });
  if (view.status) query.set("status", view.status);
  if (view.search) query.set("q", view.search);
  if (view.next) query.set("next", view.next);
  const page = await get("/api/v1/videos?" + query);
  const videos = page.videos;
  announce(videos);
  fill($("videos").tBodies[0], videos.map(videoRow));
  $("videos").hidden = videos.length === 0;
  $("videos-empty").hidden = videos.length > 0;
  $("videos-empty").textContent = view.search ? "No video has that in its name."
    : view.status ? `No video is ${view.status}.` : "No videos yet. Add one here, or with: sluice submit FILE";
  $("newest").hidden = !view.next;
  $("older").hidden = !page.next;
  $("older").onclick = () => { view.next = page.next; remember(); refresh(); };
}

// ---- nodes and figures ----

async function drain(node) {
  const name = clean(node.name) || node.node_id;
  if (await confirmed(`Drain ${name}?`, "It finishes what it runs and takes nothing new until it is undrained.", "Drain"))
    act(() => post(`/api/v1/nodes/${encodeURIComponent(node.node_id)}/drain`), `${name} takes nothing new.`);
}

async function undrain(node) {
  const name = clean(node.name) || node.node_id;
  if (await confirmed(`Undrain ${name}?`, "It takes work again.", "Undrain"))
    act(() => post(`/api/v1/nodes/${encodeURIComponent(node.node_id)}/undrain`), `${name} takes work again.`);
}

// "37 % busy, 61 °C", of what is known; of a GPU the busiest of its parts.
function load(telemetry) {
  const parts = [telemetry.busy_percent, telemetry.encoder_percent, telemetry.decoder_percent].filter((part) => part !== undefined);
  const said = parts.length ? [Math.max(...parts) + " % busy"] : [];
  if (telemetry.temperature_c !== undefined) said.push(telemetry.temperature_c + " °C");
  return said.join(", ");
}

// What a GPU without encoders is good for.
function unencoding(device) {
  return device.feed === "faster" || device.feed === "always" ? "decodes and scales for the CPU" : "no encoder";
}

function deviceLine(device) {
  const said = [device.encodes.map(clean).join(" ") || unencoding(device), load(device.telemetry)].filter(Boolean).join(" · ");
  const ill = device.health !== "healthy";
  return el("div", { class: "device" }, el("span", {}, clean(device.name)), ill ? badge(device.health) : null,
    el("span", { class: "id" }, said), ill && device.health_reason ? el("span", { class: "id" }, clean(device.health_reason)) : null);
}

function nodeRow(node) {
  const name = clean(node.name) || node.node_id, drains = node.state === "draining" || node.state === "drained";
  const total = node.capacity?.cpu_millicores || 0, used = node.used?.cpu_millicores || 0;
  const button = drains
    ? el("button", { type: "button", id: "node-" + node.node_id, "aria-label": "Undrain " + name, onclick: () => undrain(node) }, "Undrain")
    : node.state === "lost" ? null
      : el("button", { type: "button", id: "node-" + node.node_id, "aria-label": "Drain " + name, onclick: () => drain(node) }, "Drain");
  return row(NODE_TITLES, [
    [el("span", { class: "name" }, name), node.spot ? el("span", { class: "id" }, "spot") : null],
    badge(node.state), String(node.running),
    el("span", { class: "with-number" }, progress(total ? Math.round((used * 100) / total) : 0, "CPU of " + name), el("span", {}, `${(used / 1000).toFixed(1)} of ${(total / 1000).toFixed(1)}`)),
    el("div", {}, ...node.devices.map(deviceLine)),
    [button],
  ], { "data-node": node.node_id });
}

async function loadNodes() {
  const { nodes } = await get("/api/v1/nodes");
  fill($("node-table").tBodies[0], nodes.map(nodeRow));
  $("node-table").hidden = nodes.length === 0;
  $("nodes-empty").hidden = nodes.length > 0;
}

async function loadFigures() {
  const farm = await get("/api/v1/status");
  const figure = (label, value, bad) => el("div", bad && value ? { class: "bad" } : {}, el("dt", {}, label), el("dd", {}, String(value)));
  const busy = ["uploaded", "probing", "transcoding", "packaging", "verifying"].reduce((sum, status) => sum + (farm.videos[status] || 0), 0);
  $("figures").replaceChildren(figure("in work", busy), figure("ready", farm.videos.ready || 0), figure("failed", farm.videos.failed || 0, true),
    figure("tasks running", farm.running), figure("tasks queued", farm.queued), figure("tasks dead", farm.dead, true), figure("nodes", farm.nodes));
}

const refresh = single(async () => {
  try {
    await Promise.all([loadVideos(), loadNodes(), loadFigures()]);
  } catch (error) {
    if (error.status !== 401) say(error.message, true);
  }
});

// ---- tools ----

$("status").value = view.status;
$("search").value = view.search;
$("status").onchange = () => { view.status = $("status").value; view.next = ""; remember(); refresh(); };
let typing = 0;
$("search").oninput = () => {
  clearTimeout(typing);
  typing = setTimeout(() => { view.search = $("search").value.trim(); view.next = ""; remember(); refresh(); }, 200);
};
$("filter").onsubmit = (event) => event.preventDefault();
$("newest").onclick = () => { view.next = ""; remember(); refresh(); };

let sending = null;
$("add").setAttribute("aria-expanded", "false");
$("add").setAttribute("aria-controls", "upload");
function uploadShow(open) {
  $("upload").hidden = !open;
  $("add").setAttribute("aria-expanded", String(open));
  (open ? $("file") : $("add")).focus();
}
$("add").onclick = () => uploadShow($("upload").hidden);
$("upload-cancel").onclick = () => { sending?.abort(); uploadShow(false); };
$("upload").onsubmit = async (event) => {
  event.preventDefault();
  const file = $("file").files[0], submit = $("upload").querySelector("[type=submit]");
  sending = new AbortController();
  submit.disabled = true;
  $("upload-progress").hidden = false;
  $("upload-progress").value = 0;
  $("upload-state").textContent = "Uploading…";
  try {
    const video = await upload(file, { policy: $("policy").value.trim(), priority: $("priority").value }, (percent) => {
      $("upload-progress").value = percent;
      $("upload-state").textContent = percent + " % is there.";
    }, sending.signal);
    $("upload-state").replaceChildren("It is on the farm: ", el("a", { href: "/videos/" + video }, clean(file.name)));
    $("file").value = "";
  } catch (error) {
    $("upload-state").textContent = error.name === "AbortError" ? "Stopped." : error.message;
  }
  submit.disabled = false;
  $("upload-progress").hidden = true;
  refresh();
};

// ---- life ----

let due = 0;
function soon() {
  clearTimeout(due);
  due = setTimeout(refresh, 150);
}
follow(soon);
// Events tell of changes of state; how far a video has come is asked for while one is under way.
setInterval(() => { if (!document.hidden && shown.some((video) => !FINAL.includes(video.status))) refresh(); }, 2000);
// Loads of devices are no events either.
setInterval(() => { if (!document.hidden) loadNodes().catch(() => {}); }, 10000);
setInterval(() => { for (const time of document.querySelectorAll("time")) time.textContent = ago(time.dateTime); }, 30000);
