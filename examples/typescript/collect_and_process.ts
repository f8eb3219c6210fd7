// Sentences as soon as they are whole, and the whole text at the end.
// node collect_and_process.ts
import { Folder, Penstock } from "@penstock/client";

const penstock = new Penstock();
const stream = penstock.stream({
  messages: [{ role: "user", content: "Tell me a short story." }],
  max_tokens: 150,
});
const folder = new Folder(); // adds the events up
const sentences: string[] = [];
let waiting = "";
const collect = (sentence: string) => console.log(`${sentences.push(sentence)}. ${sentence}`);

for await (const event of stream) {
  folder.feed(event);
  if (event.type !== "text") continue;
  const parts = (waiting + event.text).split(/(?<=[.!?])\s+/);
  waiting = parts.pop() ?? "";
  parts.forEach(collect);
}
if (waiting) collect(waiting);

const { text, reason } = folder.result(await stream.started);
console.log(`${text.split(/\s+/).filter(Boolean).length} words, ended by ${reason}`);
