/** Each fault at each event: the text is exactly the log's, and no event comes twice. */

import { expect, inject, test } from "vitest";
import { Penstock, createLlmAPI } from "../src/index.js";

const proxy = inject("proxy");
const url = inject("url");
const long = inject("long");
const FAULTS = ["drop", "cut", "reset", "stall", "dribble", "garble"];
/** Silence is short only where it is what is tested: a busy machine is silent too. */
const patient = (fault: string) => ({
  silence: fault === "stall" ? 400 : 20_000,
  ...{ firstWait: 1, longestWait: 20, patience: 20_000 },
});
const browser = "document" in globalThis;
const ABREAST = browser ? 4 : 40; // A browser has six connections to a host.
let nonces = 0;

function behind(fault: string, at: number): string {
  return `${proxy}/fault/${fault}/${at}/${browser ? "b" : "n"}${nonces++}`;
}

/** That the fault was there: it cost one connection more, but where bytes only came slowly. */
async function proveFault(address: string, fault: string): Promise<void> {
  const asked = await (await fetch(`${proxy}/asked/${address.split("/").at(-1)}`)).text();
  if (fault === "stall") expect(Number(asked)).toBeGreaterThan(1);
  else expect([address, asked]).toEqual([address, fault === "dribble" ? "1" : "2"]);
}

/** Calls `work` for each number below `count`, some at a time. */
async function each(
  count: number,
  step: number,
  work: (n: number) => Promise<void>,
  first = 0,
): Promise<void> {
  let next = first;
  const worker = async (): Promise<void> => {
    for (let n = next; n < count; n = next) {
      next += step;
      await work(n);
    }
  };
  await Promise.all(Array.from({ length: ABREAST }, worker));
}

test.each(FAULTS)("a typed stream: %s", async (fault) => {
  // Chromium reads every tenth of them: how it breaks does not depend on where.
  const step = browser ? (fault === "stall" ? 20 : 10) : 1;
  let read = 0;
  await each(long.events, step, async (at) => {
    const address = behind(fault, at);
    const stream = new Penstock({ url: address, ...patient(fault) }).resume(long.id);
    let text = "";
    let last = 0;
    for await (const event of stream) {
      expect(event.seq).toBe(++last);
      if (event.type === "text") text += event.text;
    }
    expect([at, last, text]).toEqual([at, long.events, long.text]);
    await proveFault(address, fault);
    read++;
  });
  expect(read).toBe(Math.ceil(long.events / step));
});

test.each(FAULTS)("the session chat: %s", async (fault) => {
  const events = long.events - 4; // No start, reasoning, usage; one event for two pieces of a call.
  const step = browser ? 39 : FAULTS.length;
  const work = async (at: number): Promise<void> => {
    const told = { text: "", completed: 0, errors: [] as Error[] };
    const address = behind(fault, at);
    const api = createLlmAPI({ url: address, ...patient(fault) });
    await api.chatStream(
      { model: "long", messages: [{ role: "user", content: "?" }] },
      (chunk) => (told.text += chunk),
      () => void told.completed++,
      (error) => void told.errors.push(error),
    );
    expect([at, told]).toEqual([at, { text: long.text, completed: 1, errors: [] }]);
    await proveFault(address, fault);
  };
  // Each of them is a run of its own; between them the faults take every event.
  await each(events, step, work, FAULTS.indexOf(fault));
});

test("a stream that begins behind a bad connection", async () => {
  for (const fault of FAULTS) {
    const penstock = new Penstock({ url: behind(fault, 3), ...patient(fault) });
    const { text } = await penstock.generate({ model: "long", messages: [{ role: "user", content: "?" }] });
    expect([fault, text]).toEqual([fault, long.text]);
  }
});

test("a live stream is taken up while it runs", async () => {
  const begun = new Penstock(url).stream({ model: "slow", messages: [{ role: "user", content: "?" }] });
  const id = await begun.started;
  const seqs: number[] = [];
  for await (const event of new Penstock({ url: behind("reset", 9), ...patient("reset") }).resume(id)) {
    if (seqs.push(event.seq) === 20) break;
  }
  expect(seqs).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
  await begun.cancel();
});
