import { test as base } from './test';
import type { Engine } from './browsers';
import { Guest, type Joining } from './guest';
import { KEYS } from './sdk';
import { Server } from './server';
import { sign } from './token';

interface Fixtures {
  /** An unmodified livekit-client, in a page of its own, that has joined the test's room, or the one that is named. */
  guest(identity: string, arrival?: Joining & { engine?: Engine; server?: Server; room?: string }): Promise<Guest>;
  /** Asks the server API about the test's room, unless the request names one; resolves to its answer, or throws what it says. */
  ask(method: string, request?: Record<string, unknown>): Promise<Record<string, unknown>>;
}

interface WorkerFixtures {
  /** A server for which tests sign their own tokens. */
  keyed: Server;
}

/** Stories of livekit-client without the page. */
export const test = base.extend<Fixtures, WorkerFixtures>({
  keyed: [
    async ({}, use) => {
      const server = await Server.start(KEYS);
      await use(server);
      server.kill();
    },
    { scope: 'worker' },
  ],

  guest: async ({ keyed, person, room }, use) => {
    await use(async (identity, { engine = 'chromium', server = keyed, room: entered = room, ...joining } = {}) => {
      const { page, painter } = await person(identity, { engine, server });
      return new Guest(page, identity, painter, server).join(entered, joining);
    });
  },

  ask: async ({ keyed, room }, use) => {
    await use(async (method, request = {}) => {
      const { room: about = room, destination_room: destinationRoom } = request;
      const grants = { roomAdmin: true, roomCreate: true, roomList: true, ...(typeof destinationRoom === 'string' && { destinationRoom }) };
      const bearer = sign({ room: String(about), identity: 'application', grants });
      const answer = await fetch(`${keyed.url}/twirp/livekit.RoomService/${method}`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${bearer}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ room, ...request }),
      });
      if (!answer.ok) throw new Error(`${method}: ${answer.status} ${await answer.text()}`);
      return (await answer.json()) as Record<string, unknown>;
    });
  },
});

export { expect } from './test';
