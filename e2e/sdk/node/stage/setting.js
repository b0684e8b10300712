import { after, afterEach, before } from 'node:test';
import { dispose } from '@livekit/rtc-node';
import { RoomServiceClient } from 'livekit-server-sdk';
import { Guest } from './guest.js';
import { KEY, SECRET, Server } from './server.js';

/**
 * A server for all tests of a file, and guests that leave after each.
 *
 * @param {() => Record<string, unknown>} [settings] of the server, added to those that every server here has
 */
export function setting(settings = () => ({})) {
  /** @type {Server | undefined} */
  let server;
  /** @type {Guest[]} */
  let guests = [];
  /** @type {{ stop(): Promise<void> }[]} */
  let sources = [];
  let rooms = 0;
  const stage = {
    get server() {
      if (!server) throw new Error('the server has not started');
      return server;
    },
    /** The server's API. */
    get api() {
      return new RoomServiceClient(stage.server.http, KEY, SECRET);
    },
    /** A name no other test uses. */
    room: () => `room-${(rooms += 1)}`,
    /** @param {string} room @param {string} identity @param {import('./guest.js').Wishes} [wishes] */
    async join(room, identity, wishes) {
      const guest = await Guest.join(stage.server, room, identity, wishes);
      guests.push(guest);
      return guest;
    },
    /** Has `source` stopped at the end of the test. @template {{ stop(): Promise<void> }} T @param {T} source */
    keep(source) {
      sources.push(source);
      return source;
    },
  };
  before(async () => {
    server = await Server.start(settings());
  });
  afterEach(async () => {
    await Promise.all(sources.map((source) => source.stop()));
    await Promise.all(guests.map((guest) => guest.leave()));
    [sources, guests] = [[], []];
  });
  after(async () => {
    await server?.stop();
    await dispose();
    endWithoutTeardown();
  });
  return stage;
}

/**
 * Ends this process, once everything is reported, without freeing what is left: the native library now and then dies of freeing
 * handles after it was disposed of, which would look like a failed test. The exit code stays what the tests made it.
 */
function endWithoutTeardown() {
  const { reallyExit } = /** @type {NodeJS.Process & { reallyExit(code: number): never }} */ (process);
  process.on('exit', (code) => reallyExit.call(process, code));
}
