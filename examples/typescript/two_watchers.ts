// One run, two readers more at once: all see every event.  node two_watchers.ts
import { Penstock } from "@penstock/client";

const penstock = new Penstock();
const stream = penstock.stream({
  messages: [{ role: "user", content: "Tell me a story." }],
  max_tokens: 100,
});
const id = await stream.started;

const [asked, one, two] = await Promise.all([
  stream.result(),
  penstock.resume(id).result(),
  penstock.resume(id).result(),
]);
console.log(asked.text);
console.log("all the same:", one.text === two.text && two.text === asked.text);
