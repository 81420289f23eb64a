// One video's work: its steps, its tasks on a line of time by node, its renditions, what the daemon logged.
import { follow, get, post, remove, single, videoPath } from "./api.js";
import { $, FINAL, badge, bytes, clean, clock, confirmed, el, nameOf, row, say, took } from "./ui.js";

const id = decodeURIComponent(location.pathname.split("/")[2] || "");
// The DAG, by columns: what stands in one column runs side by side.
const COLUMNS = [["probe"], ["plan"], ["transcode", "audio", "subtitles", "images"], ["package"], ["verify"]];
const MARKS = { pending: "○", running: "◔", completed: "✓", failed: "✕", skipped: "–" };
let before = null, stopped = false;

async function act(work, done, after) {
  try {
    await work();
    say(done);
    after?.();
  } catch (error) {
    say(error.message, true);
  }
  refresh();
}

// ---- head ----

function showActions(video) {
  const name = nameOf(video), buttons = [], final = FINAL.includes(video.status);
  if (video.manifests) buttons.push(el("a", { class: "button primary", id: "watch", href: "/watch/" + video.video_id }, "Watch"));
  if (!final)
    buttons.push(el("button", { type: "button", id: "cancel", onclick: async () => {
      if (await confirmed(`Cancel “${name}”?`, "Running work stops. A retry takes it up again where it stood.", "Cancel the video"))
        act(() => post(videoPath(id, "/cancel")), "Cancelled.");
    } }, "Cancel"));
  if (final)
    buttons.push(el("button", { type: "button", id: "retry", onclick: async () => {
      const again = video.status === "ready";
      if (await confirmed(again ? `Make “${name}” anew?` : `Retry “${name}”?`,
        again ? "A new version is made from the original; this one plays until it is there." : "What is done stays; the rest is tried again.", again ? "Make it anew" : "Retry"))
        act(() => post(videoPath(id, "/retry"), again ? { from: "probe" } : {}), "It is queued again.");
    } }, video.status === "ready" ? "Make anew" : "Retry"));
  buttons.push(el("button", { type: "button", id: "delete", class: "danger", onclick: async () => {
    if (await confirmed(`Delete “${name}”?`, "What was published goes away now. The original is kept on the farm's disk.", "Delete"))
      act(() => remove(videoPath(id)), "Deleted; the original is kept.", () => { stopped = true; location.href = "/"; });
  } }, "Delete"));
  const place = $("actions"), focus = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.replaceChildren(...buttons);
  if (focus) $(focus)?.focus();
}

function factsOf(video) {
  const source = video.source, facts = [video.video_id, `policy ${clean(video.policy)}`, `priority ${video.priority}`];
  if (source.duration_seconds !== null) {
    facts.push(clock(source.duration_seconds));
    if (source.width) facts.push(`${source.width}×${source.height}`, clean(source.codec), `${source.frames} frames`);
  }
  if (video.created_at) facts.push("added " + new Date(video.created_at).toLocaleString());
  if (video.started_at && video.completed_at) facts.push("took " + took((Date.parse(video.completed_at) - Date.parse(video.started_at)) / 1000));
  return facts.join(" · ");
}

function showHead(video) {
  document.title = nameOf(video) + " · sluice";
  $("title").textContent = nameOf(video);
  $("badge").replaceChildren(badge(video.status));
  $("facts").textContent = factsOf(video);
  const transcode = video.pipeline_progress.transcode, percent = video.status === "ready" ? 100 : transcode.percent;
  $("overall").value = percent;
  const left = (Date.parse(video.estimated_completion) - Date.now()) / 1000;
  $("overall-text").textContent = [transcode.total ? `${transcode.completed} of ${transcode.total} chunks` : "",
    video.status !== "ready" && video.playable_seconds > 0 ? `${clock(video.playable_seconds)} playable` : "",
    left > 0 ? `about ${took(left)} left` : ""].filter(Boolean).join(" · ");
  const error = video.error;
  $("error").hidden = !error;
  if (error) {
    const text = `${error.step} failed (${error.class}, ${error.code}): ${clean(error.message)}`;
    if ($("error").textContent !== text) $("error").textContent = text;
  }
  if (before && before !== video.status) $("news").textContent = `${nameOf(video)} is ${video.status}`;
  before = video.status;
}

// ---- steps ----

function stepBox(video, step) {
  const progress = video.pipeline_progress[step], counted = step === "transcode";
  let word = progress;
  if (counted) {
    const error = video.error && video.error.step === step;
    word = error ? "failed" : video.status === "ready" || (progress.total && progress.completed === progress.total) ? "completed" : progress.total ? "running" : "pending";
  }
  return el("div", { class: "step p-" + word },
    el("span", { class: "mark", "aria-hidden": "true" }, MARKS[word] || ""), el("span", { class: "step-name" }, step),
    el("span", { class: "step-state" }, counted && progress.total ? `${progress.completed} of ${progress.total}, ${word}` : word),
    counted && progress.total ? el("progress", { max: 100, value: progress.percent, "aria-label": "Chunks encoded" }) : null);
}

function showSteps(video) {
  $("dag").replaceChildren(...COLUMNS.map((column) => el("li", {}, ...column.filter((step) => video.pipeline_progress[step] !== undefined).map((step) => stepBox(video, step)))));
}

// ---- tasks ----

const pieceName = (task) => `${task.step} ${task.piece}`;

// Tasks of a node one below the other where they overlap.
function lanes(tasks, now) {
  const ends = [], placed = [];
  for (const task of [...tasks].sort((a, b) => a.from - b.from)) {
    task.to = task.finished ?? (task.state === "running" ? now : task.from);
    let lane = ends.findIndex((end) => end <= task.from);
    if (lane < 0) lane = ends.push(0) - 1;
    ends[lane] = task.to;
    placed.push([task, lane]);
  }
  return { placed, count: ends.length };
}

function bar(task, lane, from, span) {
  const what = `${pieceName(task)}, ${task.state}, ${took((task.to - task.from) / 1000)}`;
  const box = el("div", { class: `span k-${task.step} t-${task.state}`, title: `${task.task_id}: ${what}` }, String(task.piece));
  box.style.left = `${((task.from - from) * 100) / span}%`;
  box.style.width = `max(3px, ${((task.to - task.from) * 100) / span}%)`;
  box.style.top = `${lane * 20 + 2}px`;
  return box;
}

function showTasks(tasks) {
  const now = Date.now();
  for (const task of tasks) {
    task.from = task.started_at ? Date.parse(task.started_at) : null;
    task.finished = task.finished_at ? Date.parse(task.finished_at) : null;
    task.where = clean(task.node) || "";
  }
  const drawn = tasks.filter((task) => task.from && task.where && (task.finished || task.state === "running"));
  $("timeline-section").hidden = tasks.length === 0;
  const from = Math.min(...drawn.map((task) => task.from)), end = Math.max(...drawn.map((task) => task.finished ?? now));
  const span = Math.max(1, end - from), nodes = [...new Set(drawn.map((task) => task.where))].sort();
  const lines = nodes.map((node) => {
    const { placed, count } = lanes(drawn.filter((task) => task.where === node), now);
    const track = el("div", { class: "track" }, ...placed.map(([task, lane]) => bar(task, lane, from, span)));
    track.style.height = `${count * 20 + 4}px`;
    track.setAttribute("role", "img");
    track.setAttribute("aria-label", `${node}: ${placed.length} tasks over ${took(span / 1000)}; the table below lists them`);
    return el("div", { class: "line" }, el("div", { class: "line-name" }, node), track);
  });
  const marks = [0, 0.25, 0.5, 0.75, 1].map((part) => el("span", {}, took((span * part) / 1000)));
  $("timeline").replaceChildren(...lines, drawn.length ? el("div", { class: "line axis", "aria-hidden": "true" }, el("div", { class: "line-name" }), el("div", { class: "marks" }, ...marks)) : "Nothing has started yet.");
  if (!$("tasks-details").open) return;
  const titles = ["Task", "Step", "Piece", "State", "Node", "Started", "Took", "Attempts"];
  $("tasks").replaceChildren(...tasks.map((task) => row(titles, [task.task_id, task.step, String(task.piece),
    [badge(task.state), task.error ? el("span", { class: "id" }, clean(task.error.message)) : null], task.where,
    task.from ? new Date(task.from).toLocaleTimeString() : "", task.from && (task.finished || task.state === "running") ? took(((task.finished ?? now) - task.from) / 1000) : "", String(task.attempts)])));
}

// ---- renditions, log ----

function showRenditions(video) {
  const titles = ["Name", "Codec", "Size", "Frames", "Bitrate", "Bytes", "Encoder"];
  $("renditions-section").hidden = video.renditions.length === 0;
  $("renditions").replaceChildren(...video.renditions.map((one) => row(titles, [clean(one.name), one.codec, one.width ? `${one.width}×${one.height}` : "", one.frames ? String(one.frames) : "",
    `${one.bitrate_kbps} kbit/s`, bytes(one.bytes), [clean(one.encoder), " ", ...one.devices.map((device) => el("span", { class: "id" }, clean(device)))]])));
}

function showLog(lines) {
  const box = $("log"), atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
  box.replaceChildren(...lines.map((line) => el("p", { class: "l-" + line.level }, el("time", { datetime: line.time }, new Date(line.time).toLocaleTimeString()), " ",
    el("span", { class: "level" }, line.level), " ", line.task_id ? el("span", { class: "id" }, line.task_id + " ") : null, clean(line.message))));
  if (lines.length === 0) box.textContent = "The daemon has no line about this video in memory.";
  if (atEnd) box.scrollTop = box.scrollHeight;
}

// ---- life ----

const refresh = single(async () => {
  if (stopped) return;
  try {
    const [video, { tasks }, log, why] = await Promise.all([get(videoPath(id, "/status")), get(videoPath(id, "/tasks")), get(videoPath(id, "/log")),
      get("/api/v1/explain/" + encodeURIComponent(id))]);
    showHead(video);
    showActions(video);
    showSteps(video);
    showTasks(tasks);
    showRenditions(video);
    showLog(log.lines);
    $("log-note").textContent = `The newest lines of the daemon about this video, kept until it restarts. Agents and workers write theirs to their own logs: search those for ${video.video_id}.`;
    const reasons = video.status === "ready" || video.status === "failed" ? [] : why.reasons;
    $("reasons").hidden = reasons.length === 0;
    $("reasons").replaceChildren(...reasons.map((reason) => el("li", {}, clean(reason))));
  } catch (error) {
    if (error.status === 401) return;
    if (error.status !== 404) return say(error.message, true);
    stopped = true;
    $("title").textContent = "No such video";
    $("error").hidden = false;
    $("error").textContent = error.message;
  }
});

$("tasks-details").addEventListener("toggle", () => refresh());
let due = 0;
follow((kind, data) => {
  if (kind === "video" && data.video_id !== id) return;
  clearTimeout(due);
  due = setTimeout(refresh, 100);
});
setInterval(() => { if (!document.hidden && before && !FINAL.includes(before)) refresh(); }, 1500);
