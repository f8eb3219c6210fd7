/** The client. */

import { Connection, type ConnectionOptions } from "./connection.js";
import { PenstockError } from "./errors.js";
import type { Result } from "./events.js";
import type { OpenAiChatBody, OpenAiChatMessage, OpenAiModel, StreamInfo } from "./schema.js";
import type { OpenAiModelList, StreamDeleted, StreamList } from "./schema.js";
import { type Beginning, Stream, cancel } from "./stream.js";

/** A question: its text, its messages, or all that `POST /v1/chat/completions` takes. */
export type Question = string | OpenAiChatMessage[] | Omit<OpenAiChatBody, "stream" | "stream_options">;

/** How a stream is begun. */
export interface BeginOptions {
  /** Aborting it stops the run. */
  signal?: AbortSignal | undefined;
  /**
   * What becomes of the run when its last reader is lost. `linger`, the default here: it goes on for
   * the server's `[streams] linger_seconds`, so that a lost connection can come back.
   */
  onDisconnect?: "cancel" | "finish" | "linger";
}

/** How a stream that is there is read. */
export interface ResumeOptions {
  /** The seq of the last event that one has. */
  after?: number;
  /** 1: with the gaps of the recording; 0, the default: as fast as it is read. */
  speed?: number;
  /** Aborting it ends the reading, not the run. */
  signal?: AbortSignal | undefined;
}

/** Speaks to one Penstock. */
export class Penstock {
  readonly #connection: Connection;

  /** `options`: the server's address, or more. Nothing is asked of it yet. */
  constructor(options: string | ConnectionOptions = {}) {
    this.#connection = new Connection(typeof options === "string" ? { url: options } : options);
  }

  /** Begins a generation. It is asked for at once, and read when it is read. */
  stream(question: Question, options: BeginOptions = {}): Stream {
    const beginning = this.#begin(question, options);
    beginning.catch(() => undefined); // Whoever reads is told.
    return new Stream(this.#connection, beginning, { signal: options.signal, owned: true });
  }

  /** A stream that is there: all of it, or what follows `after`. */
  resume(id: string, options: ResumeOptions = {}): Stream {
    const beginning = Promise.resolve({ id, followed: () => undefined });
    return new Stream(this.#connection, beginning, { ...options, owned: false });
  }

  /** The whole answer. Raises `StreamFailedError`, `HttpError`, `ConnectionLostError`. */
  generate(question: Question, options: BeginOptions = {}): Promise<Result> {
    return this.stream(question, options).result();
  }

  /** The newest streams that this key may see, at most `limit` of 1000. */
  async streams(limit = 50): Promise<StreamInfo[]> {
    return (await this.#connection.json<StreamList>({ path: `/v1/streams?limit=${limit}` })).data.data;
  }

  /** Stops a stream's run; false when it had ended. */
  cancel(id: string): Promise<boolean> {
    return cancel(this.#connection, id);
  }

  /** Stops a stream's run and erases it. */
  async erase(id: string): Promise<boolean> {
    const path = `/v1/streams/${encodeURIComponent(id)}`;
    return (await this.#connection.json<StreamDeleted>({ method: "DELETE", path })).data.deleted;
  }

  /** A picture or preview that an event of the stream names. */
  async blob(id: string, sha256: string): Promise<Blob> {
    const path = `/v1/streams/${encodeURIComponent(id)}/blobs/${encodeURIComponent(sha256)}`;
    return (await this.#connection.ask({ path })).blob();
  }

  /** What the server offers. */
  async models(): Promise<OpenAiModel[]> {
    return (await this.#connection.json<OpenAiModelList>({ path: "/v1/models" })).data.data;
  }

  async #begin(question: Question, options: BeginOptions): Promise<Beginning> {
    options.signal?.throwIfAborted();
    // Not ended by the signal: whoever aborts before the answer needs the id to stop the run.
    const response = await this.#connection.ask({
      method: "POST",
      path: "/v1/chat/completions",
      headers: {
        Accept: "text/event-stream",
        "Penstock-On-Disconnect": options.onDisconnect ?? "linger",
      },
      body: { ...bodyOf(question), stream: true },
    });
    // It is kept open until the stream is followed: until then it is the run's only reader.
    let body = response.body;
    const followed = (): void => {
      body?.cancel().catch(() => undefined);
      body = null;
    };
    const id = response.headers.get("Penstock-Stream");
    if (id === null) {
      followed();
      throw new PenstockError("that is no Penstock: its answer names no stream");
    }
    return { id, followed };
  }
}

function bodyOf(question: Question): Omit<OpenAiChatBody, "stream"> {
  if (typeof question === "string") return { messages: [{ role: "user", content: question }] };
  return Array.isArray(question) ? { messages: question } : question;
}
