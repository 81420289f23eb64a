// Submits a video, watches it on the farm's own page, and says in JSON when the first picture was shown and when the
// video was ready, in seconds after the submission.
import { FARM, launch, statusOf, submit, until } from "../tests/browser/kit.mjs";

const browser = await launch(), page = await (await browser.newContext()).newPage();
await page.addInitScript(() => {
  document.addEventListener("DOMContentLoaded", () => document.querySelector("video")?.requestVideoFrameCallback(() => { window.shown = Date.now(); }));
});
const begun = Date.now(), video = await submit(process.env.SLUICE_CLIP, process.env.SLUICE_POLICY || undefined);
await page.goto(FARM + "/watch/" + video);
const shown = await until(() => page.evaluate(() => window.shown), 600, "a picture is shown");
await page.evaluate(() => window.player.stopLoad());
await until(async () => ["ready", "failed"].includes((await statusOf(video)).status), 1200, "it is ready");
const { status, completed_at: completed } = await statusOf(video);
await browser.close();
if (status !== "ready") throw new Error(`the video is ${status}`);
console.log(JSON.stringify({ first_frame_s: (shown - begun) / 1000, ready_s: (Date.parse(completed) - begun) / 1000 }));
