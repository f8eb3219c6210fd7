/** A stream in the caller's hands. */

import type { Connection } from "./connection.js";
import { StreamFailedError } from "./errors.js";
import { Folder, type Result, type StreamEvent, TypedSource } from "./events.js";
import { Follower } from "./follower.js";
import type { StreamCancelled } from "./schema.js";

/** How a stream comes to be: by being asked for, or by already being there. */
export interface Beginning {
  id: string;
  /** Called once somebody follows the stream. */
  followed(): void;
}

/** What a stream is made with. */
export interface StreamOptions {
  after?: number;
  speed?: number;
  signal?: AbortSignal | undefined;
  /** Whether an abort stops the run too, not only the reading. */
  owned: boolean;
}

/**
 * The events of one generation, as they come, over however many connections it takes.
 *
 * There is one cursor: `for await`, `text()`, `readable()` and `result()` each go on from where
 * reading has got to. Nothing is read before somebody reads; whoever reads slowly is waited for.
 * Leaving a loop closes the connection, so the server's policy for lost readers applies; reading
 * again goes on from the cursor. Aborting the signal stops the run of a stream that was begun here.
 */
export class Stream implements AsyncIterable<StreamEvent, void, undefined> {
  /** The stream's id, once the server has named it. Rejects when it could not be begun. */
  readonly started: Promise<string>;
  readonly #connection: Connection;
  readonly #options: StreamOptions;
  readonly #beginning: Promise<Beginning>;
  #id: string | undefined;
  #seq: number;
  #follower: Follower<StreamEvent> | undefined;
  #batch: StreamEvent[] = [];
  #at = 0;
  #ended = false;
  #filling: Promise<IteratorResult<StreamEvent, void>> | undefined;
  #release: () => void = () => undefined;
  #unlink: () => void = () => undefined;

  /** @internal */
  constructor(connection: Connection, beginning: Promise<Beginning>, options: StreamOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#seq = options.after ?? 0;
    this.#beginning = beginning;
    this.started = beginning.then(({ id }) => (this.#id = id));
    this.started.catch(() => undefined); // Whoever reads is told; nobody has to await this.
    if (options.owned && options.signal) this.#stopOnAbort(options.signal);
  }

  /** The stream's id, `undefined` until the server has named it. */
  get id(): string | undefined {
    return this.#id;
  }

  /** The seq of the last event that was given out; 0 before the first. */
  get seq(): number {
    return this.#seq;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<StreamEvent, void, undefined> {
    const self: AsyncIterableIterator<StreamEvent, void, undefined> = {
      [Symbol.asyncIterator]: () => self,
      next: () => this.#next(),
      return: () => {
        this.close();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
    return self;
  }

  /** The pieces of the answer's text. Raises `StreamFailedError` where the generation broke. */
  async *text(): AsyncGenerator<string, void, undefined> {
    const folder = new Folder();
    for await (const event of this) {
      if (event.type === "failed") throw new StreamFailedError(event, folder.text);
      folder.feed(event);
      if (event.type === "text" && !event.choice) yield event.text;
    }
  }

  /** Everything from the cursor to the end, added up. Raises `StreamFailedError`. */
  async result(): Promise<Result> {
    const folder = new Folder();
    for await (const event of this) folder.feed(event);
    return folder.result(await this.started);
  }

  /** The events as a `ReadableStream`. It reads ahead by nothing. */
  readable(): ReadableStream<StreamEvent> {
    return readable(this[Symbol.asyncIterator]());
  }

  /** The pieces of text as a `ReadableStream`. */
  readableText(): ReadableStream<string> {
    return readable(this.text());
  }

  /** Stops the run. The stream then ends with `done` and the reason `cancelled`; false: it had ended. */
  async cancel(): Promise<boolean> {
    return cancel(this.#connection, await this.started);
  }

  /** Closes the connection; the stream stays where it is. */
  close(): void {
    this.#follower?.close();
    this.#beginning.then(({ followed }) => followed()).catch(() => undefined);
  }

  #next(): Promise<IteratorResult<StreamEvent, void>> {
    const event = this.#batch[this.#at];
    if (event === undefined || this.#options.signal?.aborted) return this.#fill();
    return Promise.resolve({ done: false, value: this.#give(event) });
  }

  #give(event: StreamEvent): StreamEvent {
    this.#at++;
    this.#seq = event.seq;
    if (event.type === "done" || event.type === "failed") {
      this.#ended = true;
      this.#unlink();
    }
    return event;
  }

  /** Whoever asks twice at once is answered in turn. By hand: this runs once a read. */
  #fill(): Promise<IteratorResult<StreamEvent, void>> {
    if (this.#filling) {
      const then = (): Promise<IteratorResult<StreamEvent, void>> => this.#next();
      return this.#filling.then(then, then);
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    this.#batch = [];
    this.#at = 0;
    const { signal } = this.#options;
    const batch = this.#follower
      ? this.#follower.next(signal)
      : this.#follow().then((follower) => follower.next(signal));
    return (this.#filling = batch.then(this.#took, this.#failed));
  }

  readonly #took = (batch: StreamEvent[] | undefined): IteratorResult<StreamEvent, void> => {
    this.#filling = undefined;
    this.#release();
    const first = batch?.[0];
    if (batch === undefined || first === undefined) return { done: true, value: undefined };
    this.#batch = batch;
    return { done: false, value: this.#give(first) };
  };

  readonly #failed = (error: unknown): never => {
    this.#filling = undefined;
    this.#release();
    throw error;
  };

  async #follow(): Promise<Follower<StreamEvent>> {
    const { signal, speed } = this.#options;
    const { id, followed } = await sooner(this.#beginning, signal);
    const source = new TypedSource(this.#connection, id, this.#seq, speed);
    this.#release = followed;
    return (this.#follower = new Follower(this.#connection, source));
  }

  /** Also where the server has not answered yet: a run that nobody wants any more is stopped. */
  #stopOnAbort(signal: AbortSignal): void {
    if (signal.aborted) return;
    const stop = (): void => {
      const stopped = this.#beginning.then(({ id, followed }) => {
        followed();
        return cancel(this.#connection, id);
      });
      stopped.catch(() => undefined); // Best effort: the run's own policy is what remains.
    };
    signal.addEventListener("abort", stop, { once: true });
    this.#unlink = () => signal.removeEventListener("abort", stop);
  }
}

/** The promise's value, or the abort's reason if that comes first. */
export async function sooner<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) {
    promise.catch(() => undefined);
    throw signal.reason;
  }
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (stop) signal.removeEventListener("abort", stop);
  }
}

/** Stops a stream's run, even while the page is being left; false when it had ended. */
export async function cancel(connection: Connection, id: string): Promise<boolean> {
  const path = `/v1/streams/${encodeURIComponent(id)}/cancel`;
  const { data } = await connection.json<StreamCancelled>({ method: "POST", path, keepalive: true });
  return data.cancelled;
}

function readable<T>(from: AsyncIterator<T, void, undefined>): ReadableStream<T> {
  return new ReadableStream<T>(
    {
      async pull(controller) {
        const { done, value } = await from.next();
        if (done) controller.close();
        else controller.enqueue(value as T);
      },
      async cancel() {
        await from.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}
