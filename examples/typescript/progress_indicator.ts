// A line that shows that something happens: waiting, thinking, then how much there is.
// node progress_indicator.ts
import { Penstock } from "@penstock/client";

const penstock = new Penstock();
const pieces: string[] = [];
const show = (line: string) => process.stdout.write(`\r${line}`);

show("waiting");
for await (const event of penstock.stream("Tell me about rivers.")) {
  if (event.type === "progress") show(`${event.what} ${event.at ?? 0}`);
  else if (event.type === "reasoning") show("thinking");
  else if (event.type === "text") show(`${pieces.push(event.text)} pieces`);
}
console.log(`\n${pieces.join("")}`);
