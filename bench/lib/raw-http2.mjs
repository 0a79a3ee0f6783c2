// As much of an HTTP/2 client as gRPC calls with one request on the loopback need, and no more: a client that is to keep a server busy must cost
// less than what it measures, and grpc-js costs the same on both sides. Frames and header fields: RFC 9113 and RFC 7541.
import { connect } from "node:net";

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const END_STREAM = 1;
const ACK = 1;
const END_HEADERS = 4;
const headerBytes = 9;
/** Before each message: whether it is compressed, and its length. */
const prefixBytes = 5;
const nothing = Buffer.alloc(0);
/** The most that may be granted; nothing here receives so much, so that windows need no keeping. */
const wholeWindow = 0x7fff_ffff;

function frame(type, flags, stream, payload) {
  const bytes = Buffer.alloc(headerBytes + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  payload.copy(bytes, headerBytes);
  return bytes;
}

/** A field that neither side keeps, with a name of its own. */
function field(name, value) {
  return Buffer.concat([Buffer.of(0, name.length), Buffer.from(name), Buffer.of(value.length), Buffer.from(value)]);
}

/** POST and http are fields 3 and 6 of the static table, :path is name 4, :authority name 1. */
function headersOf(path, authority) {
  const named = (index, value) => Buffer.concat([Buffer.of(index, value.length), Buffer.from(value)]);
  return Buffer.concat([
    Buffer.of(0x83, 0x86),
    named(4, path),
    named(1, authority),
    field("content-type", "application/grpc"),
    field("te", "trailers"),
  ]);
}

function takeMessages(call, payload) {
  let data = call.rest.length === 0 ? payload : Buffer.concat([call.rest, payload]);
  while (data.length >= prefixBytes) {
    const end = prefixBytes + data.readUInt32BE(1);
    if (data.length < end) break;
    call.messages++;
    call.onMessage(data.subarray(prefixBytes, end));
    data = data.subarray(end);
  }
  call.rest = data.length === 0 ? nothing : Buffer.from(data);
}

export class RawConnection {
  #socket;
  #authority;
  #nextStream = 1;
  #rest = Buffer.alloc(0);
  #calls = new Map();
  #paths = new Map();
  #out = [];

  constructor(address) {
    const [host, port] = address.split(":");
    this.#authority = address;
    this.#socket = connect({ host, port: Number(port), noDelay: true });
    this.#socket.on("data", (bytes) => this.#read(bytes));
    this.#socket.on("error", (error) => this.#fail(error));
    this.#socket.on("close", () => this.#fail(new Error("the server closed the connection")));
    const settings = Buffer.alloc(6);
    settings.writeUInt16BE(4, 0);
    settings.writeUInt32BE(wholeWindow, 2);
    const more = Buffer.alloc(4);
    more.writeUInt32BE(wholeWindow - 65_535, 0);
    this.#send(Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(SETTINGS, 0, 0, settings), frame(8, 0, 0, more));
  }

  /** Calls back with the bytes of each message; throws in the process when a call fails, because then nothing is measured. */
  call(path, message, onMessage) {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    let headers = this.#paths.get(path);
    if (headers === undefined) {
      headers = headersOf(path, this.#authority);
      this.#paths.set(path, headers);
    }
    const payload = Buffer.alloc(prefixBytes + message.length);
    payload.writeUInt32BE(message.length, 1);
    payload.set(message, prefixBytes);
    this.#calls.set(stream, { onMessage, rest: nothing, messages: 0, path });
    this.#send(frame(HEADERS, END_HEADERS, stream, headers), frame(DATA, END_STREAM, stream, payload));
  }

  close() {
    this.#socket.removeAllListeners("close");
    this.#socket.destroy();
  }

  /** What is sent in one turn goes out as one piece. */
  #send(...frames) {
    if (this.#out.length === 0) {
      queueMicrotask(() => {
        this.#socket.write(Buffer.concat(this.#out));
        this.#out = [];
      });
    }
    this.#out.push(...frames);
  }

  #read(bytes) {
    let data = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (data.length >= headerBytes) {
      const length = data.readUIntBE(0, 3);
      if (data.length < headerBytes + length) break;
      this.#take(data[3], data[4], data.readUInt32BE(5), data.subarray(headerBytes, headerBytes + length));
      data = data.subarray(headerBytes + length);
    }
    this.#rest = data;
  }

  #take(type, flags, stream, payload) {
    if (type === SETTINGS && (flags & ACK) === 0) this.#send(frame(SETTINGS, ACK, 0, nothing));
    else if (type === PING && (flags & ACK) === 0) this.#send(frame(PING, ACK, 0, payload));
    else if (type === GOAWAY || type === RST_STREAM)
      this.#fail(new Error(`the server ended ${stream === 0 ? "all" : "a call"}`));
    const call = this.#calls.get(stream);
    if (call === undefined) return;
    if (type === DATA) takeMessages(call, payload);
    if ((flags & END_STREAM) === 0) return;
    this.#calls.delete(stream);
    // A call that fails has trailers and no message.
    if (call.messages === 0) this.#fail(new Error(`${call.path} failed`));
  }

  #fail(error) {
    throw error;
  }
}
