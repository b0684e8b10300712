import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePorts } from './ports';

/** Where cargo puts what it builds. */
const TARGET = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../target', import.meta.url));

const BINARY = process.env.ROOMFUL_BINARY ?? join(TARGET, 'release/roomful');
const START_MILLISECONDS = 10_000;

/** The release binary, running on ports of its own. */
export class Server {
  private constructor(
    private readonly child: ChildProcess,
    /** Where the page is: `http://localhost:41234`. */
    readonly url: string,
    readonly port: number,
    /** First of the ports that media arrives at. */
    readonly mediaPort: number,
    private readonly said: string[],
    private readonly ended: Promise<number | null>,
  ) {}

  /** Starts the binary and waits until it answers; `environment` is added to the one it inherits. */
  static async start(environment: Record<string, string> = {}, flags: string[] = []): Promise<Server> {
    if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: cargo build --release`);
    const { http, media } = await freePorts(Math.max(2, availableParallelism()));
    const child = spawn(BINARY, ['--port', String(http), '--udp-port', String(media), '--tcp-port', '0', ...flags], {
      env: { ...process.env, NO_COLOR: '1', ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const said: string[] = [];
    child.stdout?.on('data', (chunk: Buffer) => said.push(chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => said.push(chunk.toString()));
    const ended = new Promise<number | null>((resolve, reject) => {
      child.on('exit', (code) => resolve(code));
      child.on('error', reject);
    });
    const server = new Server(child, `http://localhost:${http}`, http, media, said, ended);
    await server.answers();
    return server;
  }

  /** Everything the server has logged so far. */
  get log(): string {
    return this.said.join('');
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error('the server has no process id');
    return this.child.pid;
  }

  /** Asks the server to stop, as an operator does; resolves to its exit code. */
  stop(): Promise<number | null> {
    this.child.kill('SIGTERM');
    return this.ended;
  }

  /** Ends it without asking, for when a test is over. */
  kill(): void {
    this.child.kill('SIGKILL');
  }

  private async answers(): Promise<void> {
    const deadline = Date.now() + START_MILLISECONDS;
    for (;;) {
      const healthy = await fetch(`${this.url}/healthcheck`).then((answer) => answer.ok, () => false);
      if (healthy) return;
      if (this.child.exitCode !== null) throw new Error(`the server ended with ${this.child.exitCode}:\n${this.log}`);
      if (Date.now() > deadline) {
        this.kill();
        throw new Error(`the server did not answer /healthcheck in ${START_MILLISECONDS} ms:\n${this.log}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
