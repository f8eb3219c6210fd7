/** One server: its address, the key, and one exchange with it. */

import { ConnectionLostError, HttpError, PenstockError } from "./errors.js";

/** Where a server is, and how patient its client is. All times in milliseconds. */
export interface ConnectionOptions {
  /**
   * The server's address, `http://127.0.0.1:9601`. Empty: that of the page; in Node the
   * environment's `PENSTOCK_URL`.
   */
  url?: string;
  /** Sent as a bearer token. A function is asked before each request. */
  key?: string | (() => string | null | undefined) | null | undefined;
  /** Instead of the platform's own. */
  fetch?: typeof globalThis.fetch;
  /** Longest time until an answer's headers: 60 000. */
  headersTimeout?: number;
  /** Longest silence of a stream, heartbeats are none: 30 000. Then it is taken for lost. */
  silence?: number;
  /** How long a stream may be unreachable before that is an error: 60 000. */
  patience?: number;
  /** Waiting before the first and the last of the attempts to reconnect: 100 and 5 000. */
  firstWait?: number;
  longestWait?: number;
}

/** One request. */
export interface Ask {
  method?: "GET" | "POST" | "DELETE";
  path: string;
  headers?: Record<string, string>;
  body?: unknown;
  signal?: AbortSignal | undefined;
  /** Let it outlive the page. */
  keepalive?: boolean;
}

/** Talks to one server. */
export class Connection {
  readonly silence: number;
  readonly patience: number;
  readonly firstWait: number;
  readonly longestWait: number;
  readonly #options: ConnectionOptions;

  constructor(options: ConnectionOptions) {
    if (/^\w+:\/\/[^/?#]*@/.test(options.url ?? "")) {
      throw new PenstockError("`url` may hold no name and no password; give a `key`");
    }
    this.#options = options;
    this.silence = options.silence ?? 30_000;
    this.patience = options.patience ?? 60_000;
    this.firstWait = options.firstWait ?? 100;
    this.longestWait = options.longestWait ?? 5_000;
  }

  /**
   * The answer, if it is a success; its body is the caller's to end. Raises `HttpError`,
   * `ConnectionLostError`, or the reason of an abort.
   */
  async ask(ask: Ask): Promise<Response> {
    return this.#exchange(ask, (response) => response);
  }

  /** The answer's JSON. */
  async json<T>(ask: Ask): Promise<{ data: T; response: Response }> {
    return this.#exchange(ask, async (response) => ({ data: (await response.json()) as T, response }));
  }

  async #exchange<T>(ask: Ask, read: (response: Response) => T | Promise<T>): Promise<T> {
    const aborting = new AbortController();
    const late = setTimeout(
      () => aborting.abort(new ConnectionLostError("no answer in time; check the server")),
      this.#options.headersTimeout ?? 60_000,
    );
    const unlink = linked(ask.signal, aborting);
    try {
      const { key } = this.#options;
      const token = (typeof key === "function" ? key() : key) ?? "";
      const response = await this.#send(ask, token, aborting.signal);
      clearTimeout(late);
      if (!response.ok) throw new HttpError(await refused(response, token));
      return await read(response);
    } catch (error) {
      throw lost(error, ask.signal, this.#address());
    } finally {
      clearTimeout(late);
      unlink();
    }
  }

  async #send(ask: Ask, token: string, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { ...ask.headers };
    if (token) headers["Authorization"] = `Bearer ${token}`;
    const request: RequestInit = { method: ask.method ?? "GET", headers, signal };
    if (ask.body !== undefined) {
      headers["Content-Type"] = "application/json";
      request.body = encoded(ask.body);
    }
    if (ask.keepalive) request.keepalive = true;
    // Called bare: a browser's fetch refuses another `this`.
    const call = this.#options.fetch ?? globalThis.fetch;
    return call(this.#address() + ask.path, request);
  }

  #address(): string {
    const given = this.#options.url?.replace(/\/+$/, "").replace(/\/v1$/, "");
    if (given) return given;
    if ("location" in globalThis) return "";
    const found = globalThis as { process?: { env?: Record<string, string | undefined> } };
    const named = found.process?.env?.["PENSTOCK_URL"];
    if (named) return named.replace(/\/+$/, "").replace(/\/v1$/, "");
    throw new PenstockError("no address: give `url`, such as http://127.0.0.1:9601");
  }
}

function encoded(body: unknown): string {
  try {
    return JSON.stringify(body);
  } catch (error) {
    throw new PenstockError(`the request is no JSON (${String(error)})`, { cause: error });
  }
}

/** Aborts `to` when `from` does; undone by calling what it returns. */
export function linked(from: AbortSignal | undefined, to: AbortController): () => void {
  if (from === undefined) return () => undefined;
  if (from.aborted) {
    to.abort(from.reason);
    return () => undefined;
  }
  const pass = (): void => to.abort(from.reason);
  from.addEventListener("abort", pass, { once: true });
  return () => from.removeEventListener("abort", pass);
}

/** What a failed exchange is raised as. */
export function lost(error: unknown, signal: AbortSignal | undefined, address: string): unknown {
  if (signal?.aborted) return signal.reason;
  if (error instanceof PenstockError) return error;
  const said = error instanceof Error ? error.message : String(error);
  const where = address || "the page's own server";
  return new ConnectionLostError(`the connection to ${where} was lost, or there was none (${said})`, {
    cause: error,
  });
}

/** What a server said, without the key, should it have echoed it. */
async function refused(response: Response, token: string): Promise<HttpError["response"]> {
  const said = await response.text();
  const text = token ? said.replaceAll(token, "***") : said;
  let data: unknown = text;
  try {
    data = JSON.parse(text);
  } catch {
    // Not every proxy's error is JSON: the text will do.
  }
  const { status, statusText, headers } = response;
  return { status, statusText, data, headers };
}
