// The program that asked is killed in mid-answer; another one goes on, with nothing lost or twice.
// This script starts itself as the first program.  node resume.ts
import { spawnSync } from "node:child_process";
import { Penstock } from "@penstock/client";

const penstock = new Penstock();

if (process.argv.includes("--first")) {
  const stream = penstock.stream({
    messages: [{ role: "user", content: "A long story, please." }],
    max_tokens: 200,
  });
  for await (const event of stream) {
    console.log(stream.id, event.seq);
    if (event.seq === 5) process.kill(process.pid, "SIGKILL"); // no clean-up of any kind
  }
  process.exit(); // it was a short story
}

const again = [...process.argv.slice(1, 2), "--first"];
const first = spawnSync(process.execPath, again, { encoding: "utf8" });
const [id = "", seq = ""] = first.stdout.trim().split(/\s+/).slice(-2);
console.log(`the first program died (${first.signal}) after event ${seq}`);

for await (const piece of penstock.resume(id, { after: Number(seq) }).text()) {
  process.stdout.write(piece);
}
const whole = await penstock.resume(id).result();
console.log(`\nwhole answer: ${whole.text.length} characters`);
