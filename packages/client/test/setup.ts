/** Before all tests: the gateway that the environment names, and the proxy that fails in front of it. */

import type { TestProject } from "vitest/node";
import { startProxy } from "./proxy.js";

declare module "vitest" {
  export interface ProvidedContext {
    url: string;
    proxy: string;
    /** A stream that has ended, of the model `long`; its text by another client's words. */
    long: { id: string; events: number; text: string };
  }
}

export default async function setup(project: TestProject): Promise<() => void> {
  const url = process.env["PENSTOCK_URL"];
  if (url === undefined) throw new Error("PENSTOCK_URL must name a gateway; see tests/outside");
  const proxy = await startProxy(url);
  project.provide("url", url);
  project.provide("proxy", proxy.url);
  project.provide("long", await long(url));
  return () => proxy.close();
}

/** Without a line of the client: the server's own whole answer is what counts. */
async function long(url: string): Promise<{ id: string; events: number; text: string }> {
  const begun = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model: "long", messages: [{ role: "user", content: "?" }] }),
  });
  const id = begun.headers.get("Penstock-Stream") ?? "";
  await begun.text();
  const whole = await fetch(`${url}/v1/streams/${id}/as/openai_chat?stream=false`);
  const answer = (await whole.json()) as { choices: { message: { content: string } }[] };
  const log = await (await fetch(`${url}/v1/streams/${id}`)).text();
  return {
    id,
    events: log.split("\ndata: ").length - 1,
    text: answer.choices[0]?.message.content ?? "",
  };
}
