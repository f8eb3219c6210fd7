// What streaming is worth: the wait for a whole answer beside that for the first word of it.
// node benchmark.ts [RUNS]
import { Penstock } from "@penstock/client";

const penstock = new Penstock();
const runs = Number(process.argv[2] ?? 5);
const question = {
  messages: [{ role: "user" as const, content: "Write a detailed explanation of Python's GIL." }],
  max_tokens: 100,
};
const whole: number[] = [];
const first: number[] = [];
const last: number[] = [];
const seconds = (begun: number) => (performance.now() - begun) / 1000;
const median = (all: number[]) => (all.sort((a, b) => a - b)[all.length >> 1] ?? 0).toFixed(3);

for (let run = 0; run < runs; run++) {
  let begun = performance.now();
  await penstock.generate(question);
  whole.push(seconds(begun));

  begun = performance.now();
  let heard: number | undefined;
  for await (const _ of penstock.stream(question).text()) heard ??= seconds(begun);
  last.push(seconds(begun));
  first.push(heard ?? seconds(begun));
}

console.log(`medians of ${runs} runs`);
console.log(`whole:    ${median(whole)} s to the first word`);
console.log(`streamed: ${median(first)} s to the first word, ${median(last)} s to the last`);
