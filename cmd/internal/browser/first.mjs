import { env } from "node:process";
import { check, password, said, scripts } from "./visitor.mjs";

// The one-time code sets a password; then a session, and what is left when it is over.
export async function first(v) {
  const answer = await v.goto("/");
  await v.shot("sign-in");
  check(answer.ok(), "a page");
  let bytes = 0;
  for (const r of v.requests) bytes += (await r.response()?.buffer().catch(() => ""))?.length ?? 0;
  said(`first page: ${v.requests.length} requests, ${bytes} bytes`);
  check(v.requests.length <= 7 && bytes <= 100_000, "a light first page"); // six, and the redirect to it

  await v.press("I have a one-time code");
  await v.send("Set the password and sign in", { name: "keller", code: env.CODE, password, again: password });
  await v.shot("signed-in");
  await v.reads("keller");
  await v.press("Sign out");
  await v.page.goBack({ waitUntil: "load" });
  if (scripts) {
    await v.page.waitForFunction(() => document.title.startsWith("Sign in"));
  } else {
    // The browser shows what it has kept, and nothing that is newer.
    await v.goto("/devices");
  }
  await v.reads("Sign in");
  await v.goto("/sign-in");
  const refused = await v.send("Sign in", { name: "keller", password: "something else" });
  check(refused.status() === 401, "a refusal");
  await v.reads("LH-5103");
  await v.shot("refused");
  await v.goto("/sign-in");
  await v.send("Sign in", { name: "keller", password });
  await v.reads("keller");
}
