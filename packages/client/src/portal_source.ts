/** A stream of the session chat: what to ask for, and what comes of it. */

import type { Connection } from "./connection.js";
import { ProtocolError } from "./errors.js";
import type { Source } from "./follower.js";
import type { PortalCalls, PortalEnd, PortalPiece, PortalTrouble } from "./schema.js";
import type { ServerSentEvent } from "./sse.js";
import { cancel } from "./stream.js";

/** An event; the first of `error`, `done`, `content` that is there counts. */
export type PortalEvent = Partial<PortalPiece & PortalCalls & PortalEnd & PortalTrouble>;

const PLACE = /^([^@]+)@(\d{1,18})\.(\d{1,9})$/;

/**
 * With `resume` the server is asked to name every event (`Last-Event-ID`, empty), and the same route
 * with the last name gives exactly the rest. A server that names none can't be taken up again.
 */
export class PortalSource implements Source<PortalEvent> {
  finished = false;
  strict = false;
  #stream: string | undefined;
  #last = "";
  #seq = -1;
  #part = -1;
  #first: Promise<Response> | undefined;

  constructor(
    private readonly connection: Connection,
    private readonly path: string,
    private readonly body: unknown,
    private readonly resume: boolean,
  ) {}

  /** Not before the stream has a name: asking again would begin another. */
  get resumable(): boolean {
    return this.resume && this.#stream !== undefined;
  }

  /** Asks. No signal ends it: whoever aborts before the answer needs the id to stop the run. */
  async begin(): Promise<void> {
    this.#first = this.#ask();
    const response = await this.#first;
    this.#stream = response.headers.get("Penstock-Stream") ?? undefined;
    this.strict = this.resume && this.#stream !== undefined;
  }

  /** Stops the run, where there is one, and lets go of an answer that nobody has read. */
  stop(): void {
    const first = this.#first;
    if (first === undefined || this.finished) return;
    const stopped = first.then(async (response) => {
      if (!response.bodyUsed && !response.body?.locked) await response.body?.cancel();
      const id = response.headers.get("Penstock-Stream");
      if (id !== null) await cancel(this.connection, id);
    });
    stopped.catch(() => undefined); // Best effort: the run's own policy is what remains.
  }

  async open(signal: AbortSignal): Promise<Response> {
    const first = await this.#first;
    if (first && !first.bodyUsed && !first.body?.locked) return first;
    return this.#ask(signal);
  }

  take(events: ServerSentEvent[], into: PortalEvent[]): void {
    for (const { data, id } of events) {
      if (this.strict && !this.#isNext(id)) continue;
      const event = data === "[DONE]" && !this.strict ? { done: true as const } : parsed(data);
      if (event.error || event.done) this.finished = true;
      into.push(event);
      if (id !== undefined) this.#reached(id);
      if (this.finished) return;
    }
  }

  #ask(signal?: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (this.resume) {
      headers["Last-Event-ID"] = this.#last || (this.#stream ? `${this.#stream}@0.0` : "");
      headers["Penstock-On-Disconnect"] = "linger";
    }
    const { path, body } = this;
    return this.connection.ask({ method: "POST", path, headers, body, signal });
  }

  /** False for what has come before. Raises `ProtocolError` for a name that can't be the next. */
  #isNext(id: string | undefined): boolean {
    const place = PLACE.exec(id ?? "");
    if (!place || place[1] !== this.#stream) throw new ProtocolError(`an event is called ${id}`);
    const seq = Number(place[2]);
    const part = Number(place[3]);
    if (seq < this.#seq || (seq === this.#seq && part <= this.#part)) return false;
    const next = seq === this.#seq ? this.#part + 1 : 0;
    if (part !== next) throw new ProtocolError(`event ${id} came after ${this.#last}`);
    return true;
  }

  #reached(id: string): void {
    const place = PLACE.exec(id);
    if (!place || !this.resume) return;
    this.#last = id;
    this.#seq = Number(place[2]);
    this.#part = Number(place[3]);
  }
}

function parsed(data: string): PortalEvent {
  try {
    const event: unknown = JSON.parse(data);
    if (typeof event === "object" && event !== null) return event;
  } catch (error) {
    throw new ProtocolError("an event is no JSON", { cause: error });
  }
  throw new ProtocolError("an event is no JSON object");
}
