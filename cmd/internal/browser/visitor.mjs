// A person at a browser window, with everything noted that a page must not do, and what such a person does.
import { mkdtempSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { env } from "node:process";
import * as timers from "node:timers/promises";
import puppeteer from "puppeteer-core";

export const scripts = env.SCRIPTS !== "off";
export const chromium = env.BROWSER !== "firefox";
export const password = "a long enough pass phrase";

// patience is for a busy machine: nothing here is measured by time.
const patience = 120_000;

export function check(ok, what) {
  if (!ok) throw new Error("missing: " + what);
}

export function said(...words) {
  console.log("  ", ...words);
}

export class Visitor {
  // open starts the browser.
  static async open() {
    const downloads = mkdtempSync(join(env.SCRATCH, "download-"));
    const browser = await puppeteer.launch({
      executablePath: env.EXECUTABLE, headless: true, acceptInsecureCerts: true, userDataDir: mkdtempSync(join(env.SCRATCH, "profile-")), protocolTimeout: 2 * patience, timeout: patience,
      ...(chromium ? { args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"] }
        : { browser: "firefox", extraPrefsFirefox: { "browser.download.folderList": 2, "browser.download.dir": downloads, "browser.download.always_ask_before_handling_new_types": false } }),
    });
    return new Visitor(browser, (await browser.pages())[0], [], downloads).begin();
  }

  constructor(browser, page, faults, downloads) {
    Object.assign(this, { browser, page, faults, downloads, shots: 0, clicks: 0, requests: [], who: "" });
  }

  // another is a second person, with nothing of what the first one's browser keeps.
  async another(who) {
    const context = await this.browser.createBrowserContext();
    const v = await new Visitor(this.browser, await context.newPage(), this.faults, this.downloads).begin();
    v.who = who + "-";
    return v;
  }

  async begin() {
    this.page.setDefaultTimeout(patience);
    await this.page.setViewport({ width: 1280, height: 800 });
    if (chromium) await this.page.setJavaScriptEnabled(scripts);
    else if (!scripts) await this.noScripts();
    this.page.on("request", (r) => {
      if (r.url().startsWith("data:")) return;
      this.requests.push(r);
      if (!r.url().startsWith(env.PORTAL)) this.faults.push("asks for " + r.url());
    });
    this.page.on("response", (r) => {
      if (!(r.headers()["content-type"] ?? "").startsWith("text/html")) return;
      const policy = r.headers()["content-security-policy"] ?? "";
      if (!policy.includes("default-src 'none'") || policy.includes("unsafe")) this.faults.push(`${r.url()} has the policy "${policy}"`);
      if (r.status() >= 500) this.faults.push(`${r.url()} answers ${r.status()}`);
    });
    this.page.on("console", (m) => {
      // A refusal's status is in the console too, and is no fault.
      if (m.type() === "error" && !m.text().startsWith("Failed to load resource")) this.faults.push(`console of ${this.page.url()}: ${m.text()}`);
    });
    this.page.on("pageerror", (e) => this.faults.push(`script of ${this.page.url()}: ${e.message}`));
    this.page.on("dialog", (d) => { this.faults.push(`dialog of ${this.page.url()}: ${d.message()}`); d.dismiss(); });
    return this;
  }

  // noScripts keeps Firefox from loading scripts. Where it runs none at all it cannot be asked what is on a page either; and a page of ours has only scripts that are loaded, as its policy says.
  async noScripts() {
    await this.page.setRequestInterception(true);
    this.page.on("request", (r) => new URL(r.url()).pathname.endsWith(".js") ? r.abort() : r.continue());
  }

  async close() {
    await this.browser.close();
    if (this.faults.length) throw new Error(this.faults.join("\n"));
  }

  async shot(name) {
    await this.page.screenshot({ path: join(env.SHOTS, `${scripts ? "on" : "off"}-${this.who}${String(++this.shots).padStart(2, "0")}-${name}.png`), fullPage: true });
  }

  async goto(path) {
    return this.page.goto(env.PORTAL + path, { waitUntil: "load" });
  }

  // named is a button or link by its words; near says words of the row, card or form it is in, where there are several.
  async named(words, near) {
    const within = near ? `//*[self::tr or self::section or self::form or self::fieldset][contains(., "${near}")]` : "//*[self::main or self::header]";
    return this.page.$(`::-p-xpath(${within}//*[self::button or self::a][normalize-space()="${words}"])`);
  }

  // click clicks, and waits for the page that comes.
  async click(what) {
    this.clicks++;
    const [answer] = await Promise.all([this.page.waitForNavigation({ waitUntil: "load" }), what.click()]);
    return answer;
  }

  async press(words, near) {
    const what = await this.named(words, near);
    check(what, `a button "${words}"${near ? ` at "${near}"` : ""} on ${this.page.url()}:\n${await this.text()}`);
    return this.click(what);
  }

  // send fills the fields of the form that a button is in, by their names, and presses the button.
  async send(words, fields, near) {
    const button = await this.named(words, near);
    check(button, `a button "${words}"${near ? ` at "${near}"` : ""} on ${this.page.url()}:\n${await this.text()}`);
    const form = await button.evaluateHandle((b) => b.form);
    for (const [name, value] of Object.entries(fields)) {
      const field = await form.$(`[name="${name}"]:not([type=hidden])`);
      check(field, `a field ${name} of "${words}" on ${this.page.url()}`);
      await this.type(field, value);
    }
    return this.click(button);
  }

  async type(field, value) {
    const kind = await field.evaluate((f) => {
      for (let d = f.closest("details"); d; d = d.parentElement.closest("details")) d.open = true;
      return f.tagName === "INPUT" ? f.type : f.tagName.toLowerCase();
    });
    switch (kind) {
      case "checkbox":
        if (await field.evaluate((f) => f.checked) !== value) await field.click();
        break;
      case "select":
        await field.select(value);
        break;
      case "file":
        await field.uploadFile(...[value].flat());
        break;
      case "date":
        await field.evaluate((f, v) => { f.value = v; }, value);
        break;
      default:
        await field.evaluate((f) => { f.focus(); f.select(); });
        if (value === "") await field.press("Backspace");
        await field.type(value);
    }
  }

  // drop lets files fall on what a selector finds, as from a file manager.
  async drop(selector, files) {
    const client = await this.page.createCDPSession();
    const box = await (await this.page.$(selector)).boundingBox();
    const at = { x: box.x + box.width / 2, y: box.y + box.height / 2, data: { items: [], files, dragOperationsMask: 1 } };
    const came = this.page.waitForNavigation({ waitUntil: "load" });
    for (const type of ["dragEnter", "dragOver", "drop"]) await client.send("Input.dispatchDragEvent", { type, ...at });
    await came;
    await client.detach();
  }

  // download presses a button or link that gives a file, and says where it is.
  async download(words, near) {
    const what = await this.named(words, near);
    check(what, `a button "${words}" on ${this.page.url()}`);
    this.clicks++;
    return chromium ? this.fetched(what, words) : this.arrived(what, words);
  }

  // fetched has Chromium say when the file is there.
  async fetched(what, words) {
    const client = await this.browser.target().createCDPSession();
    const dir = mkdtempSync(join(env.SCRATCH, "download-"));
    const contexts = { browserContextId: this.page.browserContext().id };
    await client.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: dir, eventsEnabled: true, ...contexts });
    const name = new Promise((done, fail) => {
      let file = "";
      const late = setTimeout(() => fail(new Error("no file came of " + words)), patience);
      client.on("Browser.downloadWillBegin", (e) => { file = e.suggestedFilename; });
      client.on("Browser.downloadProgress", (e) => {
        if (e.state === "inProgress") return;
        clearTimeout(late);
        e.state === "completed" ? done(file) : fail(new Error(words + ": " + e.state));
      });
    });
    await what.click();
    const file = join(dir, await name);
    await client.detach();
    return file;
  }

  // arrived looks into the directory of downloads until another file is whole: Firefox writes to one that ends in .part beside it.
  async arrived(what, words) {
    const list = () => readdirSync(this.downloads);
    const before = new Set(list());
    await what.click();
    for (const end = Date.now() + patience; Date.now() < end; await timers.setTimeout(50)) {
      const now = list(), file = now.find((f) => !before.has(f) && !f.endsWith(".part"));
      if (file && !now.some((f) => f.endsWith(".part")) && statSync(join(this.downloads, file)).size > 0) return join(this.downloads, file);
    }
    throw new Error("no file came of " + words);
  }

  async text() {
    return this.page.$eval("body", (b) => b.innerText);
  }

  async reads(...parts) {
    const text = await this.text();
    for (const part of parts) check(part instanceof RegExp ? part.test(text) : text.includes(part), `"${part}" on ${this.page.url()}:\n${text}`);
  }

  // claim is somebody's first login, by the one-time code.
  async claim(name, code) {
    await this.goto("/claim");
    await this.send("Set the password and sign in", { name, code, password, again: password });
    await this.reads(name);
  }
}
