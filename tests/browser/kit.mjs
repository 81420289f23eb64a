// What every browser test needs: Chromium, the farm's interface, and a list of tests that is added up.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.env.SLUICE_NPM + "/");
export const { chromium } = require("playwright-core");
export const FARM = process.env.SLUICE_FARM;
export const packaged = (file) => readFileSync(`${process.env.SLUICE_NPM}/node_modules/${file}`, "utf8");

// Nothing but this machine is reachable, whatever a page or the browser itself may want.
export function launch() {
  return chromium.launch({
    executablePath: process.env.SLUICE_CHROMIUM || "/usr/bin/chromium",
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
      "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--mute-audio", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
  });
}

const tests = [];
export const test = (name, work) => tests.push([name, work]);

class Skip extends Error {}
export const skip = (reason) => { throw new Skip(reason); };

// Prints one line per test as tests/runner.py reads them, and the sum.
export async function main() {
  const sum = { passed: 0, failed: 0, skipped: 0 }, only = process.env.SLUICE_ONLY;
  const browser = await launch();
  for (const [name, work] of tests.filter(([one]) => !only || one.includes(only))) {
    const began = Date.now();
    try {
      await work(browser);
      sum.passed++;
      console.log(`${name} ... ok ${((Date.now() - began) / 1000).toFixed(1)} s`);
    } catch (error) {
      if (error instanceof Skip) {
        sum.skipped++;
        console.log(`SKIPPED ${name}: ${error.message}`);
        continue;
      }
      sum.failed++;
      console.log(`${error.stack || error}\nFAILED ${name}`);
    }
  }
  await browser.close();
  console.log(`SUM ${sum.passed} ${sum.failed} ${sum.skipped}`);
}

export function check(condition, what) {
  if (!condition) throw new Error(what);
}

export function equal(found, wanted, what) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  check(a === b, `${what}: ${a}, not ${b}`);
}

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export async function until(claim, seconds, what) {
  for (const end = Date.now() + seconds * 1000; ;) {
    const value = await claim();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await pause(100);
  }
}

// ---- the farm ----

export async function api(method, path, body) {
  const response = await fetch(FARM + path, { method, body: body === undefined ? undefined : JSON.stringify(body) });
  const value = await response.json().catch(() => null);
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(value)}`);
  return value;
}

export const statusOf = (video) => api("GET", `/api/v1/videos/${video}/status`);
export const submit = async (path, policy, more = {}) => (await api("POST", "/api/v1/videos", { path, policy, ...more })).video_id;

export async function ready(video, seconds = 180) {
  return until(async () => {
    const status = await statusOf(video);
    check(status.status !== "failed", `${video} failed: ${JSON.stringify(status.error)}`);
    return status.status === "ready" && status;
  }, seconds, `${video} is ready`);
}

// A page that fails the test when its script throws or its content policy is broken.
export async function pageOf(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
  const page = await context.newPage();
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("console", (message) => { if (/Content Security Policy|Refused to/.test(message.text())) page.faults.push(message.text()); });
  page.done = async () => {
    await context.close();
    equal(page.faults, [], "what the page complained about");
  };
  return page;
}
