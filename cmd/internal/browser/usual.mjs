// An operator's usual acts: to sell something, and to answer ten files with one click.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { env } from "node:process";
import { Machine } from "./machine.mjs";
import { check, said, scripts } from "./visitor.mjs";

const activationID = /[0-9A-Z]{5}(-[0-9A-Z]{5}){3}/;

// sell makes a product and a license model, and entitles an account to copies. It gives the activation ID.
export async function sell(v, { account, product, model, kind, copies, mode }) {
  await v.goto("/accounts");
  await v.press("New account");
  await v.send("Save", { name: account, contact: "A. Larsen" });
  await v.goto("/products");
  await v.press("New product");
  await v.send("Save", { name: product, version: "2026.1", features: "render:2026.1=1" });
  await v.reads(product);
  await v.shot("product");
  await v.goto("/models");
  await v.press("New license model");
  await v.send("Save", { name: model, kind });
  await v.reads("draft");
  await v.send("Change the state", { state: "deployed" });
  await v.reads("deployed");
  await v.shot("model");
  await v.goto("/items");
  await v.press("New line item");
  await v.send("Entitle", { customer: account, product, product_version: "2026.1", copies: String(copies), expires: "2031-03-31", model, ...(mode && { mode }) });
  await v.reads(product, account, `${copies} entitled, 0 in use, ${copies} left`);
  await v.shot("item");
  return (await v.text()).match(activationID)[0];
}

// drop has files looked at: by dropping them, or by choosing them where nothing catches what is dropped.
export async function drop(v, ...files) {
  await v.goto("/inbox");
  if (scripts) await v.drop(".drop", files);
  else await v.send("Look at them", { file: files });
}

// answer drops one request and gives the file of its response.
export async function answer(v, file, ...reads) {
  await drop(v, file);
  await v.reads(...reads);
  await v.press("Create responses");
  await v.reads("1 response created");
  const response = await v.download("Download");
  await v.press("Take these files away");
  return response;
}

// card is where a file of the inbox says whose it is: the path of the machine's page.
async function card(v, file) {
  return v.page.$$eval("section.card", (cards, name) => cards.find((c) => c.querySelector("h2").textContent === name)?.querySelector("a[href^='/devices/']")?.getAttribute("href"), basename(file));
}

// Ten files at once: eight that are new, one that was answered before and one that is damaged.
export async function ten(v) {
  await v.claim("keller", env.CODE);
  const id = await sell(v, { account: "ACME Works", product: "Render Pro", model: "Team", kind: "floating", copies: 50 });

  const machines = Array.from({ length: 9 }, (_, n) => new Machine(n + 1));
  const files = machines.map((m) => m.request(id, 2));
  const before = await answer(v, files[0], "signature GOOD", "gives 2 of 2 copies asked");
  const damaged = join(env.SCRATCH, "damaged.LHQ");
  const bytes = readFileSync(files[8]);
  bytes[bytes.length >> 1] ^= 1;
  writeFileSync(damaged, bytes);
  files.splice(0, 9, ...files.slice(0, 9), damaged);

  await v.goto("/inbox");
  v.clicks = 0;
  await drop(v, ...files);
  await v.shot("looked-at");
  await v.press("Create responses");
  check(v.clicks <= 2, "ten results in two clicks, not " + v.clicks);
  const zip = await v.download("Responses in one zip, for the stick");
  said(`ten files, one zip: ${v.clicks} clicks`);
  check(!scripts || v.clicks <= 2, "a zip in two clicks, not " + v.clicks);
  copyFileSync(zip, join(env.SCRATCH, "responses.zip"));
  copyFileSync(before, join(env.SCRATCH, "before.LHR"));
  await v.reads("9 responses created.");
  await v.shot("answered");
  const results = await v.page.$$eval("section.card", (cards) => cards.map((c) => {
    const text = c.innerText;
    return text.includes("answered before, the same bytes") ? "again" : text.includes("Download") ? "new" : text.match(/LH-\d{4}/)?.[0] ?? text;
  }));
  said("results:", results.join(" "));
  const counted = (what) => results.filter((r) => r === what).length;
  check(results.length === 10 && counted("new") === 8 && counted("again") === 1, "8 new and 1 again among ten results");
  const refused = results.find((r) => /^LH-\d{4}$/.test(r));
  check(refused, "a code of the damaged file");
  await v.goto("/items/" + id);
  await v.reads("50 entitled, 18 in use, 32 left");
  await v.shot("item-in-use");

  check(machines[0].apply(before).includes("render 0 -> 2"), "a response that its machine takes");
  await v.goto("/inbox");
  const [from, to] = [await card(v, files[1]), await card(v, files[2])];
  for (const n of [1, 2]) machines[n].apply(await v.download("Download", basename(files[n])));
  for (const [words, name] of [["Copy as text", "as-text"], ["Show QR codes", "as-codes"]]) {
    await v.press(words);
    await v.shot(name);
    await v.page.goBack({ waitUntil: "load" });
  }
  await v.press("Take these files away");

  // It is returned with the proof, and credited.
  await answer(v, machines[0].back(id), "credits 2 copies of");
  await v.goto("/items/" + id);
  await v.reads("50 entitled, 16 in use, 34 left");
  await v.shot("returned");

  await rehost(v, { from, to, source: machines[1], target: machines[2] });
  await v.goto("/items/" + id);
  await v.reads("50 entitled, 16 in use, 34 left");
}

// rehost moves what one machine has to another, both of which still answer: never is it on both.
async function rehost(v, { from, to, source, target }) {
  await v.goto(from);
  await v.shot("device");
  await v.send("Order the re-host", { to: decodeURIComponent(to).replace("/devices/", "") });
  await v.shot("re-host-ordered");
  check(source.apply(await answer(v, source.request())).includes("render 2 -> 0"), "a response that takes the copies away");
  await answer(v, source.request(), "are gone");
  check(target.apply(await answer(v, target.request())).includes("render 2 -> 4"), "a response that gives the copies");
  await v.goto(from);
  await v.reads("It has none.");
  await v.shot("re-hosted");
}

// Seats of users: assigned, freed, converted to their offline form and back.
export async function seats(v) {
  await v.claim("keller", env.CODE);
  await sell(v, { account: "ACME Works", product: "Render Pro", model: "Person", kind: "fixed-user", copies: 2 });
  await v.send("Assign", { user: "j.ortiz@acme.example", slip: true });
  await v.reads("j.ortiz@acme.example", "One-time code");
  await v.shot("slip");
  await v.press("Back");
  await v.reads("j.ortiz@acme.example", "Assign a seat, 1 left");
  await v.shot("assigned");
  await v.send("Free", {}, "j.ortiz@acme.example");
  await v.shot("freed");
  await v.reads("No seat is assigned yet.", "Assign a seat, 2 left");
  await v.send("Convert to offline", { sure: true });
  await v.reads("used offline");
  await v.shot("offline");
  await v.send("Convert to online", { sure: true });
  await v.reads("used online");
}
