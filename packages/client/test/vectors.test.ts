/**
 * What server-sent events mean, held against three judges.
 *
 * The cases `wpt:` have the streams of the web platform tests, folder `eventsource/` (format-*.any.js,
 * © web-platform-tests contributors, 3-Clause BSD), the cases `html:` those of the HTML standard,
 * 9.2.6 (© WHATWG, CC BY 4.0); what they expect is what those say. The rest are our own. All of
 * them, and random streams, must also mean what the released `eventsource-parser` says they mean.
 */

import { createParser } from "eventsource-parser";
import { describe, expect, test } from "vitest";
import { SseDecoder } from "../src/sse.js";

interface Seen {
  data: string;
  event: string;
  id: string | undefined;
}

const LONG = "x".repeat(2 * 1024 + 1);

/** Name, stream, what it means: data, or data, name and id of each event. */
const CASES: [string, string, (string | [string, string, string?])[]][] = [
  ["wpt: bom", "\uFEFFdata:1\n\n\uFEFFdata:2\n\ndata:3\n\n", ["1", "3"]],
  ["wpt: bom-2", "\uFEFF\uFEFFdata:1\n\ndata:2\n\ndata:3\n\n", ["2", "3"]],
  [
    "wpt: comments",
    `data:1\r:\0\n:\r\ndata:2\n:${LONG}\rdata:3\n:data:fail\r:${LONG}\ndata:4\n\n`,
    ["1\n2\n3\n4"],
  ],
  ["wpt: data-before-final-empty-line", "retry:1000\ndata:test1\n\nid:test\ndata:test2", ["test1"]],
  ["wpt: field-data", "data:\n\ndata\ndata\n\ndata:test\n\n", ["", "\n", "test"]],
  ["wpt: field-event", "event:test\ndata:x\n\ndata:x\n\n", [["x", "test"], "x"]],
  ["wpt: field-event-empty", "event: \ndata:data\n\n", ["data"]],
  [
    "wpt: field-parsing",
    "data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n",
    ["\0\n 2\n1\n3\n\n4"],
  ],
  ["wpt: field-retry-bogus", "retry:3000\nretry:1000x\ndata:x\n\n", ["x"]],
  ["wpt: field-retry-empty", "retry\ndata:test\n\n", ["test"]],
  [
    "wpt: field-unknown",
    "data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
    ["test\n\ntest"],
  ],
  ["wpt: leading-space", "data:\ttest\rdata: \ndata:test\n\n", ["\ttest\n\ntest"]],
  ["wpt: newlines", "data:test\r\ndata\ndata:test\r\n\r\n", ["test\n\ntest"]],
  ["wpt: null-character", "data:\0\n\n\n\n", ["\0"]],
  ["wpt: utf-8", "data:ok…\n\n", ["ok…"]],
  [
    "html: three events",
    ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
    [["first event", "message", "1"], ["second event", "message", ""], " third event"],
  ],
  ["html: two blocks and an unfinished one", "data\n\ndata\ndata\n\ndata:", ["", "\n"]],
  ["html: the space is one", "data:test\n\ndata: test\n\n", ["test", "test"]],
  ["html: lines of one event", "data: YHOO\ndata: +2\ndata: 10\n\n", ["YHOO\n+2\n10"]],
  [
    "html: names",
    "event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n",
    [
      ["73857293", "add"],
      ["2153", "remove"],
    ],
  ],
  ["a name without data is forgotten", "event: lost\n\ndata: x\n\n", ["x"]],
  ["an id without data is of its own block", "id: 7\n\ndata: x\n\n", ["x"]],
  ["an id with a NUL is ignored", "id: 1\nid: a\0b\ndata: x\n\n", [["x", "message", "1"]]],
  ["the last id of a block counts", "id: 1\nid: 2\ndata: x\n\n", [["x", "message", "2"]]],
  ["only CR", "data: dog\rdata: bark\r\rdata: cat\r\r", ["dog\nbark", "cat"]],
  ["CR LF between the pieces of an event", "data: A\r\ndata: B\r\ndata: C\r\n\r\n", ["A\nB\nC"]],
  ["CR LF and LF and CR", "data: a\r\n\ndata: b\n\rdata: c\r\r\n", ["a", "b", "c"]],
  ["empty lines are nothing", "\n\n\r\r\n\ndata: x\n\n\n\n", ["x"]],
  ["a colon in a value", "data: a: b\ndata:: c\n\n", ["a: b\n: c"]],
  ["no line ends but three", "data: a\u2028b\u2029c\u0085d\u000be\u000cf\n\n", ["a\u2028b\u2029c\u0085d\u000be\u000cf"]],
  ["two, three and four bytes", "data: é漢👩‍👩‍👧\n\n", ["é漢👩‍👩‍👧"]],
  ["a mark inside is a character", "data: a\uFEFFb\n\n", ["a\uFEFFb"]],
  ["a comment inside an event", "data: a\n: ping\ndata: b\n\n", ["a\nb"]],
  ["a heartbeat block", ": ping\n\ndata: a\n\n: ping\n\n", ["a"]],
];

function expected(shown: string | [string, string, string?]): Seen {
  if (typeof shown === "string") return { data: shown, event: "message", id: undefined };
  return { data: shown[0], event: shown[1], id: shown[2] };
}

function ours(pieces: Uint8Array[]): Seen[] {
  const decoder = new SseDecoder();
  return pieces.flatMap((piece) => decoder.feed(piece));
}

/** What the other reader makes of the same. It holds back a CR at the very end, hence the comment. */
function theirs(stream: string): Seen[] {
  const found: Seen[] = [];
  const parser = createParser({
    onEvent: ({ data, event, id }) => found.push({ data, event: event || "message", id }),
  });
  parser.feed(`${stream}:`);
  return found;
}

const encoder = new TextEncoder();

describe.each(CASES)("%s", (_, stream, shown) => {
  const bytes = encoder.encode(stream);
  const wanted = shown.map(expected);

  test("whole", () => {
    expect(ours([bytes])).toEqual(wanted);
  });

  test("in two pieces, cut anywhere", () => {
    for (let at = 0; at <= bytes.length; at++) {
      expect(ours([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(wanted);
    }
  });

  test("byte by byte", () => {
    expect(ours([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual(wanted);
  });
});

test("eventsource-parser reads every case alike", () => {
  for (const [name, stream, shown] of CASES) {
    expect([name, theirs(stream)]).toEqual([name, shown.map(expected)]);
  }
});

test("eventsource-parser reads random streams alike", () => {
  let seed = 20261121;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const words = ["data", "data:", "data: ", "event: ", "id: ", "id", "retry:", ":", "x", "é", "👩", " "];
  const ends = ["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", ""];
  const pick = (from: string[]): string => from[random(from.length)] ?? "";
  for (let round = 0; round < 3000; round++) {
    const parts = Array.from({ length: random(24) }, () => pick(words) + pick(words) + pick(ends));
    const stream = parts.join("");
    const bytes = encoder.encode(stream);
    const cuts = [0, random(bytes.length + 1), random(bytes.length + 1), bytes.length].sort((a, b) => a - b);
    const pieces = cuts.slice(1).map((cut, n) => bytes.subarray(cuts[n], cut));
    expect([stream, ours(pieces)]).toEqual([stream, theirs(stream)]);
  }
});
