// The farm's interface: requests, the session that a token begins, and the events as a stream that reconnects.
// The stream is read by fetch: EventSource cannot say why it was refused.
import { $, askToken } from "./ui.js";

export class ApiError extends Error {
  constructor(status, code, message, details) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function failureOf(response) {
  let error = {};
  try { error = (await response.json()).error || {}; } catch { /* not from the farm itself */ }
  return new ApiError(response.status, error.code || "http", error.message || `the farm answered ${response.status}`, error.details);
}

// A token becomes a session: a cookie that scripts cannot read, and that a <video> element sends too.
async function sessionBegin(token) {
  const response = await fetch("/api/v1/session", { method: "POST", headers: { Authorization: "Bearer " + token } });
  if (!response.ok) throw await failureOf(response);
}

async function forgetShow() {
  const response = await fetch("/api/v1/session", { cache: "no-store" });
  if (!response.ok || !(await response.json()).name) return;
  $("forget").hidden = false;
  $("forget").onclick = async () => {
    await fetch("/api/v1/session", { method: "DELETE" });
    location.reload();
  };
}
forgetShow();

// One question at a time, however many requests were refused at once; true when there is a session now.
let asking = null;
function tokenWanted(why) {
  asking ??= (async () => {
    for (let reason = why; ;) {
      const token = await askToken(reason);
      if (!token) return false;
      try {
        await sessionBegin(token);
        forgetShow();
        return true;
      } catch (error) {
        reason = error.message;
      }
    }
  })().finally(() => { asking = null; });
  return asking;
}

// A refused read is tried again when the farm says so; a refused change is for the person to try again.
export async function request(method, path, { body, headers = {}, signal } = {}) {
  for (let tries = 0; ; tries++) {
    let response;
    try {
      response = await fetch(path, { method, body, signal, cache: "no-store", headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "unreachable", "the farm cannot be reached; is sluiced running?");
    }
    if (response.ok) return response;
    const failure = await failureOf(response);
    if (response.status === 401 && (await tokenWanted(failure.message))) continue;
    if (method === "GET" && [429, 503].includes(response.status) && tries < 2) {
      await pause(Math.min(30, Number(response.headers.get("Retry-After")) || 2) * 1000);
      continue;
    }
    throw failure;
  }
}

export const get = async (path, options) => (await request("GET", path, options)).json();
export const post = async (path, value = {}) =>
  (await request("POST", path, { body: JSON.stringify(value), headers: { "Content-Type": "application/json" } })).json();
export const remove = async (path) => (await request("DELETE", path)).json();

export const videoPath = (id, rest = "") => `/api/v1/videos/${encodeURIComponent(id)}${rest}`;

// Where a manifest of the status lies for this page: the farm names the host that the status was asked at.
export const here = (address) => { const url = new URL(address, location.href); return url.pathname + url.search; };

const linkWords = { live: "Live", lost: "Reconnecting…" };
function linkState(state) {
  const place = $("link-state");
  if (!place || place.dataset.state === state) return;
  place.dataset.state = state;
  place.textContent = linkWords[state];
}

function eventsOf(block) {
  const event = { kind: "message", data: "", id: null };
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) event.kind = line.slice(7);
    else if (line.startsWith("data: ")) event.data += line.slice(6);
    else if (line.startsWith("id: ")) event.id = line.slice(4);
  }
  return event;
}

// Calls on(kind, data) for each event, and on("reset") whenever some may have been missed: at first, after a
// gap, and when a hidden tab is looked at again (a hidden one holds no connection).
export function follow(on) {
  let last = null, control = null, running = false;
  async function read() {
    control = new AbortController();
    const response = await request("GET", "/api/v1/events", { signal: control.signal, headers: last ? { "Last-Event-ID": last } : {} });
    linkState("live");
    if (!last) on("reset", {});
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const event of blocks.map(eventsOf)) {
        if (event.id) last = event.id;
        if (event.data) on(event.kind, JSON.parse(event.data));
      }
    }
  }
  async function loop() {
    if (running) return;
    running = true;
    while (!document.hidden) {
      try { await read(); } catch (error) { if (error.status === 401) break; }
      if (document.hidden) break;
      linkState("lost");
      await pause(2000);
    }
    running = false;
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) control?.abort();
    else { last = null; loop(); }
  });
  loop();
}

// Calls work at most once at a time and again when it was asked for meanwhile.
export function single(work) {
  let busy = false, again = false;
  return async function run() {
    if (busy) { again = true; return; }
    busy = true;
    try { do { again = false; await work(); } while (again); } finally { busy = false; }
  };
}
