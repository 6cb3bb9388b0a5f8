// The acceptance checks of the console, by their number.
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { env } from "node:process";
import { entitle, freehold, license, owner } from "./appliance.mjs";
import { accessible, crawl, fits } from "./crawl.mjs";
import { check, chromium, password, said, scripts } from "./visitor.mjs";

// weight is what a page has cost, which is bounded.
async function weight(v, path) {
  const loads = v.requests.splice(0);
  let bytes = 0;
  for (const r of loads.filter((r) => !new URL(r.url()).pathname.startsWith("/live/"))) bytes += (await r.response()?.buffer().catch(() => ""))?.length ?? 0;
  return { path, bytes, requests: loads.filter((r) => r.redirectChain().length === 0).length };
}

// begun is what checks 19 and 20 have in common: from the first page to the first license, with all that is said on the way, and lists with more rows than a page has.
async function begun(v) {
  await v.page.setCacheEnabled(false);
  await v.goto("/sign-in");
  const first = await weight(v, "/sign-in");
  said(`first page: ${first.requests} requests, ${first.bytes} bytes`);
  check(first.requests <= 6 && first.bytes <= 100_000 && first.bytes > 1000, "a light first page");
  await v.shot("sign-in");

  // The first login, which gives itself what a small site needs.
  await v.press("Make the first login");
  await v.send("Make the first login", { code: "AAAA-AAAA", name: "keller", password, again: password });
  await v.reads("LH-4306");
  await owner(v);

  // A request is fetched, answered at the back office, and its response is put in force.
  await v.goto("/offline");
  const id = entitle("Studio", 40, "render:2026.1", ...Array.from({ length: 59 }, (_, n) => `scene-${n + 1}`));
  await v.send("Download", { id, count: "40" }, "Activation ID");
  await v.reads("is written", "waiting for an answer");
  const out = join(env.SCRATCH, "answers");
  mkdirSync(out);
  freehold("respond", await v.download("Download REQ-0001.LHQ"), "-o", out);
  const response = join(out, readdirSync(out, { recursive: true }).find((f) => f.endsWith(".LHR")));
  await v.send("Upload", { file: response });
  await v.reads("LH-2201", "render: 0 before, 40 now", "answered", "in force");
  await v.shot("applied");
  await v.send("Upload", { file: response });
  await v.reads("LH-2202");
  execFileSync(join(env.PROGRAMS, "leasehold"), ["acquire", "render", "--user", "j.ortiz", "--server", new URL(env.PORTAL).host, "--trust", env.TRUST, "--dir", join(env.SCRATCH, "client")], { stdio: "ignore" });

  // Lists are paged, and searched as somebody types, without scripts by the button.
  await v.goto("/features/details");
  await v.reads("Total number of records: 60, 1 to 50 here");
  await v.click(await v.page.$('a[aria-label="Page 2"]'));
  await v.reads("51 to 60 here");
  await v.goto("/features/details");
  await v.type(await v.page.$('main [name="q"]'), "rend");
  if (scripts) {
    await v.page.waitForFunction(() => document.body.innerText.includes("Total number of records: 1 found of 60"));
  } else {
    await v.press("Search");
    await v.reads("Total number of records: 1 found of 60");
  }
}

// registered uploads a client's key: what is no public key is refused by its name, and the file of one is registered.
async function registered(v) {
  const client = generateKeyPairSync("rsa", { modulusLength: 2048 }), kept = join(env.SCRATCH, "client.der");
  await v.goto("/keys");
  for (const [code, content] of [
    ["LH-3331", client.publicKey.export({ type: "spki", format: "pem" })], ["LH-3332", client.privateKey.export({ type: "pkcs8", format: "der" })],
    ["LH-3333", generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey.export({ type: "spki", format: "der" })], ["LH-3335", "no key"],
  ]) {
    writeFileSync(kept, content);
    await v.send("Upload", { file: kept, name: "WS-1" });
    await v.reads(code, "No client key is registered");
  }
  writeFileSync(kept, client.publicKey.export({ type: "spki", format: "der" }));
  await v.send("Upload", { file: kept, name: "WS-1" });
  await v.reads("The RSA-2048 key", "is registered", "Total number of records: 1");
  await v.shot("keys");
  await v.click(await v.page.$('button[aria-label="Remove WS-1"]'));
  await v.reads("is not registered any more");
}

// Check 19: nothing from elsewhere, a policy without unsafe-* and an empty console on every page, of which each is light. That the visitor sees to; here every page is visited. In Chromium all are readable with
// aids as well, in dark and in light, small and large.
export async function check19(v) {
  await begun(v);
  await v.goto("/users");
  await v.send("Make the login", { name: "viewer", password, again: password });
  await v.reads("viewer can sign in now");
  for (const box of await v.page.$$('main [name="role"]')) {
    if (await box.evaluate((b) => b.value === "viewer")) await box.click();
  }
  await v.press("Set the roles");
  await reserve(v);
  await registered(v);

  const faults = [];
  let heaviest = { bytes: 0 }, axed = 0;
  const looked = (v) => async (path, answer) => {
    try {
      check(answer.status() === (path === "/nowhere" ? 404 : 200), `${path}, not status ${answer.status()}`);
      await v.shot(path.replace(/[^a-z]+/gi, "-").replace(/^-|-$/g, "").slice(0, 40) || "first");
      const w = await weight(v, path);
      if (w.bytes > heaviest.bytes) heaviest = w;
      if (w.bytes > 100_000 || w.requests > 6) faults.push(`${path} is ${w.bytes} bytes in ${w.requests} requests`);
      if (!chromium || v.who) return; // what a viewer sees is some of what was seen
      await accessible(v);
      axed++;
      await fits(v, 0.8, 1, 2);
      await v.page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
      await accessible(v, ["color-contrast"]);
      await v.page.emulateMediaFeatures([]);
    } catch (e) {
      faults.push(`${v.who}${e.message}`);
    }
  };
  v.requests.splice(0);
  const all = await crawl(v, looked(v), "/overview", "/nowhere");
  said(`keller: ${all.length} pages: ${all.join(" ")}`);
  const viewer = await v.another("viewer");
  await viewer.page.setCacheEnabled(false);
  await viewer.goto("/sign-in");
  await viewer.send("Login", { name: "viewer", password });
  viewer.requests.splice(0);
  const some = await crawl(viewer, looked(viewer), "/overview");
  said(`viewer: ${some.length} pages`);
  check(!some.includes("/users") && !some.includes("/audit"), "a viewer who sees no logins and no audit");
  if (chromium) said(`${axed} pages without a serious or critical finding`);
  said(`the heaviest is ${heaviest.path} with ${heaviest.bytes} bytes in ${heaviest.requests} requests`);
  check(faults.length === 0, `${faults.length} faults:\n${[...new Set(faults)].join("\n")}`);
  await v.press("Sign out");
  await v.goto("/overview");
  await v.reads("User Name");
}

// Check 20: without scripts lists, search, paging, upload, download and release work.
export async function check20(v) {
  await begun(v);
  await reserve(v);
  await reedit(v);
  await registered(v);
  await v.goto("/seats");
  await v.reads("j.ortiz", "Total number of records: 1");
  await v.send("Free", { reason: "gone home" });
  await v.reads("is not renewed any more", "dropped, not renewed");
  await v.shot("freed");
  await v.press("Sign out");
  await v.goto("/overview");
  await v.reads("User Name");
}

// Check 22: among 10,000 features the rows narrow as somebody types.
export async function check22(v) {
  await v.goto("/features/details");
  await v.reads("Total number of records: 10000, 1 to 50 here");
  const field = await v.page.$('main [name="q"]');
  const count = () => v.page.$eval("#list p", (p) => p.innerText);
  const told = async (words) => { await v.page.waitForFunction((words) => document.querySelector("#list p").innerText.includes(words), {}, words); };
  const times = [];
  for (const [letter, words] of [["r", "10000, 1 to"], ["e", "10000, 1 to"], ["n", "100 found of 10000"], ["d", "100 found of 10000"], ["e", "100 found of 10000"], ["r", "100 found of 10000"], ["-", "100 found of 10000"], ["0", "100 found of 10000"], ["4", "10 found of 10000"], ["2", "1 found of 10000"]]) {
    const swapped = v.page.evaluate(() => new Promise((done) => {
      const began = performance.now();
      const watch = new MutationObserver(() => { watch.disconnect(); done(performance.now() - began); });
      watch.observe(document.querySelector("main"), { childList: true });
    }));
    await field.type(letter);
    times.push(await swapped);
    await told(words);
  }
  check((await v.page.$$("#list tbody tr")).length === 1, "one row, and not " + await count());
  check(await field.evaluate((f) => f.value === "render-042" && f === document.activeElement), "the field as it was typed into");
  await v.shot("narrowed");
  times.sort((a, b) => a - b);
  said(`rows among 10,000 are there ${Math.round(times[times.length >> 1])} ms after a key at the median, with the 200 ms that are waited for the next one`);
}

// Check 24: 31 minutes after the page was opened Save asks to sign in, and what was typed is still there.
export async function check24(v) {
  await v.goto("/sign-in");
  await v.send("Login", { name: env.NAME, password: env.PASSWORD });
  await v.goto(env.PAGE);
  await fetch(env.HAND); // the clock goes on
  const typed = { device: "eve", count: "7" };
  const refused = await v.send("Save", typed);
  check(refused.status() === 401, "a login that is asked for, not status " + refused.status());
  await v.reads("the session has ended", "User Name");
  await v.shot("login-asked");
  await v.send("Login", { name: env.NAME, password: env.PASSWORD });
  await v.reads("save it again");
  for (const [name, value] of Object.entries(typed)) check(await v.page.$eval(`main [name="${name}"]`, (f) => f.value) === value, `"${value}" still typed`);
  await v.shot("still-there");
  await v.send("Save", {});
  await v.reads("The reservation is changed");
}

// Check 23: a reservation in a group is edited in place, and the import of what was just exported changes nothing.
export async function check23(v) {
  await owner(v);
  await license(v, [entitle("Render Pro", 40, "render:2026.1")]);
  await reserve(v);
  await reedit(v);
}

// reserve collects two reservations and submits them.
async function reserve(v) {
  await v.goto("/reservations");
  await v.press("Add");
  await v.send("Add", { group: "Design", device: "j.ortiz", type: "USER", feature: "render", version: "2026.1", count: "4" });
  await v.send("Add", { device: "m.chen", feature: "render", version: "2026.1", count: "100" });
  await v.reads("j.ortiz", "m.chen");
  await v.shot("pending");
  await v.press("Submit");
  await v.reads("Reserved: 2 entries", "satisfied", "unsatisfied");
}

// reedit changes one of them in place, imports what it exports, deletes the other one, and brings it back.
async function reedit(v) {
  const rows = () => v.page.$$eval("#list tbody tr", (list) => list.map((r) => r.innerText));
  await v.click(await v.page.$('a[aria-label="Edit render for j.ortiz in Design"]'));
  await v.send("Save", { count: "5" });
  await v.reads("The reservation is changed");
  const before = await rows();
  check(before.length === 2 && before.some((r) => /j\.ortiz.*Design.*\b5\b/s.test(r)) && before.some((r) => /m\.chen.*Design.*\b100\b/s.test(r)), "one entry changed, and the other in its place:\n" + before.join("\n"));
  await v.shot("edited");

  const exported = await v.download("Export");
  await v.send("Import", { file: exported });
  await v.reads("2 reservation entries are in force");
  check(JSON.stringify(await rows()) === JSON.stringify(before), "the same entries after the import:\n" + (await rows()).join("\n"));
  check(readFileSync(await v.download("Export"), "utf8") === readFileSync(exported, "utf8"), "the same export after the import");

  await v.click(await v.page.$('a[aria-label="Delete render for m.chen in Design"]'));
  await v.reads("Pending Deletions");
  await v.press("Submit");
  await v.reads("It can be undone until");
  await v.click(await v.page.$('form[action="/reservations/undo"] button'));
  await v.reads("Reserved again: 1 entry");
  await v.shot("reservations");
}
