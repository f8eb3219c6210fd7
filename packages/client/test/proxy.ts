/**
 * A proxy in front of the gateway that does one thing wrong, once.
 *
 * `/fault/KIND/AT/NONCE/…` is passed on; the first event stream that is asked for under a nonce goes
 * wrong at its event number AT (from 0), every later one is passed on as it is. `/asked/NONCE` tells
 * how many there were.
 */

import { type IncomingMessage, type Server, type ServerResponse, createServer, request } from "node:http";
import type { AddressInfo, Socket } from "node:net";

const PATH = /^\/fault\/(\w+)\/(\d+)\/([^/]+)(\/.*)$/;

export interface Proxy {
  url: string;
  close(): void;
}

export async function startProxy(gateway: string): Promise<Proxy> {
  const asks = new Map<string, number>();
  const { hostname, port } = new URL(gateway);

  const server: Server = createServer((asked, answer) => {
    const [, kind, at, nonce, path] = PATH.exec(asked.url ?? "") ?? [];
    if (kind === undefined || nonce === undefined) {
      const count = asks.get((asked.url ?? "").replace("/asked/", "")) ?? 0;
      answer.writeHead(200, { "access-control-allow-origin": "*" }).end(String(count));
      return;
    }
    const forward = { hostname, port, path, method: asked.method, headers: { ...asked.headers } };
    const upstream = request(forward, (found) => {
      const headers = { ...found.headers };
      delete headers.connection;
      delete headers["transfer-encoding"];
      answer.writeHead(found.statusCode ?? 502, headers);
      answer.flushHeaders();
      const streamed = String(headers["content-type"]).startsWith("text/event-stream");
      // The request that only begins a stream is read by nobody: that one stays whole.
      const read = path?.startsWith("/v1/streams/") || path?.startsWith("/api/llm/");
      const before = asks.get(nonce) ?? 0;
      if (streamed && read) asks.set(nonce, before + 1);
      if (!streamed || !read || before > 0) {
        found.pipe(answer);
        return;
      }
      void fail(found, answer, kind, Number(at)).catch(() => answer.destroy());
    });
    upstream.on("error", () => answer.destroy());
    answer.on("close", () => upstream.destroy());
    asked.pipe(upstream);
  });
  server.keepAliveTimeout = 1000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address() as AddressInfo;
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${address.port}`, close };
}

async function fail(
  found: IncomingMessage,
  answer: ServerResponse,
  kind: string,
  at: number,
): Promise<void> {
  const socket = answer.socket as Socket;
  socket.setNoDelay(true);
  let events = 0;
  for await (const block of blocks(found)) {
    const faulty = block.includes("data:") && events++ === at;
    if (!faulty) {
      if (!answer.write(block)) await once(answer, "drain");
      continue;
    }
    const half = block.subarray(0, block.length >> 1);
    switch (kind) {
      case "drop": // the connection ends, in the middle of an event
        answer.write(half);
        socket.end();
        return;
      case "cut": // and here politely, as if that were all
        answer.end(half);
        return;
      case "reset":
        answer.write(half, () => setTimeout(() => socket.resetAndDestroy(), 2));
        return;
      case "stall":
        answer.write(half);
        return;
      case "dribble":
        for (const byte of block) {
          answer.write(Buffer.of(byte));
          await new Promise(setImmediate);
        }
        break;
      case "garble":
        answer.write(garbled(block, at));
        break;
      default:
        throw new Error(`no such fault: ${kind}`);
    }
  }
  answer.end();
}

/** In turn: bytes that are no UTF-8, a name that is no field, a lost line end, broken JSON. */
function garbled(block: Buffer, at: number): Buffer {
  const wrong = Buffer.from(block);
  const data = wrong.indexOf("data:");
  if (at % 4 === 0) wrong.fill(0xff, data + 8, data + 12);
  else if (at % 4 === 1) wrong.write("dxta", data);
  else if (at % 4 === 2) return wrong.subarray(0, wrong.length - 1);
  else wrong.write("\u0001\u0001\u0001", wrong.length - 6);
  return wrong;
}

async function* blocks(from: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest = Buffer.alloc(0);
  for await (const bytes of from) {
    rest = Buffer.concat([rest, bytes]);
    for (let end = rest.indexOf("\n\n"); end !== -1; end = rest.indexOf("\n\n")) {
      yield rest.subarray(0, end + 2);
      rest = rest.subarray(end + 2);
    }
  }
  if (rest.length > 0) yield rest;
}

function once(answer: ServerResponse, name: string): Promise<void> {
  return new Promise((resolve) => {
    answer.once(name, resolve);
    answer.once("close", resolve);
  });
}
