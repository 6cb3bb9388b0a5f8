// The console of an appliance: from the first login to the first license, and then every view there is.
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { env } from "node:process";
import { accessible, crawl, fits } from "./crawl.mjs";
import { check, password, said, scripts } from "./visitor.mjs";

export function freehold(...args) {
  return execFileSync(join(env.PROGRAMS, "freehold"), [...args, "--dir", env.OFFICE, "--passphrase-file", env.SECRET], { encoding: "utf8", stdio: "pipe" });
}

// weight is what a page has cost, which is bounded.
async function weight(v, path) {
  const loads = v.requests.splice(0);
  let bytes = 0;
  for (const r of loads) bytes += (await r.response()?.buffer().catch(() => ""))?.length ?? 0;
  return { path, bytes, requests: loads.filter((r) => r.redirectChain().length === 0).length };
}

// owner makes the first login, and gives it what else it takes to run a small site.
export async function owner(v) {
  await v.goto("/first");
  await v.send("Make the first login", { code: env.CODE, name: "keller", password, again: password });
  await v.reads("You are the first login");
  await v.shot("users");
  await v.press("keller", "enabled");
  for (const box of await v.page.$$('main [name="role"]')) {
    if (await box.evaluate((b) => b.value === "license administrator")) await box.click();
  }
  await v.press("Set the roles");
  await v.reads("The roles are set");
}

// license has a request for these activation IDs answered at the back office, and puts the response in force.
export async function license(v, ids) {
  await v.goto("/offline");
  for (const [n, id] of ids.entries()) {
    if (n > 0) await v.press("+", "Activation ID");
    const fields = await v.page.$$('main form[action="/offline/request"] [name="id"]'), counts = await v.page.$$('main form[action="/offline/request"] [name="count"]');
    await v.type(fields[n], id);
    await v.type(counts[n], "5");
  }
  await v.press("Download", "Activation ID");
  await v.reads("is written");
  const file = await v.download("Download REQ-0001.LHQ");
  const out = join(env.SCRATCH, "answers");
  mkdirSync(out);
  freehold("respond", file, "-o", out);
  await v.send("Upload", { file: join(out, readdirSync(out, { recursive: true }).find((f) => f.endsWith(".LHR"))) });
  await v.reads("LH-2201");
}

// pc is the console through the program of another machine.
export async function pc(v) {
  await owner(v);
  await v.page.reload({ waitUntil: "load" });
  await v.reads("keller", "Sign out");
  await v.goto("/settings");
  await v.send("Save", { size: "25" });
  await v.goto("/settings");
  check(await v.page.$eval('main [name="size"]', (f) => f.value) === "25", "what was saved");
  await v.shot("settings");
  await v.press("Sign out");
  await v.goto("/overview");
  await v.reads("User Name");
}

export async function appliance(v) {
  await v.page.setCacheEnabled(false);
  await v.goto("/sign-in");
  const first = await weight(v, "/sign-in");
  said(`first page: ${first.requests} requests, ${first.bytes} bytes`);
  check(first.requests <= 6 && first.bytes <= 100_000, "a light first page");
  await v.shot("sign-in");

  // The first login, which gives itself what a small site needs.
  await v.press("Make the first login");
  await v.send("Make the first login", { code: "AAAA-AAAA", name: "keller", password, again: password });
  await v.reads("LH-4306");
  await owner(v);
  await v.goto("/users");
  await v.send("Make the login", { name: "viewer", password, again: password });
  await v.reads("viewer can sign in now");
  for (const box of await v.page.$$('main [name="role"]')) {
    if (await box.evaluate((b) => b.value === "viewer")) await box.click();
  }
  await v.press("Set the roles");

  // A request is fetched, answered at the back office, and its response is put in force.
  await v.goto("/offline");
  const sold = freehold("entitle", "--customer", "ACME Works", "--product", "Render Pro", "--feature", "render:2026.1", "--count", "40");
  const wanted = sold.match(/\bACT\S+|\b[0-9A-Z]{4,6}(?:-[0-9A-Z]{4,6}){2,}/);
  check(wanted, "an activation ID in " + sold);
  await v.send("Download", { id: wanted[0], count: "40" }, "Activation ID");
  await v.reads("is written", "waiting for an answer");
  const file = await v.download("Download REQ-0001.LHQ");
  const out = join(env.SCRATCH, "answers-" + env.SCRIPTS);
  mkdirSync(out);
  freehold("respond", file, "-o", out);
  const response = readdirSync(out, { recursive: true }).find((f) => f.endsWith(".LHR"));
  check(response, "a response");
  await v.send("Upload", { file: join(out, response) });
  await v.reads("LH-2201", "render: 0 before, 40 now", "answered", "in force");
  await v.shot("applied");
  await v.send("Upload", { file: join(out, response) });
  await v.reads("LH-2202");

  // Lists are searched as somebody types, and without scripts by the button.
  await v.goto("/features/details");
  await v.reads("render", "Render Pro");
  await v.type(await v.page.$('main [name="q"]'), "nothing of this name");
  if (scripts) {
    await v.page.waitForFunction(() => document.body.innerText.includes("0 found of 1"));
  } else {
    await v.press("Search");
    await v.reads("0 found of 1");
  }
  await v.goto("/features/details?q=rend");
  await v.reads("Total number of records: 1");

  // Reservations: collected, submitted, edited in place, deleted, brought back.
  await v.goto("/reservations");
  await v.press("Add");
  await v.send("Add", { group: "Design", device: "j.ortiz", type: "USER", feature: "render", version: "2026.1", count: "4" });
  await v.send("Add", { device: "m.chen", feature: "render", version: "2026.1", count: "100" });
  await v.reads("j.ortiz", "m.chen");
  await v.shot("pending");
  await v.press("Submit");
  await v.reads("Reserved: 2 entries", "satisfied", "unsatisfied");
  await v.click(await v.page.$('a[aria-label="Edit render for j.ortiz in Design"]'));
  await v.send("Save", { count: "5" });
  await v.reads("The reservation is changed");
  await v.click(await v.page.$('a[aria-label="Delete render for m.chen in Design"]'));
  await v.reads("Pending Deletions");
  await v.press("Submit");
  await v.reads("It can be undone until");
  const undo = await v.page.$('form[action="/reservations/undo"] button');
  await v.click(undo);
  await v.reads("Reserved again: 1 entry");
  await v.shot("reservations");

  // A client's key: what is no public key is refused by its name, and the file of one is registered.
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

  // Every page: light, readable with aids, in dark and in light, small and large.
  const faults = [];
  let heaviest = { bytes: 0 }, axed = 0;
  const looked = (v) => async (path, answer) => {
    try {
      check(answer.status() === (path === "/nowhere" ? 404 : 200), `${path}, not status ${answer.status()}`);
      await v.shot(path.replace(/[^a-z]+/gi, "-").replace(/^-|-$/g, "").slice(0, 40) || "first");
      const w = await weight(v, path);
      if (w.bytes > heaviest.bytes) heaviest = w;
      if (w.bytes > 100_000 || w.requests > 6) faults.push(`${path} is ${w.bytes} bytes in ${w.requests} requests`);
      if (!scripts) return; // the markup is the same
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
  if (scripts) said(`${axed} pages without a serious or critical finding`);
  said(`the heaviest is ${heaviest.path} with ${heaviest.bytes} bytes in ${heaviest.requests} requests`);
  check(faults.length === 0, `${faults.length} faults:\n${[...new Set(faults)].join("\n")}`);
  await v.press("Sign out");
  await v.goto("/overview");
  await v.reads("User Name");
}
