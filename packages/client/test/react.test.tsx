/** `useStream` in a page. */

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, expect, inject, test } from "vitest";
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
async function page(): Promise<Shown> {
  const states: UseStream[] = [];
  const seqs: number[] = [];
  function Component(): React.ReactNode {
    const stream = useStream(penstock, (event) => void seqs.push(event.seq));
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
