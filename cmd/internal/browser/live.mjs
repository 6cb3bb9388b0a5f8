// Pages that are kept up to date while somebody looks at them.
import { env } from "node:process";
import { check } from "./visitor.mjs";

// live looks at the seats and the overview while HAND changes what they show. Nothing is loaded again, and nothing that is typed is lost.
export async function live(v) {
  const hand = async (what) => check((await fetch(env.HAND + "/" + what)).ok, "a hand that does " + what);
  const shown = (words) => v.page.waitForFunction((words) => document.querySelector("main").innerText.includes(words), {}, words);
  await v.goto("/sign-in");
  await v.send("Login", { name: env.NAME, password: env.PASSWORD });

  await v.goto("/seats");
  await v.page.evaluate(() => { globalThis.stayed = true; });
  await v.reads("WS-1");
  const reason = await v.page.$('#list [name="reason"]');
  await v.type(reason, "gone home");
  await v.page.evaluate(() => new Promise((listening) => { // another listener hears of it too
    const source = new EventSource(document.querySelector("main").dataset.live);
    globalThis.another = new Promise((done) => {
      source.addEventListener("shown", () => {
        listening();
        source.addEventListener("shown", () => { source.close(); done(); }, { once: true });
      }, { once: true });
    });
  }));
  await hand("drop");
  await v.page.evaluate(() => globalThis.another);
  check(await reason.evaluate((f) => f.isConnected && f.value === "gone home" && f === document.activeElement), "what is being typed");
  await v.type(reason, "");
  await v.page.focus('main [name="q"]');
  await shown("dropped, not renewed");
  await v.shot("seats");

  await v.goto("/overview");
  await v.page.evaluate(() => { globalThis.stayed = true; });
  const used = () => v.page.$eval("#now", (now) => [...now.querySelectorAll("dt")].find((t) => t.innerText === "In use").nextElementSibling.innerText);
  check(await used() === "4", "4 in use, not " + await used());
  await hand("release");
  await v.page.waitForFunction(() => [...document.querySelectorAll("#now dt")].find((t) => t.innerText === "In use").nextElementSibling.innerText === "0");
  await hand("demote");
  await shown("not kept up to date any more");
  check(await v.page.evaluate(() => globalThis.stayed), "the page that was loaded");
  await v.shot("overview");
}
