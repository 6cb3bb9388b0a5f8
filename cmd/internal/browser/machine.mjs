// Machines without a TPM that have rights of their own: each is a directory of the leasehold program, which is all that it takes.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { env } from "node:process";

export class Machine {
  constructor(number) {
    this.home = join(env.SCRATCH, "machine-" + number);
    this.requests = 0;
    mkdirSync(this.home);
    const n = String(number).padStart(4, "0");
    writeFileSync(join(this.home, "shown.json"), JSON.stringify({ findings: [
      { id: { type: 11, value: "4C4C4544-" + n }, strength: "firm", source: "DMI" },
      { id: { type: 3, value: "02000000" + n }, strength: "firm", source: "eno1" },
      { id: { type: 12, value: "SN-" + n }, strength: "firm", source: "nvme0n1" },
    ] }));
  }

  run(...args) {
    return execFileSync(join(env.PROGRAMS, "leasehold"), [...args, "--store", join(this.home, "store"), "--machine", join(this.home, "shown.json"), "--tpm", "none", "--trust", env.TRUST], { encoding: "utf8", stdio: "pipe" });
  }

  // request is the file that asks for copies of an activation ID, or for what is the machine's own.
  request(id, count) {
    return this.file(this.run("request", ...(id ? ["--id", id, "--count", String(count)] : []), "-o", this.home));
  }

  // back is the file that returns all copies of an activation ID, with the proof.
  back(id) {
    return this.file(this.run("return", id, "-o", this.home));
  }

  apply(response) {
    return this.run("import", response);
  }

  // file finds the request in what the program says, and gives it a name of its own.
  file(printed) {
    const written = printed.match(/written: (\S+\.LHQ)/);
    if (!written) throw new Error("no request: " + printed);
    const file = join(this.home, `${this.home.split("-").pop()}-REQ-${++this.requests}.LHQ`);
    writeFileSync(file, readFileSync(written[1]));
    return file;
  }
}
