// Names that are markup, more than 500 of them, in every field of the console and in what clients and the producer say of themselves.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { env } from "node:process";
import { freehold, license, owner } from "./appliance.mjs";
import { clean, look, payloads, post, readAll, watch } from "./hostile.mjs";
import { check, password, said } from "./visitor.mjs";

// Each payload as it is, and behind what ends an attribute, an element or a comment.
const all = ["", `">`, `'>`, "</td>", "</textarea>", "-->", "</title>"].flatMap((before) => payloads.map((p) => before + p));

export async function corpus(v) {
  check(all.length >= 500, "at least 500 payloads");
  await watch(v);
  await owner(v);

  // What the producer says: products, and what lines of theirs are called.
  const items = payloads.filter((p) => p.length <= 60).slice(0, 12);
  const ids = items.map((p, n) => freehold("entitle", "--customer", "ACME", "--product", p, "--feature", `render${n}:1.0`, "--count", "5").match(/[0-9A-Z]{4,6}(?:-[0-9A-Z]{4,6}){2,}/)[0]);
  await license(v, ids);
  // What clients say: who they are.
  for (const [n, p] of payloads.slice(0, 5).entries()) {
    execFileSync(join(env.PROGRAMS, "leasehold"), ["acquire", "render0", "--user", p, "--server", new URL(env.PORTAL).host, "--trust", env.TRUST, "--dir", join(env.SCRATCH, "client" + n)], { stdio: "ignore" });
  }

  const faults = [], answers = {};
  const note = (path, p, w) => {
    const sort = path.replace(/\?.*/, "").replace(/^(\/users\/|\/devices\/STRING\/).*?(\/roles)?$/, "$1*$2");
    answers[sort] = (answers[sort] ?? 0) + 1;
    if (w.status >= 500) faults.push(`${path} answers ${w.status} to ${p}`);
    for (const e of w.wrong) faults.push(`in the answer to ${path} with ${p}: ${e}`);
  };

  // All of them at once, as what is reserved: groups, hosts and features.
  const rows = all.map((p) => ({ group: p, hostId: { type: "STRING", value: p.replace(/[^ -~]/g, "?") }, feature: p, version: "1.0", count: 1 }));
  const imported = await v.page.evaluate(async (rows) => {
    const form = new FormData();
    form.append("once", crypto.randomUUID());
    form.append("file", new Blob([JSON.stringify(rows)], { type: "application/json" }), "<img src=x onerror=alert(1)>.json");
    const w = await fetch("/reservations/import", { method: "POST", body: form });
    const text = await w.text();
    return { status: w.status, why: new DOMParser().parseFromString(text, "text/html").querySelector(".problem")?.textContent, ...foreignIn(text) };
  }, rows);
  check(!imported.why, "the import: " + imported.why);
  note("/reservations/import", "all", imported);
  await v.goto("/reservations");
  await v.reads(`Total number of records: ${all.length}`);

  // As many names of registered keys as there are payloads; each file is the public key of another client.
  const named = await v.page.evaluate(async (names) => {
    const kept = [];
    for (const name of names) {
      const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
      const form = new FormData();
      form.append("once", crypto.randomUUID());
      form.append("name", name);
      form.append("file", new Blob([await crypto.subtle.exportKey("spki", pair.publicKey)]), name + ".der");
      const w = await fetch("/keys", { method: "POST", body: form });
      kept.push({ status: w.status, ...foreignIn(await w.text()) });
    }
    return kept;
  }, payloads);
  for (const [n, w] of named.entries()) note("/keys with a file", payloads[n], w);
  check(named.every((w) => w.status === 200), "every name of a key is taken: " + named.map((w) => w.status));
  await v.goto("/keys");
  await v.reads(`Total number of records: ${payloads.length}`);

  for (const [n, p] of all.entries()) {
    const base = n < payloads.length, q = encodeURIComponent(p);
    const lists = ["/features/details?q=", "/devices?q=", "/reservations?q=", "/seats?q=", "/audit?q=", "/help?q=", "/reports/usage?feature=", "/features?feature=", "/reservations/edit?id=", "/devices/STRING/", "/feature?name=", "/users/", "/keys?q="];
    for (let i = 0; i < 3; i++) note(lists[(3 * n + i) % lists.length] + q, p, await look(v, lists[(3 * n + i) % lists.length] + q));
    const forms = [
      ["/reservations/add", { group: p, device: p, type: "STRING", feature: p, version: p, count: p, do: "add" }], ["/pools/model/check", { text: p }], ["/online", { id: p, count: p, do: "more" }], ["/offline/request", { id: p, count: p }],
      ["/seats/free", { device: p, feature: p, reason: p }], ["/settings", { size: p }], ["/columns", { path: p, column: p, all: p }], ["/time", { time: p }], ["/keys", { name: p }], ["/keys/remove", { key: p }],
    ];
    if (base) forms.push(
      ["/pools/model/check", { text: `model "${p}" { partitions { partition "${p}" { "${p}" 1.0 8 } } on any() { use "${p}" accept } }` }], ["/properties", { "failover-uris": p, "was-failover-uris": "", "log-threshold": p }],
      ["/reservations/edit", { id: p, group: p, seen: p, device: p, feature: p }], ["/reservations/delete", { id: p, do: p }], ["/online/update", { do: p }], ["/seats/disconnect", { minutes: p, feature: p }], ["/users/" + q + "/roles", { role: p }], ["/me/tokens", { token: p, days: p, do: p }],
    );
    if (n < 24) forms.push(["/users", { name: p, password, again: password }]); // each password costs what it should
    if (n < 3) forms.push(["/sign-in", { name: p, password: "x", to: p, kept: p }]);
    for (const [path, form] of forms) note(path, p, await post(v, path, form));
  }
  said(`${all.length} payloads: ${JSON.stringify(answers)}`);

  const read = await readAll(v, ["/overview", "/reservations?size=200", "/keys"], faults, (_, n) => n > 60);
  await v.goto("/reservations");
  await v.shot("reservations");
  await v.goto("/seats");
  await v.shot("seats");
  clean(v, read, faults);
}
