/** Server-sent events out of bytes, as the HTML standard reads them (9.2.6), in any pieces. */

import { ProtocolError } from "./errors.js";

/** One event. `id` is the one in its own block, if there was any. */
export interface ServerSentEvent {
  data: string;
  event: string;
  id: string | undefined;
}

/** Set-up of a reader. */
export interface DecoderOptions {
  /**
   * Refuse what a Penstock never sends: broken UTF-8, unknown fields, text before a colon that is
   * none of the fields. Off, such things are read as the standard says.
   */
  strict?: boolean;
  /** The longest event, in UTF-16 units; a longer one raises `ProtocolError`. 16 Mi by default. */
  longest?: number;
}

const BYTE_ORDER_MARK = 0xfeff;
const LF = 10;
const SPACE = 32;
const COLON = 58;
const LOWER_D = 100;
const LOWER_I = 105;

function isNumber(text: string, from: number, end: number): boolean {
  for (let at = from; at < end; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (digit < 0 || digit > 9) return false;
  }
  return from < end;
}

/** Feed it bytes; it gives the events that they complete. What is left at the end was no event. */
export class SseDecoder {
  /** As a browser keeps it: the last `id` that any block has set. */
  lastEventId = "";
  /** The last `retry`, in milliseconds. */
  retry: number | undefined;
  /** How many comments there were: they prove that the peer lives. */
  comments = 0;

  readonly #decoder: TextDecoder;
  readonly #strict: boolean;
  readonly #longest: number;
  #rest = "";
  #data: string | undefined;
  #event = "";
  #id: string | undefined;
  #afterCr = false;
  #begun = false;

  constructor(options: DecoderOptions = {}) {
    this.#strict = options.strict ?? false;
    this.#longest = options.longest ?? 16 * 1024 * 1024;
    this.#decoder = new TextDecoder("utf-8", { fatal: this.#strict, ignoreBOM: true });
  }

  /** The events that `bytes` complete. Raises `ProtocolError`; the decoder is of no use then. */
  feed(bytes: Uint8Array): ServerSentEvent[] {
    const found: ServerSentEvent[] = [];
    const text = this.#decode(bytes);
    if (text === "") return found;
    let from = 0;
    if (!this.#begun) {
      // Here and not by the decoder: Node's strips one too many when the mark comes in pieces.
      this.#begun = true;
      if (text.charCodeAt(0) === BYTE_ORDER_MARK) from = 1;
    }
    if (this.#afterCr) {
      this.#afterCr = false;
      if (text.charCodeAt(0) === LF) from = 1;
    }
    let cr = text.indexOf("\r", from);
    for (;;) {
      const lf = text.indexOf("\n", from);
      let end = lf;
      let next = lf + 1;
      if (cr !== -1 && (lf === -1 || cr < lf)) {
        end = cr;
        next = cr + 1;
        if (next === text.length) this.#afterCr = true;
        else if (text.charCodeAt(next) === LF) next++;
        cr = text.indexOf("\r", next);
      } else if (lf === -1) break;
      if (this.#rest === "") this.#line(text, from, end, found);
      else {
        const line = this.#rest + text.slice(from, end);
        this.#rest = "";
        this.#line(line, 0, line.length, found);
      }
      from = next;
    }
    if (from < text.length) {
      this.#rest += text.slice(from);
      this.#check(this.#rest.length);
    }
    return found;
  }

  #decode(bytes: Uint8Array): string {
    try {
      return this.#decoder.decode(bytes, { stream: true });
    } catch (error) {
      throw new ProtocolError("the stream is not UTF-8", { cause: error });
    }
  }

  #check(length: number): void {
    if (length + (this.#data?.length ?? 0) > this.#longest) {
      throw new ProtocolError(`an event is longer than ${this.#longest} characters`);
    }
  }

  /** The line `text[from:end]`, without its end. */
  #line(text: string, from: number, end: number, found: ServerSentEvent[]): void {
    if (from === end) {
      if (this.#data !== undefined) {
        found.push({ data: this.#data, event: this.#event || "message", id: this.#id });
      }
      this.#data = this.#id = undefined;
      this.#event = "";
      return;
    }
    // The line that nearly all are. A line's end is no letter, so this never looks past it.
    if (
      text.charCodeAt(from) === LOWER_D &&
      text.startsWith("data", from) &&
      text.charCodeAt(from + 4) === COLON &&
      from + 4 < end
    ) {
      const at = from + 5;
      this.#addData(text.slice(at < end && text.charCodeAt(at) === SPACE ? at + 1 : at, end));
      return;
    }
    if (
      text.charCodeAt(from) === LOWER_I &&
      text.startsWith("id: ", from) &&
      isNumber(text, from + 4, end)
    ) {
      this.lastEventId = this.#id = text.slice(from + 4, end);
      return;
    }
    this.#field(text.slice(from, end));
  }

  #addData(value: string): void {
    this.#check(value.length);
    this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
  }

  #field(line: string): void {
    const colon = line.indexOf(":");
    if (colon === 0) {
      this.comments++;
      return;
    }
    const name = colon === -1 ? line : line.slice(0, colon);
    const at = line.charCodeAt(colon + 1) === SPACE ? colon + 2 : colon + 1;
    const value = colon === -1 ? "" : line.slice(at);
    if (name === "data") this.#addData(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") {
      if (!value.includes("\0")) this.lastEventId = this.#id = value;
    } else if (name === "retry") {
      if (/^[0-9]+$/.test(value)) this.retry = Number(value);
    } else if (this.#strict) {
      throw new ProtocolError("the stream has a line that is none of server-sent events");
    }
  }
}

/** The events of a response's body, one by one. Leaving the loop closes it. */
export function readEvents(
  body: ReadableStream<Uint8Array>,
  options?: DecoderOptions,
): AsyncIterableIterator<ServerSentEvent, void, undefined> {
  type Next = IteratorResult<ServerSentEvent, void>;
  const decoder = new SseDecoder(options);
  const reader = body.getReader();
  let batch: ServerSentEvent[] = [];
  let at = 0;
  let filling: Promise<Next> | undefined;
  const close = (): void => void reader.cancel().catch(() => undefined);

  const read = (): Promise<Next> => reader.read().then(take);
  const take = ({ done, value }: ReadableStreamReadResult<Uint8Array>): Next | Promise<Next> => {
    if (done) return { done: true, value: undefined };
    try {
      batch = decoder.feed(value);
    } catch (error) {
      close();
      throw error;
    }
    at = 1;
    return batch[0] === undefined ? read() : { done: false, value: batch[0] };
  };
  // Whoever asks twice at once is answered in turn.
  const fill = (): Promise<Next> => {
    if (filling) return filling.then(() => events.next());
    const done = (): void => void (filling = undefined);
    filling = read();
    filling.then(done, done);
    return filling;
  };

  // By hand and not as a generator: what a read brought costs one promise an event, not four.
  const events: AsyncIterableIterator<ServerSentEvent, void, undefined> = {
    [Symbol.asyncIterator]: () => events,
    next: () => {
      const value = batch[at];
      if (value === undefined) return fill();
      at++;
      return Promise.resolve({ done: false, value });
    },
    return: () => {
      batch = [];
      close();
      return Promise.resolve({ done: true, value: undefined });
    },
  };
  return events;
}
