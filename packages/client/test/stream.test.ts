/** Streams of a live gateway, in Node and in Chromium. */

import { expect, inject, test } from "vitest";
import {
  ConnectionLostError,
  HttpError,
  Penstock,
  PenstockError,
  type StreamEvent,
  StreamFailedError,
} from "../src/index.js";

const url = inject("url");
const long = inject("long");
const penstock = new Penstock(url);
const ASKED = [{ role: "user" as const, content: "?" }];
const nap = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function ended(id: string): Promise<string> {
  for (let n = 0; n < 200; n++) {
    const found = (await penstock.streams(1000)).find(({ stream }) => stream === id);
    if (found && found.state !== "live") return found.state;
    await nap(20);
  }
  throw new Error("the run went on");
}

test("a prompt is answered event by event", async () => {
  const events: StreamEvent[] = [];
  const stream = penstock.stream({
    model: "demo",
    messages: [{ role: "user", content: "Hello!" }],
    max_tokens: 12,
  });
  for await (const event of stream) events.push(event);
  expect(events[0]).toMatchObject({ type: "start", model: "penstock-demo", seq: 1, ms: 0 });
  expect(events.at(-1)?.type).toBe("done");
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, n) => n + 1));
  expect(events.filter(({ type }) => type === "text").length).toBeGreaterThan(0);
  expect(stream.id).toBe(await stream.started);
  expect(stream.seq).toBe(events.length);
});

test("a stream's text is that of the log", async () => {
  let text = "";
  for await (const piece of penstock.stream({ model: "long", messages: ASKED }).text()) text += piece;
  expect(text).toBe(long.text);
});

test("a result adds it all up", async () => {
  const result = await penstock.generate({ model: "long", messages: ASKED });
  expect(result).toMatchObject({ text: long.text, reasoning: "Hm. ", reason: "stop", images: [] });
  expect(result.toolCalls).toEqual([{ id: "c1", name: "look", arguments: '{"at":"log"}' }]);
  expect(result.usage).toMatchObject({ input_tokens: 3, output_tokens: long.events });
  expect(result.start?.asked).toBe("long");
  expect(result.id).toMatch(/^[0-9a-f]{32}$/);
});

test("any place of a stream can be gone on from", async () => {
  for (const after of [0, 1, 57, long.events - 1, long.events]) {
    const seqs: number[] = [];
    for await (const { seq } of penstock.resume(long.id, { after })) seqs.push(seq);
    expect(seqs).toEqual(Array.from({ length: long.events - after }, (_, n) => after + n + 1));
  }
});

test("a loop that was left is gone on with", async () => {
  const stream = penstock.resume(long.id);
  const seqs: number[] = [];
  for await (const { seq } of stream) {
    seqs.push(seq);
    if (seq === 20) break;
  }
  for await (const { seq } of stream) seqs.push(seq);
  expect(seqs).toEqual(Array.from({ length: long.events }, (_, n) => n + 1));
});

test("a stream that was never read closes without a trace", async () => {
  const stream = penstock.stream({ model: "slow", messages: ASKED });
  await stream.started;
  stream.close();
  expect(await stream.cancel()).toBe(true);
});

test("ReadableStreams of events and of text", async () => {
  const events: StreamEvent[] = [];
  const reader = penstock.resume(long.id).readable().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    events.push(value);
  }
  expect(events).toHaveLength(long.events);
  let text = "";
  const pieces = penstock.resume(long.id).readableText().pipeThrough(new TextEncoderStream());
  text = await new Response(pieces).text();
  expect(text).toBe(long.text);
});

test("cancelling ends the stream with a reason", async () => {
  const stream = penstock.stream({ model: "slow", messages: ASKED });
  let last: StreamEvent | undefined;
  for await (const event of stream) {
    if (event.seq === 10) expect(await stream.cancel()).toBe(true);
    last = event;
  }
  expect(last).toMatchObject({ type: "done", reason: "cancelled" });
  expect(await stream.cancel()).toBe(false);
});

test("an abort raises its reason, and stops the run", async () => {
  const aborting = new AbortController();
  const stream = penstock.stream({ model: "slow", messages: ASKED }, { signal: aborting.signal });
  const reading = (async () => {
    for await (const event of stream) if (event.seq === 5) aborting.abort();
  })();
  await expect(reading).rejects.toMatchObject({ name: "AbortError" });
  expect(await ended(await stream.started)).toBe("cancelled");
});

test("an abort before the answer stops the run too", async () => {
  const aborting = new AbortController();
  const stream = penstock.stream({ model: "slow", messages: ASKED }, { signal: aborting.signal });
  aborting.abort();
  await expect(stream.result()).rejects.toMatchObject({ name: "AbortError" });
  expect(await ended(await stream.started)).toBe("cancelled");
});

test("an abort before anything asks for nothing", async () => {
  const stream = penstock.stream("?", { signal: AbortSignal.abort() });
  await expect(stream.started).rejects.toMatchObject({ name: "AbortError" });
  await expect(stream.result()).rejects.toMatchObject({ name: "AbortError" });
});

test("an abort of a resumed stream ends the reading, not the run", async () => {
  const run = penstock.stream({ model: "slow", messages: ASKED });
  const aborting = new AbortController();
  const watching = penstock.resume(await run.started, { signal: aborting.signal });
  const watched = (async () => {
    for await (const event of watching) if (event.seq === 5) aborting.abort();
  })();
  await expect(watched).rejects.toMatchObject({ name: "AbortError" });
  for await (const event of run) if (event.seq === 30) break;
  expect(run.seq).toBe(30);
  await run.cancel();
});

test("an abort counts at once, whatever has been read already", async () => {
  const aborting = new AbortController();
  const stream = penstock.resume(long.id, { signal: aborting.signal });
  const reading = (async () => {
    for await (const event of stream) if (event.seq === 5) aborting.abort(new Error("enough"));
  })();
  await expect(reading).rejects.toThrow("enough");
  expect(stream.seq).toBe(5);
});

test("two watchers see the same", async () => {
  const run = penstock.stream({ model: "slow", messages: ASKED });
  const other = penstock.resume(await run.started);
  const first = async (stream: AsyncIterable<StreamEvent>): Promise<StreamEvent[]> => {
    const found: StreamEvent[] = [];
    for await (const event of stream) if (found.push(event) === 15) break;
    return found;
  };
  const [one, two] = await Promise.all([first(run), first(other)]);
  expect(one).toEqual(two);
  await run.cancel();
});

test("a broken generation is an event, and an error of whoever wants a result", async () => {
  const question = { model: "broken", messages: ASKED };
  const events: StreamEvent[] = [];
  for await (const event of penstock.stream(question)) events.push(event);
  expect(events.at(-1)).toMatchObject({ type: "failed" });
  const failing = penstock.generate(question);
  await expect(failing).rejects.toThrow(StreamFailedError);
  const error = await failing.catch((error: StreamFailedError) => error);
  expect((error as StreamFailedError).text).not.toBe("");
  await expect(
    (async () => {
      for await (const _ of penstock.stream(question).text());
    })(),
  ).rejects.toThrow("broken off");
});

test("refusals say what was wrong", async () => {
  const unknown = penstock.generate({ model: "no-such-model", messages: ASKED });
  await expect(unknown).rejects.toThrow(HttpError);
  await expect(unknown).rejects.toMatchObject({ status: 404, retryable: false });
  await expect(unknown).rejects.toThrow("no-such-model");
  await expect(penstock.resume("0".repeat(32)).result()).rejects.toMatchObject({ status: 404 });
});

test("a server that isn't there is an error, at once or when patience ends", async () => {
  const nowhere = { url: "http://127.0.0.1:9", patience: 60, firstWait: 5, longestWait: 10 };
  await expect(new Penstock(nowhere).generate("?")).rejects.toThrow(ConnectionLostError);
  await expect(new Penstock(nowhere).resume("a").result()).rejects.toThrow(ConnectionLostError);
});

test("an answer that names no stream is an error", async () => {
  const fetch = (): Promise<Response> => Promise.resolve(new Response("data: {}\n\n"));
  const other = new Penstock({ url, fetch });
  await expect(other.generate("?")).rejects.toThrow(PenstockError);
  await expect(other.generate("?")).rejects.toThrow("no Penstock");
});

test("a key goes with every request", async () => {
  const seen: (string | null)[] = [];
  const fetch: typeof globalThis.fetch = (input, init) => {
    seen.push(new Headers(init?.headers).get("authorization"));
    return globalThis.fetch(input, init);
  };
  let key = "first";
  const keyed = new Penstock({ url, fetch, key: () => key });
  await keyed.models();
  key = "second";
  await keyed.resume(long.id).result();
  expect(seen).toEqual(["Bearer first", "Bearer second"]);
});

test("streams can be listed and erased, models listed", async () => {
  const { id } = await penstock.generate({ model: "long", messages: ASKED });
  expect((await penstock.streams(1000)).map(({ stream }) => stream)).toContain(id);
  expect(await penstock.erase(id)).toBe(true);
  await expect(penstock.resume(id).result()).rejects.toMatchObject({ status: 404 });
  expect((await penstock.models()).map(({ id }) => id)).toContain("demo");
});
