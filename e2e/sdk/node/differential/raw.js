import { JoinRequest, SignalRequest, SignalResponse, WrappedJoinRequest } from '@livekit/protocol';
import { until } from '../stage/wait.js';

/** The value of `join_request` in a query. @param {object} [request] of a `JoinRequest` */
export function wrapped(request = {}) {
  const joinRequest = new JoinRequest({ clientInfo: { sdk: 1, version: '2.15.0', protocol: 16 }, ...request }).toBinary();
  return Buffer.from(new WrappedJoinRequest({ joinRequest }).toBinary()).toString('base64');
}

/** A participant without media that speaks the signalling protocol itself, so that every field a client sees can be compared. */
export class RawClient {
  /** @param {WebSocket} socket */
  constructor(socket) {
    this.socket = socket;
    /** What the server sent, as JSON with all names as in the protocol. @type {{ kind: string, value: any }[]} */
    this.messages = [];
    /** How the connection ended. @type {{ code: number, reason: string } | undefined} */
    this.closed = undefined;
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('message', ({ data }) => this.#take(new Uint8Array(data)));
    socket.addEventListener('close', ({ code, reason }) => void (this.closed = { code, reason }));
  }

  /** @param {import('../stage/server.js').Server} server @param {string} jwt @param {object} [request] of a `JoinRequest` */
  static async join(server, jwt, request = {}) {
    const query = new URLSearchParams({ access_token: jwt, join_request: wrapped(request) });
    const client = new RawClient(new WebSocket(`${server.ws}/rtc/v1?${query}`));
    await until('the first message', () => client.messages.length > 0 || client.closed, () => client.closed);
    return client;
  }

  /** Sends one message, given as protobuf's JSON. @param {any} message */
  send(message) {
    this.socket.send(SignalRequest.fromJson(message).toBinary());
  }

  /** Waits for a message of this kind. @param {string} kind @param {number} [from] how many messages to pass over */
  receives(kind, from = 0) {
    return until(kind, () => this.messages.slice(from).find((one) => one.kind === kind), () => this.messages.map((one) => one.kind));
  }

  /** Sends `message` and resolves to all that comes before the answer to a ping sent right after it. @param {any} message */
  async asks(message) {
    const before = this.messages.length;
    this.send(message);
    this.send({ pingReq: { timestamp: '1', rtt: '0' } });
    await this.receives('pongResp', before).catch(() => undefined);
    return this.messages.slice(before).filter(({ kind }) => !['pongResp', 'pong'].includes(kind));
  }

  close() {
    this.socket.close();
  }

  /** @param {Uint8Array} data */
  #take(data) {
    const { message } = SignalResponse.fromBinary(data);
    if (message.case) {
      const value = /** @type {any} */ (message.value);
      this.messages.push({ kind: message.case, value: value?.toJson ? value.toJson({ emitDefaultValues: true }) : String(value) });
    }
  }
}
