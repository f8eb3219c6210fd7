/** Answers of a server that a real one can't be made to give. */

import { expect, test } from "vitest";
import { type ConnectionOptions, HttpError, Penstock, PenstockError, ProtocolError } from "../src/index.js";

type Answer = string | Response;

/** A client whose server gives these answers in turn, the last one for ever; and what it was asked. */
function answering(...answers: Answer[]): { penstock: Penstock; asked: string[] } {
  return patiently({ firstWait: 1, longestWait: 2, patience: 50 }, ...answers);
}

function patiently(
  times: ConnectionOptions,
  ...answers: Answer[]
): { penstock: Penstock; asked: string[] } {
  const asked: string[] = [];
  const fetch: typeof globalThis.fetch = (input) => {
    asked.push(String(input).replace("http://server/v1/streams/", ""));
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    return Promise.resolve(answer instanceof Response ? answer.clone() : new Response(answer));
  };
  return { penstock: new Penstock({ url: "http://server", fetch, ...times }), asked };
}

function event(seq: number, event: object, id: string | number = seq): string {
  return `id: ${id}\ndata: ${JSON.stringify({ seq, ms: seq, event })}\n\n`;
}

const text = (seq: number): string => event(seq, { type: "text", part: 0, text: `${seq} ` });
const done = (seq: number): string => event(seq, { type: "done", reason: "stop" });

test("types that this version does not know are skipped, new fields are not", async () => {
  const odd = event(2, { type: "hologram", depth: 3 });
  const more = event(3, { type: "text", part: 0, text: "a", colour: "red" });
  const { penstock, asked } = answering(text(1) + odd + more + done(4));
  const events = [];
  for await (const one of penstock.resume("s")) events.push(one);
  expect(events.map(({ seq }) => seq)).toEqual([1, 3, 4]);
  expect(events[1]).toMatchObject({ colour: "red", ms: 3 });
  expect(asked).toEqual(["s?after=0"]);
});

test("what comes twice is given out once", async () => {
  const { penstock } = answering(text(1) + text(1) + text(2), text(1) + text(2) + text(3) + done(4));
  expect((await penstock.resume("s").result()).text).toBe("1 2 3 ");
});

test.each([
  ["a hole", text(1) + text(3) + done(4)],
  ["an id that is not the event's", text(1) + event(2, { type: "text", part: 0, text: "!" }, 9)],
  ["no JSON", `${text(1)}data: {oops\n\n`],
  ["no event", `${text(1)}data: {"seq": 2}\n\n`],
  ["null", `${text(1)}data: null\n\n`],
  ["no end", text(1)],
])("%s: what was whole is kept, the rest is asked for again", async (_, broken) => {
  const { penstock, asked } = answering(broken, text(2) + text(3) + done(4));
  expect((await penstock.resume("s").result()).text).toBe("1 2 3 ");
  expect(asked).toEqual(["s?after=0", "s?after=1"]);
});

test("damage that stays is an error in the end", async () => {
  const { penstock, asked } = answering("data: {oops\n\n");
  await expect(penstock.resume("s").result()).rejects.toThrow(ProtocolError);
  expect(asked.length).toBeGreaterThan(2);
});

test("a server that is busy is asked again when it says so", async () => {
  const busy = new Response('{"error": {"message": "later"}}', {
    status: 503,
    headers: { "Retry-After": "0.03" },
  });
  const { penstock, asked } = answering(busy, text(1) + done(2));
  const began = performance.now();
  expect((await penstock.resume("s").result()).text).toBe("1 ");
  expect(asked).toHaveLength(2);
  expect(performance.now() - began).toBeGreaterThan(25);
});

test.each([
  ["in an hour", "3600", 1],
  ["at once, for ever", "0", 9],
])("a server that is busy and asks to come back %s", async (_, after, most) => {
  const headers = { "Retry-After": after };
  const times = { firstWait: 20, longestWait: 20, patience: 100 };
  const { penstock, asked } = patiently(times, new Response("{}", { status: 503, headers }));
  const began = performance.now();
  await expect(penstock.resume("s").result()).rejects.toMatchObject({ status: 503 });
  expect(performance.now() - began).toBeLessThan(5_000);
  expect(asked.length).toBeLessThanOrEqual(most);
});

test("a key that is refused is not tried again, and not told", async () => {
  const refused = new Response('{"error": {"message": "who is sk-secret?"}}', { status: 401 });
  const fetch = (): Promise<Response> => Promise.resolve(refused.clone());
  const penstock = new Penstock({ url: "http://server", fetch, key: "sk-secret" });
  const error = await penstock.models().catch((error: HttpError) => error);
  expect(error).toBeInstanceOf(HttpError);
  expect(String(error)).not.toContain("sk-secret");
  expect(JSON.stringify([error, penstock])).not.toContain("sk-secret");
});

test("an address with a password is refused, without telling it", () => {
  expect(() => new Penstock("http://me:hidden@server")).toThrow(PenstockError);
  expect(() => new Penstock("http://me:hidden@server")).not.toThrow(/hidden/);
});

test("whoever asks many times at once gets every event, in turn", async () => {
  const { penstock } = answering(text(1) + text(2), text(3), done(4));
  const events = penstock.resume("s")[Symbol.asyncIterator]();
  const found = await Promise.all(Array.from({ length: 6 }, () => events.next()));
  expect(found.map(({ value }) => value?.seq)).toEqual([1, 2, 3, 4, undefined, undefined]);
});
