/** `useStream` in a page. */

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, expect, inject, test, vi } from "vitest";
import { Penstock } from "../src/index.js";
import { type UseStream, useStream } from "../src/react.js";

const url = inject("url");
const long = inject("long");
const penstock = new Penstock(url);
const ASKED = [{ role: "user" as const, content: "?" }];
const undo: (() => void)[] = [];

afterEach(() => {
  for (const one of undo.splice(0)) one();
});

interface Shown {
  now: () => UseStream;
  states: UseStream[];
  seqs: number[];
  leave: () => void;
}

/** A page with one component that uses the hook; every state that it was drawn with. */
async function page(client = penstock): Promise<Shown> {
  const states: UseStream[] = [];
  const seqs: number[] = [];
  function Component(): React.ReactNode {
    const stream = useStream(client, (event) => void seqs.push(event.seq));
    states.push(stream);
    return <p>{stream.text}</p>;
  }
  (globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = false;
  const place = document.body.appendChild(document.createElement("div"));
  const root = createRoot(place);
  root.render(
    <StrictMode>
      <Component />
    </StrictMode>,
  );
  await expect.poll(() => states.length).toBeGreaterThan(0);
  const leave = (): void => {
    root.unmount();
    place.remove();
  };
  undo.push(leave);
  return { now: () => states.at(-1) as UseStream, states, seqs, leave };
}

test("a stream is state, and text on the page", async () => {
  const { now, states, seqs } = await page();
  expect(now()).toMatchObject({ status: "idle", text: "", id: undefined });
  now().send({ model: "long", messages: ASKED });
  await expect.poll(() => now().status, { timeout: 10_000 }).toBe("done");
  expect(now().text).toBe(long.text);
  expect(now().seq).toBe(long.events);
  expect(now().reasoning).toBe("Hm. ");
  expect(now().toolCalls).toEqual([{ id: "c1", name: "look", arguments: '{"at":"log"}' }]);
  expect(document.querySelector("p")?.textContent).toBe(long.text);
  expect(seqs).toEqual(Array.from({ length: long.events }, (_, n) => n + 1));
  expect(states.map(({ status }) => status)).toContain("waiting");
  expect(states.length).toBeLessThan(long.events); // Drawn by frames, not by events.
  expect(new Set(states.map(({ send }) => send)).size).toBe(1);
});

test("stopping shows what came, and that it was stopped", async () => {
  const { now } = await page();
  now().send({ model: "slow", messages: ASKED });
  await expect.poll(() => now().text.length, { timeout: 10_000 }).toBeGreaterThan(20);
  expect(now().status).toBe("streaming");
  now().stop();
  await expect.poll(() => now().status, { timeout: 10_000 }).toBe("cancelled");
  expect(long.text.startsWith(now().text)).toBe(true);
});

test("a stream is taken up by its id, as after a reload", async () => {
  const { now } = await page();
  now().resume(long.id);
  await expect.poll(() => now().status, { timeout: 10_000 }).toBe("done");
  expect(now()).toMatchObject({ text: long.text, id: long.id });
});

test("errors are state", async () => {
  const { now } = await page();
  now().send({ model: "no-such-model", messages: ASKED });
  await expect.poll(() => now().status, { timeout: 10_000 }).toBe("failed");
  expect(now().error?.message).toContain("404");
  now().send({ model: "broken", messages: ASKED });
  await expect.poll(() => now().error?.message, { timeout: 10_000 }).toContain("broken off");
  expect(now().text).not.toBe("");
});

/** Keeps the page from drawing, as in the background; what it gives draws again. */
function undrawn(): { frames: FrameRequestCallback[]; draw: () => Promise<void> } {
  const frames: FrameRequestCallback[] = [];
  const spy = vi.spyOn(globalThis, "requestAnimationFrame");
  spy.mockImplementation((frame) => frames.push(frame));
  const draw = async (): Promise<void> => {
    spy.mockRestore();
    for (const frame of frames) frame(0);
    await new Promise((resolve) => setTimeout(resolve, 50));
  };
  return { frames, draw };
}

test("an error that comes while the page draws nothing is still there when it does", async () => {
  const said = 'id: 1\ndata: {"seq":1,"ms":0,"event":{"type":"text","part":0,"text":"so far"}}\n\n';
  const answers = [new Response(said), new Response("{}", { status: 404 })]; // forgotten meanwhile
  const fetch = (): Promise<Response> => Promise.resolve(answers.shift() as Response);
  const { now } = await page(new Penstock({ url, fetch, firstWait: 1 }));
  const { frames, draw } = undrawn();
  now().resume("s");
  await expect.poll(() => now().status).toBe("failed");
  expect(frames).toHaveLength(1);
  await draw();
  expect(now()).toMatchObject({ status: "failed", text: "so far", seq: 1 });
  expect(now().error?.message).toContain("404");
});

test("a stream that is read instead while the page draws nothing is drawn when it does", async () => {
  const { now, seqs } = await page();
  const { frames, draw } = undrawn();
  now().send({ model: "slow", messages: ASKED });
  await expect.poll(() => frames.length, { timeout: 10_000 }).toBe(1);
  seqs.length = 0;
  now().resume(long.id);
  await expect.poll(() => seqs.length, { timeout: 10_000 }).toBe(long.events);
  await draw();
  expect(now()).toMatchObject({ status: "done", text: long.text, id: long.id });
});

test("a new question ends the old one", async () => {
  const { now } = await page();
  now().send({ model: "slow", messages: ASKED });
  await expect.poll(() => now().text.length, { timeout: 10_000 }).toBeGreaterThan(5);
  const old = now().id as string;
  now().send({ model: "long", messages: ASKED });
  await expect.poll(() => now().status, { timeout: 10_000 }).toBe("done");
  expect(now().text).toBe(long.text);
  const state = async (): Promise<string | undefined> =>
    (await penstock.streams(1000)).find(({ stream }) => stream === old)?.state;
  await expect.poll(state).toBe("cancelled");
});

test("leaving the page's component ends the reading and draws nothing more", async () => {
  const { now, states, seqs, leave } = await page();
  now().send({ model: "slow", messages: ASKED });
  await expect.poll(() => now().text.length, { timeout: 10_000 }).toBeGreaterThan(5);
  const id = now().id as string;
  leave();
  const [drawn, heard] = [states.length, seqs.length];
  await new Promise((resolve) => setTimeout(resolve, 150));
  expect([states.length, seqs.length]).toEqual([drawn, heard]);
  expect(await penstock.cancel(id)).toBe(true); // It lingers, for whoever comes back.
});
