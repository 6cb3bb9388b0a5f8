// What every page must be like, whoever looks at it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { env } from "node:process";
import { check } from "./visitor.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// kind is what pages of one sort have in common: the path without what names one thing, and which parameters there are, but for those that order and narrow a table.
export function kind(path) {
  const u = new URL(path, env.PORTAL);
  const way = u.pathname.replace(/^\/(devices\/[A-Z_]+|users)\/[^/]+/, "/$1/*").replace(/^\/(items|devices|responses|proposals)\/(?!new$|new\/)[^/]+(\/[0-9A-Z_]+$)?/, "/$1/*").replace(/\/\d+(?=\/|$)/g, "/*");
  return way + [...new Set(u.searchParams.keys())].filter((k) => !/^(sort|order|page|in-.*)$/.test(k)).sort().map((k) => "?" + k).join("");
}

// links are the pages that a page leads to.
export async function links(v) {
  return v.page.$$eval("header a[href], nav a[href], main a[href]", (list, portal) => list.filter((a) => a.origin === portal && !a.hasAttribute("download")).map((a) => a.pathname + a.search)
    .filter((p) => !/\.(csv|json|zip|svg|txt)(\?|$)/.test(p)), new URL(env.PORTAL).origin);
}

// crawl visits a page of each kind that can be reached, and those that are named.
export async function crawl(v, visited, ...from) {
  const seen = new Set(), waiting = [...from];
  const pages = [];
  while (waiting.length) {
    const path = waiting.shift();
    if (seen.has(kind(path))) continue;
    seen.add(kind(path));
    const answer = await v.goto(path);
    const at = new URL(v.page.url());
    seen.add(kind(at.pathname + at.search));
    pages.push(kind(path));
    waiting.push(...await links(v));
    await visited(path, answer);
  }
  return pages;
}

// accessible says what axe finds that hinders somebody.
export async function accessible(v, rules) {
  await v.page.evaluate(axe);
  const found = await v.page.evaluate(async (rules) => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"], ...(rules && { runOnly: { type: "rule", values: rules } }) });
    return violations.filter((f) => f.impact === "serious" || f.impact === "critical").map((f) => `${f.id}: ${f.nodes.map((n) => n.html).slice(0, 3).join("  ")}`);
  }, rules);
  check(found.length === 0, `accessibility of ${v.page.url()}:\n${found.join("\n")}`);
}

// fits says that at each of some zooms of a window of 1,280 pixels nothing is beside it, and no two things to use are over each other.
export async function fits(v, ...zooms) {
  for (const zoom of zooms) {
    await v.page.setViewport({ width: Math.round(1280 / zoom), height: Math.round(800 / zoom), deviceScaleFactor: zoom });
    const wrong = await v.page.evaluate(() => {
      const root = document.scrollingElement, list = [];
      if (root.scrollWidth > root.clientWidth + 1) {
        const wide = [...document.querySelectorAll("main *, header *")].filter((e) => e.getBoundingClientRect().right > root.clientWidth + 1).map((e) => e.outerHTML.slice(0, 80));
        list.push(`${root.scrollWidth} pixels wide in ${root.clientWidth}: ${wide[0]}`);
      }
      const boxes = [...document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea")].filter((e) => e.checkVisibility() && !e.closest(".skip")).flatMap((e) => [...e.getClientRects()].map((r) => ({ e, r })));
      for (const [n, a] of boxes.entries()) {
        for (const b of boxes.slice(n + 1)) {
          const x = Math.min(a.r.right, b.r.right) - Math.max(a.r.left, b.r.left), y = Math.min(a.r.bottom, b.r.bottom) - Math.max(a.r.top, b.r.top);
          if (a.e !== b.e && x > 2 && y > 4) list.push(`${a.e.outerHTML.slice(0, 80)} over ${b.e.outerHTML.slice(0, 80)}`);
        }
      }
      return list;
    });
    check(wrong.length === 0, `room on ${v.page.url()} at ${zoom * 100} %:\n${wrong.slice(0, 3).join("\n")}`);
  }
  await v.page.setViewport({ width: 1280, height: 800 });
}
