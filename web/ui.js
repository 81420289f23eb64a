// Small pieces that all pages share. Every text reaches the page as a text node, so that a hostile name or
// message stays a text.

export const $ = (id) => document.getElementById(id);

// el("a", {href: "/", class: "x", onclick: f}, "text", child, …)
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M6 5h4v14H6zM14 5h4v14h-4z",
  sound: "M4 9v6h4l5 5V4L8 9zM16 8.5a4.5 4.5 0 0 1 0 7M18.5 6a8 8 0 0 1 0 12",
  silent: "M4 9v6h4l5 5V4L8 9zM16 9l6 6M22 9l-6 6",
  full: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon icon-" + name);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

export const FINAL = ["ready", "failed", "cancelled"];

// A name may hold control characters and marks that turn the writing direction; none of them helps a reader.
export function clean(text) {
  return String(text ?? "").replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, "\u00b7");
}

export const nameOf = (video) => clean(video.name) || video.video_id;

export const badge = (word) => el("span", { class: "badge s-" + word }, word);

export function progress(percent, label) {
  return el("progress", { max: 100, value: percent, "aria-label": label }, percent + " %");
}

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60, s = String(whole % 60).padStart(2, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
}

export function took(seconds) {
  if (!(seconds >= 0)) return "";
  if (seconds < 1) return Math.round(seconds * 1000) + " ms";
  if (seconds < 60) return seconds.toFixed(1) + " s";
  return Math.floor(seconds / 60) + " min " + Math.round(seconds % 60) + " s";
}

export function bytes(count) {
  if (!(count > 0)) return "0";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(count) / 3));
  return (count / 1000 ** power).toFixed(power ? 1 : 0) + " " + units[power];
}

export function ago(text) {
  if (!text) return "";
  const seconds = (Date.now() - Date.parse(text)) / 1000;
  if (seconds < 60) return "just now";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min ago";
  if (seconds < 86400) return Math.floor(seconds / 3600) + " h ago";
  return new Date(text).toLocaleDateString();
}

export function when(text) {
  return el("time", { datetime: text || "", title: text ? new Date(text).toLocaleString() : "" }, ago(text));
}

// Each cell knows its column's title, which is shown beside it on a narrow screen.
export function row(titles, cells, attributes = {}) {
  const tr = el("tr", attributes);
  cells.forEach((cell, i) => {
    const content = Array.isArray(cell) ? cell : [cell];
    tr.append(i === 0 ? el("th", { scope: "row" }, ...content) : el("td", { "data-title": titles[i] }, ...content));
  });
  return tr;
}

// Replaces rows while the one with the focus keeps it: found again by the id of what had it.
export function fill(parent, children) {
  const had = parent.contains(document.activeElement) ? document.activeElement.id : "";
  parent.replaceChildren(...children);
  if (had) $(had)?.focus();
}

function dialog(build) {
  return new Promise((done) => {
    const box = el("dialog", { class: "panel" });
    const end = (value) => { box.close(); box.remove(); done(value); };
    box.addEventListener("cancel", (event) => { event.preventDefault(); end(null); });
    build(box, end);
    document.body.append(box);
    box.showModal();
  });
}

export function confirmed(question, detail, action) {
  return dialog((box, end) => {
    const title = el("h2", { id: "dialog-title" }, question);
    box.setAttribute("aria-labelledby", "dialog-title");
    const form = el("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); end(true); } },
      title, el("p", {}, detail),
      el("div", { class: "row end" },
        el("button", { type: "button", onclick: () => end(false), autofocus: true }, "Keep as it is"),
        el("button", { type: "submit", class: "danger" }, action)));
    box.append(form);
  });
}

export function askToken(why) {
  return dialog((box, end) => {
    box.setAttribute("aria-labelledby", "dialog-title");
    const input = el("input", { type: "password", id: "token", autocomplete: "off", required: true, spellcheck: "false" });
    box.append(el("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); end(input.value.trim()); } },
      el("h2", { id: "dialog-title" }, "This farm asks for a token"),
      el("p", {}, why),
      el("label", { class: "field", for: "token" }, "Token", input),
      el("p", { class: "muted" }, "It is exchanged for a session of this browser and not kept."),
      el("div", { class: "row end" }, el("button", { type: "button", onclick: () => end(null) }, "Not now"),
        el("button", { type: "submit", class: "primary" }, "Use it"))));
  });
}

// A sentence at the foot of the page for a while; an error stays until it is closed.
export function say(text, bad = false) {
  $("toast")?.remove();
  const box = el("div", { id: "toast", class: bad ? "toast bad" : "toast", role: bad ? "alert" : "status" }, el("span", {}, text),
    el("button", { type: "button", class: "quiet", "aria-label": "Close this message", onclick: () => box.remove() }, "×"));
  document.body.append(box);
  if (!bad) setTimeout(() => box.remove(), 6000);
}
