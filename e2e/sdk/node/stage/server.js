import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The key pair that every server of these tests is started with. */
export const KEY = 'sdkkey';
export const SECRET = 'a-secret-of-the-libraries-that-is-long-enough';

const TARGET = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../../../target', import.meta.url));
const ROOMFUL = process.env.ROOMFUL_BINARY ?? join(TARGET, 'release/roomful');
const START_MILLISECONDS = 20_000;

/** A server that speaks LiveKit's protocol, started as a process of its own on free ports. */
export class Server {
  /** @param {import('node:child_process').ChildProcess} child @param {number} port @param {string[]} said */
  constructor(child, port, said) {
    this.child = child;
    this.said = said;
    /** Where its API is. */
    this.http = `http://127.0.0.1:${port}`;
    /** Where clients connect to. */
    this.ws = `ws://127.0.0.1:${port}`;
    this.ended = new Promise((resolve) => child.on('exit', resolve));
  }

  /**
   * Starts `program` (Roomful unless told otherwise) and waits until it answers. Both servers read LiveKit's configuration from one
   * environment variable; JSON is YAML.
   *
   * @param {Record<string, unknown>} [settings] added to those that every server here has
   * @param {string} [program]
   */
  static async start(settings = {}, program = ROOMFUL) {
    if (!existsSync(program)) throw new Error(`${program} is missing: cargo build --release`);
    const { port, media } = await freePorts();
    const configuration = {
      port,
      keys: { [KEY]: SECRET },
      rtc: { udp_port: media, tcp_port: 0, node_ip: '127.0.0.1', use_external_ip: false, enable_loopback_candidate: true },
      ...settings,
    };
    const child = spawn(program, [], {
      env: { ...process.env, NO_COLOR: '1', LIVEKIT_CONFIG: JSON.stringify(configuration) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    /** @type {string[]} */
    const said = [];
    child.stdout.on('data', (chunk) => said.push(String(chunk)));
    child.stderr.on('data', (chunk) => said.push(String(chunk)));
    const server = new Server(child, port, said);
    await server.#answers();
    return server;
  }

  /** Everything it has logged. */
  get log() {
    return this.said.join('');
  }

  /** Ends it and waits until it has. */
  async stop() {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  async #answers() {
    const deadline = Date.now() + START_MILLISECONDS;
    while (!(await fetch(this.http).then(() => true, () => false))) {
      if (this.child.exitCode !== null) throw new Error(`the server ended with ${this.child.exitCode}:\n${this.log}`);
      if (Date.now() > deadline) throw new Error(`the server does not answer:\n${this.log}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** A free TCP port, and the first of as many free UDP ports as there may be media workers. */
async function freePorts() {
  const workers = availableParallelism();
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const media = 32_000 + Math.floor(Math.random() * 700) * workers;
    const wanted = Array.from({ length: workers }, (_, at) => udpIsFree(media + at));
    if ((await Promise.all(wanted)).every(Boolean)) return { port: await freeTcp(), media };
  }
  throw new Error(`no ${workers} neighbouring UDP ports are free`);
}

/** A TCP port that is free now. @returns {Promise<number>} */
export function freeTcp() {
  return new Promise((resolve, reject) => {
    const listener = createServer();
    listener.on('error', reject);
    listener.listen(0, '127.0.0.1', () => {
      const address = listener.address();
      listener.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** @param {number} port @returns {Promise<boolean>} */
function udpIsFree(port) {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.on('error', () => resolve(false));
    socket.bind(port, '0.0.0.0', () => socket.close(() => resolve(true)));
  });
}
