import type { Engine } from '../stage/browsers';
import type { Guest } from '../stage/guest';
import { expect, test } from '../stage/guests';

// What a room's settings do to livekit-client.

const ENGINES: Engine[] = ['chromium', 'firefox'];

for (const engine of ENGINES) {
  test(`${engine} receives in a room whose pictures are held back and played in step`, async ({ guest, ask, room }) => {
    await ask('CreateRoom', { name: room, minPlayoutDelay: 400, maxPlayoutDelay: 400, syncStreams: true });
    const [ann, ben] = [await guest('ann'), await guest('ben', { engine })];
    await ann.turnOn();
    await ben.meets([ann]);
    // Firefox finds tracks by their streams' names alone, so it is given a stream for each; and where pictures and sound
    // are to go together, it does not hold the pictures back.
    expect(await streams(ben)).toBe(engine === 'chromium' ? 1 : 2);
    if (engine === 'chromium') await expect.poll(() => held(ben), 'seconds that pictures are held back').toBeGreaterThan(0.35);
  });
}

test('two peer connections learn of held pictures and shared streams, too', async ({ guest, ask, room }) => {
  await ask('CreateRoom', { name: room, minPlayoutDelay: 400, maxPlayoutDelay: 400, syncStreams: true });
  const [ann, ben] = [await guest('ann'), await guest('ben', { peerConnections: 2 })];
  await ann.turnOn();
  await ben.meets([ann]);
  expect(await streams(ben)).toBe(1);
  await expect.poll(() => held(ben), 'seconds that pictures are held back').toBeGreaterThan(0.35);
});

/** How many streams what it receives came in. */
function streams(guest: Guest): Promise<number> {
  return guest.page.evaluate(() => {
    const others = [...window.room.remoteParticipants.values()].flatMap((one) => [...one.trackPublications.values()]);
    return new Set(others.flatMap(({ track }) => track?.mediaStream?.id ?? [])).size;
  });
}

/** How long pictures waited lately before they were shown, in seconds. */
function held(guest: Guest): Promise<number> {
  return guest.page.evaluate(async () => {
    const { videoTrackPublications } = [...window.room.remoteParticipants.values()][0] ?? {};
    const report = await [...(videoTrackPublications?.values() ?? [])][0]?.track?.getRTCStatsReport();
    const entries = [...(report?.values() ?? [])] as Record<string, number | string>[];
    const { jitterBufferDelay, jitterBufferEmittedCount } = entries.find(({ type }) => type === 'inbound-rtp') ?? {};
    return Number(jitterBufferDelay) / Number(jitterBufferEmittedCount);
  });
}
