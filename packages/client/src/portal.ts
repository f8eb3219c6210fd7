/** `llmAPI` of the prompt portal, with its functions and callbacks, made right. */

import { Connection, type ConnectionOptions } from "./connection.js";
import { ConnectionLostError, PenstockError, StreamFailedError } from "./errors.js";
import { Follower } from "./follower.js";
import { type PortalEvent, PortalSource } from "./portal_source.js";
import type { PortalCall, PortalChatBody, PortalCleared, PortalHealth } from "./schema.js";
import type { PortalHistory, PortalReply, PortalSessionBody } from "./schema.js";
import { sooner } from "./stream.js";

/** A whole answer, as axios has it. */
export interface Answer<T> {
  data: T;
  status: number;
  statusText: string;
  headers: Headers;
}

/** What the portal's own callers have, and more. */
export interface LlmApiOptions extends ConnectionOptions {
  /**
   * Ask for ids, so that a lost connection can be taken up again. Off, no header is sent that the
   * original portal doesn't know.
   */
  resume?: boolean;
}

/** What the original has no place for. */
export interface MoreCallbacks {
  /** The model's tool calls, whole, before the end. */
  onToolCalls?: (calls: PortalCall[]) => void;
}

/** A piece of text. */
export type OnChunk = (chunk: string) => void;
/** The answer is whole. */
export type OnComplete = () => void;
/** Anything that went wrong, once. */
export type OnError = (error: Error) => void;

/** A message of the page's own making: the portal's pages keep their roles as plain text. */
export interface PlainMessage {
  role: string;
  content: string;
}

/** What is asked without a session. */
export type ChatQuestion = Omit<PortalChatBody, "messages"> & {
  messages: (PortalChatBody["messages"][number] | PlainMessage)[];
};

type Body = Record<string, unknown>;

/** The functions of the portal's `api.ts`. Made by `createLlmAPI`. */
export class LlmAPI {
  readonly #connection: Connection;
  readonly #resume: boolean;

  /** @internal */
  constructor(options: LlmApiOptions) {
    this.#connection = new Connection({ key: storedToken, ...options });
    this.#resume = options.resume ?? true;
  }

  /** The answer to `messages`; its text is `.data.response`. */
  chat = (data: ChatQuestion, signal?: AbortSignal): Promise<Answer<PortalReply>> =>
    this.#post("/api/llm/chat", data, signal);

  /** The answer within a session that the server keeps. */
  chatSession = (data: PortalSessionBody, signal?: AbortSignal): Promise<Answer<PortalReply>> =>
    this.#post("/api/llm/chat/session", data, signal);

  /**
   * The answer as it comes.
   *
   * Exactly one of `onComplete` and `onError` is called, once, and the promise resolves with the
   * text. Without `onError` it rejects instead. An abort is no error: neither is called, the run is
   * stopped, and the promise resolves with what was read. A lost connection is taken up again.
   * What a callback throws ends the stream, as an error of it.
   */
  chatStream = (
    data: ChatQuestion,
    onChunk?: OnChunk,
    onComplete?: OnComplete,
    onError?: OnError,
    signal?: AbortSignal,
    more?: MoreCallbacks,
  ): Promise<string> =>
    this.#stream("/api/llm/chat/stream", data, { onChunk, onComplete, onError, signal, ...more });

  /** The same within a session. */
  chatSessionStream = (
    data: PortalSessionBody,
    onChunk?: OnChunk,
    onComplete?: OnComplete,
    onError?: OnError,
    signal?: AbortSignal,
    more?: MoreCallbacks,
  ): Promise<string> =>
    this.#stream("/api/llm/chat/session/stream", data, {
      ...{ onChunk, onComplete, onError, signal },
      ...more,
    });

  /** What was said in a session, its system message first. 404 for an unknown one. */
  getSessionHistory = (id: string): Promise<Answer<PortalHistory>> =>
    // An address can't hold these two: every URL parser takes them for folders.
    id === "." || id === ".."
      ? this.getSessionHistoryPost(id)
      : this.#ask("GET", `/api/llm/chat/session/${encodeURIComponent(id)}/history`);

  /** The same, with the id in the body. */
  getSessionHistoryPost = (id: string): Promise<Answer<PortalHistory>> =>
    this.#post("/api/llm/chat/session/history", { session_id: id });

  /** Forgets a session; also well for one that isn't there. */
  clearSession = (id: string): Promise<Answer<PortalCleared>> =>
    id === "." || id === ".."
      ? Promise.reject(new PenstockError(`a session called ${id} can't be named in an address`))
      : this.#ask("DELETE", `/api/llm/chat/session/${encodeURIComponent(id)}`);

  /** Whether the server is there. */
  healthCheck = (): Promise<Answer<PortalHealth>> => this.#ask("GET", "/api/llm/health");

  /** The names that the portal's documents have for two of them. */
  sessionChat = this.chatSession;
  health = this.healthCheck;

  /** The portal's game. A Penstock has no such routes: there they reject with 404. */
  mazeAgent = (data: Body, signal?: AbortSignal): Promise<Answer<Body>> =>
    this.#post("/api/llm/maze/agent", data, signal);
  getMazeMemoryStats = (id: string): Promise<Answer<Body>> =>
    this.#ask("GET", `/api/llm/maze/memory/${encodeURIComponent(id)}`);
  clearMazeMemory = (id: string): Promise<Answer<Body>> =>
    this.#ask("DELETE", `/api/llm/maze/memory/${encodeURIComponent(id)}`);

  #post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<Answer<T>> {
    return this.#ask("POST", path, body, signal);
  }

  async #ask<T>(
    method: "GET" | "POST" | "DELETE",
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<Answer<T>> {
    const { data, response } = await this.#connection.json<T>({ method, path, body, signal });
    const { status, statusText, headers } = response;
    return { data, status, statusText, headers };
  }

  async #stream(path: string, body: unknown, told: Told): Promise<string> {
    const source = new PortalSource(this.#connection, path, body, this.#resume);
    const follower = new Follower(this.#connection, source);
    const heard = { text: "" };
    try {
      await read(source, follower, told, heard);
    } catch (error) {
      source.stop();
      if (stopped(told.signal)) return heard.text;
      if (!told.onError) throw error;
      told.onError(error instanceof Error ? error : new Error(String(error)));
      return heard.text;
    } finally {
      follower.close();
    }
    told.onComplete?.(); // Not inside: what it throws is no error of the stream.
    return heard.text;
  }
}

/** The caller's side of a stream. */
interface Told extends MoreCallbacks {
  onChunk: OnChunk | undefined;
  onComplete: OnComplete | undefined;
  onError: OnError | undefined;
  signal: AbortSignal | undefined;
}

/** Reads until `done`. Raises what went wrong. */
async function read(
  source: PortalSource,
  follower: Follower<PortalEvent>,
  told: Told,
  heard: { text: string },
): Promise<void> {
  told.signal?.throwIfAborted(); // Then nothing is asked.
  await sooner(source.begin(), told.signal);
  for (;;) {
    const events = await follower.next(told.signal);
    if (events === undefined) throw new ConnectionLostError("the stream ended without its end");
    for (const event of events) {
      told.signal?.throwIfAborted(); // A callback may have pressed the button.
      if (event.error) {
        throw new StreamFailedError({ code: "failed", message: event.error }, heard.text);
      }
      if (event.done) return;
      if (event.tool_calls) told.onToolCalls?.(event.tool_calls);
      if (event.content) {
        heard.text += event.content;
        told.onChunk?.(event.content);
      }
    }
  }
}

/** Whether somebody pressed the button. `AbortSignal.timeout` is nobody: that is an error. */
function stopped(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true && (signal.reason as Error | undefined)?.name !== "TimeoutError";
}

/** The functions, for a server of one's choice. Its default is the page's own, with its token. */
export function createLlmAPI(options: LlmApiOptions = {}): LlmAPI {
  return new LlmAPI(options);
}

/** As the portal's `api.ts` exports it: the page's own server, the token from `localStorage`. */
export const llmAPI: LlmAPI = /* @__PURE__ */ createLlmAPI();

/** The portal's place for its token. Node's own `localStorage` is a file, and is left alone. */
function storedToken(): string | null {
  if (!("document" in globalThis)) return null;
  try {
    return globalThis.localStorage.getItem("token");
  } catch {
    return null; // A browser that keeps nothing for this page.
  }
}
