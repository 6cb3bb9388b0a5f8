import { env } from "node:process";
import { check, password, scripts } from "./visitor.mjs";

// A session that has ended while somebody typed: on Save the portal asks to sign in, and what was typed is still there.
export async function ended(v) {
  await v.claim("keller", env.CODE);
  await v.goto("/accounts");
  await v.press("New account");
  const elsewhere = await v.another("elsewhere");
  await elsewhere.goto("/sign-in");
  await elsewhere.send("Sign in", { name: "keller", password });
  await elsewhere.goto("/me");
  await elsewhere.send("Sign out everywhere", {});

  const refused = await v.send("Save", { name: "ACME Works", contact: "A. Larsen, ext. 4410" });
  check(refused.status() === 401, "a login that is asked for, not status " + refused.status());
  await v.reads("LH-5103");
  await v.shot("login-asked");
  await v.send("Sign in", { name: "keller", password: "something else" });
  await v.reads("LH-5103");
  await v.send("Sign in", { name: "keller", password });
  await v.reads("save it again");
  for (const [name, value] of Object.entries({ name: "ACME Works", contact: "A. Larsen, ext. 4410" })) {
    check(await v.page.$eval(`main [name="${name}"]`, (f) => f.value) === value, `"${value}" still typed`);
  }
  await v.shot("still-there");
  await v.send("Save", {});
  await v.reads("ACME Works", "A. Larsen, ext. 4410");
  if (!scripts) return;

  // A passkey made on the own page signs in without a name and a password.
  const client = await v.page.createCDPSession();
  await client.send("WebAuthn.enable");
  const { authenticatorId } = await client.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  await v.goto("/me");
  await v.send("Add a passkey", { passkey: "phone" });
  await v.reads("phone");
  await v.shot("passkey-added");
  const { credentials } = await client.send("WebAuthn.getCredentials", { authenticatorId });
  check(credentials.length === 1 && credentials[0].isResidentCredential, "one passkey in the authenticator");
  await v.press("Sign out");
  await v.press("Sign in with a passkey");
  await v.reads("keller", "Sign out");
  await v.shot("signed-in-by-passkey");

  // Not with one that was taken away, and not where nobody has shown to be the owner.
  await v.goto("/me");
  await (await v.page.$("button[aria-label='Remove phone']")).click();
  await v.page.waitForFunction(() => !document.body.innerText.includes("phone\t"));
  await v.press("Sign out");
  await v.press("Sign in with a passkey");
  await v.reads("LH-5103");
  await v.shot("passkey-refused");
}
