import { env } from "node:process";
import { accessible, crawl, fits } from "./crawl.mjs";
import { Machine } from "./machine.mjs";
import { answer, drop, sell } from "./usual.mjs";
import { check, said } from "./visitor.mjs";

// Every page of some logins: nothing from elsewhere, nothing in the console, light, readable with aids, in dark and in light, small and large.
export async function pages(v) {
  const logins = JSON.parse(env.LOGINS); // names and one-time codes; the first has every role
  await v.claim("keller", env.CODE);
  const id = await sell(v, { account: "ACME Works", product: "Render Pro", model: "Person", kind: "fixed-user", copies: 2 });
  await v.send("Assign", { user: "j.ortiz@acme.example" });
  await v.send("Put into it", { group: "Design" });
  const shared = await sell(v, { account: "ACME Works", product: "Mesh", model: "Team", kind: "floating", copies: 20 });
  const machine = new Machine(1);
  machine.apply(await answer(v, machine.request(shared, 3)));
  await drop(v, machine.request(shared, 5));

  let axed = 0, heaviest = { bytes: 0 };
  const faults = [];
  const looked = (v, contrast) => async (path, answer) => {
    try {
      check(answer.status() === (path === "/nowhere" ? 404 : 200), `${path}, not status ${answer.status()}`);
      await v.shot(path.replace(/[^a-z]+/gi, "-").replace(/^-|-$/g, "").slice(0, 40) || "first");
      await accessible(v);
      axed++;
      await fits(v, ...(contrast ? [0.8, 1, 2] : [2]));
      if (contrast) {
        await v.page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
        await accessible(v, ["color-contrast"]);
        await v.shot("dark");
        await v.page.emulateMediaFeatures([]);
      }
    } catch (e) {
      faults.push(`${v.who}${e.message}`);
    }
    const loads = v.requests.splice(0);
    let bytes = 0;
    for (const r of loads) bytes += (await r.response()?.buffer().catch(() => ""))?.length ?? 0;
    if (bytes > heaviest.bytes) heaviest = { path, bytes, requests: loads.length };
    if (!path.startsWith("/responses/") && (bytes > 100_000 || loads.length > 7)) faults.push(`${path} is ${bytes} bytes in ${loads.length} requests`);
  };
  const report = (who, list) => said(`${who}: ${list.length} pages: ${list.join(" ")}`);

  await v.page.setCacheEnabled(false);
  v.requests.splice(0);
  report("keller", await crawl(v, looked(v, true), "/", "/nowhere", "/items/" + id, "/items/" + shared));
  for (const [name, code] of Object.entries(logins)) {
    const one = await v.another(name);
    await one.page.setCacheEnabled(false);
    await one.claim(name, code);
    one.requests.splice(0);
    report(name, await crawl(one, looked(one, false), "/"));
    await one.page.browserContext().close();
  }
  const stranger = await v.another("stranger");
  report("a stranger", await crawl(stranger, looked(stranger, true), "/sign-in", "/claim"));
  said(`${axed} pages without a serious or critical finding; the heaviest is ${heaviest.path} with ${heaviest.bytes} bytes in ${heaviest.requests} requests`);
  check(faults.length === 0, `${faults.length} faults:\n${[...new Set(faults)].join("\n")}`);
}
