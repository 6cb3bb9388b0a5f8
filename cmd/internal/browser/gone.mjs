import { env } from "node:process";
import { Machine } from "./machine.mjs";
import { answer, drop, sell } from "./usual.mjs";
import { check } from "./visitor.mjs";

// A machine that answers no more: one person proposes to give its rights to another machine, a second one approves it at a window of his own, and only then there is a response. What another one had is
// written off the same way.
export async function gone(v) {
  await v.claim("keller", env.CODE);
  const id = await sell(v, { account: "ACME Works", product: "Render Pro", model: "Team", kind: "floating", copies: 6 });
  const dead = new Machine(1), spare = new Machine(2), lost = new Machine(3);
  for (const m of [dead, lost]) m.apply(await answer(v, m.request(id, 3)));
  await v.goto("/items/" + id);
  await v.reads("6 entitled, 6 in use, 0 left");
  const devices = await v.page.$$eval("main a[href^='/devices/']", (list) => list.map((a) => decodeURIComponent(a.pathname).replace("/devices/", "")));
  check(devices.length === 2, "two devices");

  const file = spare.request(id, 3);
  await drop(v, file);
  await v.page.$eval("details", (d) => { d.open = true; });
  await v.send("Propose it to a second person", { reason: "burned down", from: devices[0] });
  await v.reads("Somebody else has to approve it.", "burned down");
  await v.shot("proposed");
  await v.goto("/devices/" + devices[1]);
  await v.send("Propose it to a second person", { reason: "stolen" });
  await v.goto("/waiting");
  await v.reads("burned down", "stolen");
  await v.click(await proposal(v, "stolen"));
  await v.reads("Somebody else has to approve it.");
  check(!await v.named("Approve"), "that nobody approves the own proposal");

  const second = await v.another("second");
  await second.claim("second", env.SECOND);
  for (const reason of ["burned down", "stolen"]) {
    await second.goto("/waiting");
    await second.shot("waiting");
    await second.click(await proposal(second, reason));
    await second.reads(reason, "by keller");
    await second.shot("proposal");
    await second.press("Approve");
  }
  await second.goto("/waiting");
  await second.reads("No proposal is open.");
  await second.page.browserContext().close();

  await v.goto("/inbox");
  await v.shot("approved");
  if (await v.named("Create responses")) await v.press("Create responses");
  check(spare.apply(await v.download("Download")).includes("render 0 -> 3"), "the rights of the machine that is gone");
  await v.goto("/items/" + id);
  await v.reads("6 entitled, 3 in use, 3 left");
  await v.shot("item");
}

// proposal is the link to the one with a reason.
async function proposal(v, reason) {
  return v.page.$(`::-p-xpath(//tr[contains(., "${reason}")]//a[starts-with(@href, "/proposals/")])`);
}
