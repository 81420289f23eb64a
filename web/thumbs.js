// The seek preview: a WebVTT file whose cues name a rectangle of a picture, "sprite-1.jpg#xywh=0,0,160,90".
function seconds(text) {
  const parts = text.trim().split(":").map(Number);
  return parts.reduce((sum, part) => sum * 60 + part, 0);
}

export function parse(text, base) {
  const cues = [];
  for (const block of text.replace(/\r\n?/g, "\n").split(/\n{2,}/)) {
    const lines = block.split("\n"), at = lines.findIndex((line) => line.includes("-->"));
    if (at < 0 || !lines[at + 1]) continue;
    const [from, to] = lines[at].split("-->").map((part) => seconds(part.trim().split(/\s/)[0]));
    const [file, area] = lines[at + 1].trim().split("#xywh=");
    const [x, y, w, h] = (area || "").split(",").map(Number);
    const url = new URL(file, base);
    if (from >= 0 && to > from && w > 0 && h > 0 && url.origin === location.origin) cues.push({ from, to, x, y, w, h, url: url.href });
  }
  return cues;
}

// Resolves to a function that draws the picture of a time into an element, or null where there is none.
export async function thumbnails(address) {
  let cues = [];
  try {
    const response = await fetch(address);
    if (response.ok) cues = parse(await response.text(), new URL(address, location.href));
  } catch { /* a video without thumbnails plays as well */ }
  if (cues.length === 0) return null;
  return function draw(time, tile) {
    const cue = cues.find((one) => time < one.to) || cues[cues.length - 1];
    tile.style.width = cue.w + "px";
    tile.style.height = cue.h + "px";
    tile.style.backgroundImage = `url(${JSON.stringify(cue.url)})`;
    tile.style.backgroundPosition = `-${cue.x}px -${cue.y}px`;
  };
}
