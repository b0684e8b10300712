import type { Page } from '@playwright/test';
import { KEYS, openSdk } from '../stage/sdk';
import type { Server } from '../stage/server';
import { sign } from '../stage/token';
import { expect, test } from '../stage/test';

// The server speaks LiveKit's protocol: here an unmodified livekit-client joins without the page.

/** Connects with livekit-client; resolves to the error's text, or to `connected`. */
function connect(page: Page, server: Server, token: string): Promise<string> {
  return page.evaluate(
    async ({ url, token: proof }) => {
      window.room = new window.LivekitClient.Room();
      try {
        await window.room.connect(url, proof);
        return 'connected';
      } catch (error) {
        return String(error);
      }
    },
    { url: server.url.replace('http', 'ws'), token },
  );
}

async function validate(server: Server, query: string, token: string) {
  const answer = await fetch(`${server.url}/rtc/v1/validate${query}`, { headers: { Authorization: `Bearer ${token}` } });
  return { status: answer.status, text: await answer.text() };
}

test('an unmodified livekit-client joins with a valid token', async ({ person, serve, room }) => {
  const server = await serve(KEYS);
  const { page } = await person('Sdk', { server });
  await openSdk(page, server);
  expect(await connect(page, server, sign({ room, identity: 'sdk' }))).toBe('connected');
  expect(await page.evaluate(() => [window.room.name, window.room.localParticipant.identity])).toEqual([room, 'sdk']);
  expect(await validate(server, '?join_request=EgA', sign({ room, identity: 'sdk' }))).toEqual({ status: 200, text: 'success' });
});

test('two livekit-clients publish, subscribe, exchange data and see each other leave', async ({ person, serve, room }) => {
  const server = await serve(KEYS);
  const [one, two] = [(await person('One', { server })).page, (await person('Two', { server })).page];
  for (const [page, identity] of [[one, 'one'], [two, 'two']] as const) {
    await openSdk(page, server);
    expect(await connect(page, server, sign({ room, identity }))).toBe('connected');
  }
  await one.evaluate(() => window.room.localParticipant.enableCameraAndMicrophone());
  const subscribed = () =>
    two.evaluate(() =>
      [...window.room.remoteParticipants.values()]
        .flatMap((participant) => [...participant.trackPublications.values()])
        .filter((publication) => publication.isSubscribed)
        .map((publication) => publication.source)
        .sort(),
    );
  await expect.poll(subscribed).toEqual(['camera', 'microphone']);
  for (const reliable of [true, false]) {
    const arrived = two.evaluate(
      () => new Promise<string>((resolve) => window.room.once('dataReceived', (payload) => resolve(new TextDecoder().decode(payload)))),
    );
    await one.evaluate((wanted) => window.room.localParticipant.publishData(new TextEncoder().encode(`hello ${wanted}`), { reliable: wanted }), reliable);
    expect(await arrived).toBe(`hello ${reliable}`);
  }
  await one.evaluate(() => window.room.disconnect());
  await expect.poll(() => two.evaluate(() => window.room.remoteParticipants.size)).toBe(0);
});

test('a livekit-client that is moved by the API goes on in the other room, seen and heard there', async ({ person, serve, room }) => {
  const server = await serve(KEYS);
  const there = `${room}-there`;
  const [one, two] = [(await person('One', { server })).page, (await person('Two', { server })).page];
  for (const [page, identity, name] of [[one, 'one', room], [two, 'two', there]] as const) {
    await openSdk(page, server);
    expect(await connect(page, server, sign({ room: name, identity }))).toBe('connected');
  }
  const moved = one.evaluate(() => new Promise<string>((resolve) => window.room.once('moved', resolve)));
  await one.evaluate(() => window.room.localParticipant.enableCameraAndMicrophone());
  const bearer = sign({ room, identity: 'app', grants: { roomAdmin: true, destinationRoom: there } });
  const answer = await fetch(`${server.url}/twirp/livekit.RoomService/MoveParticipant`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${bearer}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ room, identity: 'one', destination_room: there }),
  });
  expect(answer.status).toBe(200);
  expect(await moved).toBe(there);
  const whereabouts = () => one.evaluate(() => [window.room.state, window.room.name, ...window.room.remoteParticipants.keys()]);
  await expect.poll(whereabouts).toEqual(['connected', there, 'two']);
  /** Frames and sound samples of `one` that were decoded by `two`. */
  const decoded = () =>
    two.evaluate(async () => {
      const sums = { camera: 0, microphone: 0 };
      for (const publication of window.room.remoteParticipants.get('one')?.trackPublications.values() ?? []) {
        publication.track?.attach();
        for (const stats of (await publication.track?.getRTCStatsReport())?.values() ?? []) {
          if (stats.type !== 'inbound-rtp') continue;
          sums[publication.source === 'camera' ? 'camera' : 'microphone'] += stats.framesDecoded ?? stats.totalSamplesReceived ?? 0;
        }
      }
      return Math.min(sums.camera, sums.microphone);
    });
  await expect.poll(decoded).toBeGreaterThan(10);
});

const REFUSALS = [
  { story: 'a token signed with a wrong secret', claims: { secret: 'another-secret-that-is-long-enough-too' }, says: /signature/i },
  { story: 'a token of an unknown key', claims: { key: 'nobody' }, says: /key/i },
  { story: 'an expired token', claims: { expiresIn: -3600 }, says: /expired/i },
] as const;

for (const { story, claims, says } of REFUSALS) {
  test(`${story} is refused with a clear message`, async ({ person, serve, room }) => {
    const server = await serve(KEYS);
    const token = sign({ room, identity: 'sdk', ...claims });
    const answer = await validate(server, '', token);
    expect(answer.status).toBe(401);
    expect(answer.text).toMatch(says);
    const { page } = await person('Sdk', { server });
    await openSdk(page, server);
    expect(await connect(page, server, token)).toMatch(says);
  });
}

test('a token for another room is refused with a clear message', async ({ serve, room }) => {
  const server = await serve(KEYS);
  const answer = await validate(server, `?room=${encodeURIComponent(room)}`, sign({ room: 'elsewhere', identity: 'sdk' }));
  expect(answer.status).toBe(401);
  expect(answer.text).toMatch(/room/i);
});

test('garbage and nothing at all are no tokens', async ({ serve }) => {
  const server = await serve(KEYS);
  expect((await validate(server, '', 'garbage')).status).toBe(401);
  expect((await fetch(`${server.url}/rtc/v1/validate`)).status).toBe(401);
});
