/** One stream, read over as many connections as it takes. */

import type { Connection } from "./connection.js";
import { ConnectionLostError, HttpError, PenstockError } from "./errors.js";
import { type ServerSentEvent, SseDecoder } from "./sse.js";

/** What is followed: knows its cursor, how to ask for the rest, and what its events mean. */
export interface Source<T> {
  /** Asks for everything behind the cursor. */
  open(signal: AbortSignal): Promise<Response>;
  /** Whether `open` may be called again: before the stream has a name, that would begin another. */
  readonly resumable: boolean;
  /** Whether the peer is known to be a Penstock, so that anything odd is damage. */
  readonly strict: boolean;
  /** Whether the last event has come. */
  readonly finished: boolean;
  /** What new events mean; those that had come before are left out. Raises `ProtocolError`. */
  take(events: ServerSentEvent[], into: T[]): void;
}

/** Reads batches. Reconnects with growing waits, from the cursor; nothing comes twice. */
export class Follower<T> {
  readonly #connection: Connection;
  readonly #source: Source<T>;
  #closing = new AbortController();
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #decoder = new SseDecoder();
  #comments = 0;
  #lostAt: number | undefined;
  #wait: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #reading = false;
  #reads = 0;
  #silent = false;
  /** What was read before the damage that came right behind it. */
  #damage: unknown;

  constructor(connection: Connection, source: Source<T>) {
    this.#connection = connection;
    this.#source = source;
    this.#wait = connection.firstWait;
  }

  /** The next events, at least one; `undefined` at the end. Not to be called twice at once. */
  next(signal: AbortSignal | undefined): Promise<T[] | undefined> {
    return signal === undefined ? this.#next(undefined) : this.#unlessAborted(signal);
  }

  async #unlessAborted(signal: AbortSignal): Promise<T[] | undefined> {
    const stop = (): void => this.close(signal.reason);
    if (signal.aborted) {
      stop();
      throw signal.reason;
    }
    signal.addEventListener("abort", stop, { once: true });
    try {
      return await this.#next(signal);
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /** Closes the connection. `next` opens another, from the cursor. */
  close(reason?: unknown): void {
    this.#closing.abort(reason);
    this.#closing = new AbortController();
    this.#drop();
  }

  async #next(signal: AbortSignal | undefined): Promise<T[] | undefined> {
    const closing = this.#closing.signal;
    const found: T[] = [];
    while (!this.#source.finished) {
      try {
        if (this.#damage !== undefined) throw this.#damage;
        const reader = this.#reader ?? (await this.#connect(closing));
        this.#reading = true;
        const { done, value } = await reader.read();
        this.#reading = false;
        if (done) throw this.#ended();
        this.#reads++;
        this.#feed(value, found);
        if (this.#source.finished) this.#finish();
        if (found.length > 0) return found;
      } catch (error) {
        // What a reset is told as differs by platform.
        const trouble = this.#reading ? broken(error) : error;
        this.#reading = false;
        this.#damage = undefined;
        this.#drop();
        if (closing.aborted) {
          if (signal?.aborted) throw signal.reason;
          return undefined;
        }
        await this.#recover(trouble, closing);
      }
    }
    return undefined;
  }

  #ended(): ConnectionLostError {
    const how = this.#silent ? "was silent for too long" : "was closed before the stream's end";
    return new ConnectionLostError(`the connection ${how}`);
  }

  /** What is whole is given out, even where what follows is damaged. */
  #feed(bytes: Uint8Array, found: T[]): void {
    try {
      this.#source.take(this.#decoder.feed(bytes), found);
    } catch (error) {
      if (found.length === 0) throw error;
      this.#damage = error;
    }
    if (found.length > 0 || this.#decoder.comments > this.#comments) {
      this.#comments = this.#decoder.comments;
      this.#lostAt = undefined;
      this.#wait = this.#connection.firstWait;
    }
  }

  async #connect(closing: AbortSignal): Promise<ReadableStreamDefaultReader<Uint8Array>> {
    const response = await this.#source.open(closing);
    if (response.body === null) throw new ConnectionLostError("the answer has no body");
    const reader = response.body.getReader();
    if (closing.aborted) {
      reader.cancel().catch(() => undefined);
      throw closing.reason;
    }
    this.#decoder = new SseDecoder({ strict: this.#source.strict });
    this.#comments = 0;
    this.#reader = reader;
    this.#watch(reader);
    return reader;
  }

  /** One timer a connection and no clock a read; a caller that takes its time is not silence. */
  #watch(reader: ReadableStreamDefaultReader<Uint8Array>): void {
    const step = this.#connection.silence / 4;
    let reads = this.#reads;
    let quiet = 0;
    this.#silent = false;
    const look = (): void => {
      quiet = this.#reading && reads === this.#reads ? quiet + 1 : 0;
      reads = this.#reads;
      this.#silent = quiet > 4;
      if (this.#silent) reader.cancel().catch(() => undefined);
      else this.#timer = setTimeout(look, step);
    };
    this.#timer = setTimeout(look, step);
  }

  /** The last event has come: lets the answer end by itself, so that the connection can be reused. */
  #finish(): void {
    clearTimeout(this.#timer);
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader === undefined) return;
    const cancel = (): void => void reader.cancel().catch(() => undefined);
    const late = setTimeout(cancel, 1000);
    reader.read().then(
      ({ done }) => {
        clearTimeout(late);
        if (!done) cancel();
      },
      () => clearTimeout(late),
    );
  }

  #drop(): void {
    clearTimeout(this.#timer);
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.cancel().catch(() => undefined);
  }

  /** Waits before the next attempt, or raises what ended the last one. */
  async #recover(error: unknown, closing: AbortSignal): Promise<void> {
    if (!(error instanceof PenstockError && error.retryable && this.#source.resumable)) throw error;
    const now = performance.now();
    this.#lostAt ??= now;
    const asked = error instanceof HttpError ? (error.retryAfter ?? 0) : 0;
    const wait = Math.max(asked, this.#wait * (0.75 + Math.random() / 2));
    if (now + asked - this.#lostAt > this.#connection.patience) throw error;
    await pause(wait, closing);
    this.#wait = Math.min(this.#wait * 2, this.#connection.longestWait);
  }
}

function broken(error: unknown): ConnectionLostError {
  const said = error instanceof Error ? error.message : String(error);
  return new ConnectionLostError(`the connection was lost (${said})`, { cause: error });
}

/** Sleeps; wakes at once when the browser is online again, or when all is over. */
function pause(ms: number, closing: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const events = typeof globalThis.addEventListener === "function" ? globalThis : undefined;
    const wake = (): void => {
      clearTimeout(timer);
      closing.removeEventListener("abort", wake);
      events?.removeEventListener("online", wake);
      resolve();
    };
    const timer = setTimeout(wake, ms);
    closing.addEventListener("abort", wake, { once: true });
    events?.addEventListener("online", wake, { once: true });
  });
}

