/** The reader's own rules, beside the standard's. */

import { expect, test } from "vitest";
import { ProtocolError } from "../src/errors.js";
import { SseDecoder, readEvents } from "../src/sse.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("ids last, blocks do not", () => {
  const decoder = new SseDecoder();
  const found = decoder.feed(bytes("id: 4\ndata: a\n\ndata: b\n\nretry: 250\n\n"));
  expect(found.map(({ id }) => id)).toEqual(["4", undefined]);
  expect(decoder.lastEventId).toBe("4");
  expect(decoder.retry).toBe(250);
});

test("comments are counted: they show that the peer lives", () => {
  const decoder = new SseDecoder();
  decoder.feed(bytes(": ping\n\n: pi"));
  expect(decoder.comments).toBe(1);
  decoder.feed(bytes("ng\n\n"));
  expect(decoder.comments).toBe(2);
});

test("broken UTF-8 becomes U+FFFD, and is refused where nothing odd is taken", () => {
  const broken = Uint8Array.of(...bytes("data: a"), 0xff, ...bytes("b\n\n"));
  expect(new SseDecoder().feed(broken)[0]?.data).toBe("a\uFFFDb");
  expect(() => new SseDecoder({ strict: true }).feed(broken)).toThrow(ProtocolError);
});

test("a strict reader refuses unknown fields", () => {
  const strict = new SseDecoder({ strict: true });
  expect(strict.feed(bytes("id: 1\nevent: e\nretry: 1\n: c\ndata: a\n\n"))).toHaveLength(1);
  expect(() => strict.feed(bytes("dxta: a\n\n"))).toThrow(ProtocolError);
});

test.each([
  ["one line", (decoder: SseDecoder) => decoder.feed(bytes(`data: ${"x".repeat(101)}`))],
  ["many pieces", (decoder: SseDecoder) => "x".repeat(101).split("").forEach((x) => decoder.feed(bytes(x)))],
  ["many lines", (decoder: SseDecoder) => decoder.feed(bytes("data: xxxxxxxxx\n".repeat(12)))],
])("an event has a longest length: %s", (_, feed) => {
  expect(() => feed(new SseDecoder({ longest: 100 }))).toThrow("longer than 100");
});

test("leaving the loop cancels the body", async () => {
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(bytes("data: x\n\n")),
    cancel: () => void (cancelled = true),
  });
  for await (const { data } of readEvents(body)) {
    expect(data).toBe("x");
    break;
  }
  expect(cancelled).toBe(true);
});

test("whoever asks many times at once gets every event, in turn", async () => {
  const pieces = ["data: 1\n\ndata: 2\n\n", "data: 3\n\n", ": ping\n\n", "data: 4\n\n"];
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      const piece = pieces.shift();
      if (piece === undefined) controller.close();
      else controller.enqueue(bytes(piece));
    },
  });
  const events = readEvents(body);
  const found = await Promise.all(Array.from({ length: 6 }, () => events.next()));
  expect(found.map(({ value }) => value?.data)).toEqual(["1", "2", "3", "4", undefined, undefined]);
});
