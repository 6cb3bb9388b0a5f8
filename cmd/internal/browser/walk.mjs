// Walks through the portal and the console in a headless browser. The first argument names the walk; PORTAL is where the pages are, SHOTS where screenshots go, SCRATCH a directory for what comes and goes, SCRIPTS on or off, BROWSER chromium or firefox, and EXECUTABLE its program.
import { argv, exit } from "node:process";
import { pc } from "./appliance.mjs";
import { check19, check20, check22, check23, check24 } from "./checks.mjs";
import { corpus } from "./corpus.mjs";
import { ended } from "./ended.mjs";
import { first } from "./first.mjs";
import { gone } from "./gone.mjs";
import { hostile } from "./hostile.mjs";
import { live } from "./live.mjs";
import { pages } from "./pages.mjs";
import { seats, ten } from "./usual.mjs";
import { Visitor } from "./visitor.mjs";

const walks = { first, ten, seats, gone, pages, hostile, ended, check19, check20, check22, check23, check24, pc, corpus, live };

const v = await Visitor.open();
try {
  await walks[argv[2]](v);
  await v.close();
} catch (e) {
  await v.shot("failed").catch(() => {});
  await v.browser.close().catch(() => {});
  console.error([e.stack, ...v.faults].join("\n"));
  exit(1);
}
