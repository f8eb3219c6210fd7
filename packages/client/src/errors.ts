/** What can go wrong. Every error of this package is a `PenstockError`. */

/** The root. `retryable`: whether the same call may go well later. */
export class PenstockError extends Error {
  override name = "PenstockError";
  readonly retryable: boolean = false;
}

/** As axios has it, for code that was written for it. */
export interface ErrorResponse {
  status: number;
  statusText: string;
  /** The body: JSON if it was any, else text. */
  data: unknown;
  headers: Headers;
}

const ADVICE: Record<number, string> = {
  401: "the key was refused, or one is needed",
  403: "not allowed; check the key and what it may do",
  404: "not found; check the name and the address",
  409: "busy; try again when the running answer has ended",
  422: "the server refused the request",
  429: "too many requests; try again later",
  501: "nothing there makes what was asked for",
  503: "the server can't answer now; try again later",
};

/** An answer that is no success. */
export class HttpError extends PenstockError {
  override name = "HttpError";
  override readonly retryable: boolean;
  readonly status: number;
  /** What the server said, in its own words. */
  readonly said: string;
  /** How long the server asks to wait, in milliseconds. */
  readonly retryAfter: number | undefined;
  readonly response: ErrorResponse;

  constructor(response: ErrorResponse) {
    const said = told(response.data);
    const advice = ADVICE[response.status];
    super(`HTTP error! status: ${response.status}${said && `: ${said}`}${advice ? ` (${advice})` : ""}`);
    this.status = response.status;
    this.said = said;
    this.response = response;
    this.retryable = [408, 425, 429, 500, 502, 503, 504].includes(response.status);
    const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
    this.retryAfter = seconds >= 0 ? seconds * 1000 : undefined;
  }
}

/** No connection, or none that lasted. Of a stream: for longer than `patience`. */
export class ConnectionLostError extends PenstockError {
  override name = "ConnectionLostError";
  override readonly retryable = true;
}

/** What arrived is not what a stream is made of. A stream is read again before this is raised. */
export class ProtocolError extends PenstockError {
  override name = "ProtocolError";
  override readonly retryable = true;
}

/** The generation itself broke. `code` and `param` as in the `failed` event; `text`: what there was. */
export class StreamFailedError extends PenstockError {
  override name = "StreamFailedError";
  override readonly retryable: boolean;
  readonly code: string;
  readonly param: string | undefined;
  readonly text: string;

  constructor(
    failed: { code: string; message: string; retryable?: boolean; param?: string | null },
    text = "",
  ) {
    super(failed.message);
    this.code = failed.code;
    this.retryable = failed.retryable ?? false;
    this.param = failed.param ?? undefined;
    this.text = text;
  }
}

/** The message in an error's body, in any of the shapes that servers use. */
function told(data: unknown): string {
  if (typeof data === "string") return data.trimStart().startsWith("<") ? "" : data.slice(0, 500);
  if (typeof data !== "object" || data === null) return "";
  const { error, detail, message } = data as { error?: unknown; detail?: unknown; message?: unknown };
  if (typeof error === "object" && error !== null) return told(error);
  for (const text of [error, detail, message]) {
    if (typeof text === "string") return text.slice(0, 500);
  }
  return detail === undefined ? "" : JSON.stringify(detail).slice(0, 500);
}
