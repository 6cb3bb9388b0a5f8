// What walks through the console of an appliance begin with: the first login, and the first license.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { env } from "node:process";
import { check, password } from "./visitor.mjs";

export function freehold(...args) {
  return execFileSync(join(env.PROGRAMS, "freehold"), [...args, "--dir", env.OFFICE, "--passphrase-file", env.SECRET], { encoding: "utf8", stdio: "pipe" });
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

// entitle sells copies of features, and gives the activation ID.
export function entitle(product, copies, ...features) {
  const sold = freehold("entitle", "--customer", "ACME Works", "--product", product, "--count", String(copies), ...features.flatMap((f) => ["--feature", f]));
  const id = sold.match(/[0-9A-Z]{4,6}(?:-[0-9A-Z]{4,6}){2,}/);
  check(id, "an activation ID in " + sold);
  return id[0];
}
