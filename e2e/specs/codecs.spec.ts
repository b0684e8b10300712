import type * as LiveKit from 'livekit-client';
import type { Engine } from '../stage/browsers';
import type { Participant } from '../stage/participant';
import { Guest, KEYS } from '../stage/sdk';
import type { Server } from '../stage/server';
import { expect, test } from '../stage/test';

// What livekit-client and this server agree on: never the codec asked for, always the one in use.

type Person = (name: string, arrival: { engine?: Engine; server: Server }) => Promise<Participant>;

async function joined(person: Person, server: Server, room: string, identity: string, engine: Engine, connections: 1 | 2 = 1) {
  const { page, painter } = await person(identity, { engine, server });
  return new Guest(page, identity, painter, server).join(room, connections);
}

/** The codecs of what a guest sends or receives; each stream that carries anything. */
async function codecs(of: Guest, direction: 'inbound' | 'outbound', kind: 'audio' | 'video'): Promise<string[]> {
  const streams = await of.page.evaluate(() => window.roomfulProbe.streams());
  const used = streams.filter((stream) => stream.direction === direction && stream.kind === kind && stream.packets > 0);
  return [...new Set(used.map((stream) => stream.codec))];
}

async function expectCodec(of: Guest, direction: 'inbound' | 'outbound', kind: 'audio' | 'video', codec: string) {
  await expect.poll(() => codecs(of, direction, kind), `${of.identity}: ${direction} ${kind}`).toEqual([codec]);
}

/**
 * Asserts that sound goes or comes with redundancy, or without. Chromium's statistics name what is inside, so it is told by
 * its size: at livekit-client's 48 kb/s a frame has about 120 bytes, and every packet carries two of them or one.
 */
async function expectRedundant(of: Guest, direction: 'inbound' | 'outbound', is: boolean) {
  const size = async () => {
    const streams = await of.page.evaluate(() => window.roomfulProbe.streams());
    const sound = streams.find((stream) => stream.direction === direction && stream.kind === 'audio' && stream.packets > 50);
    return sound ? sound.bytes / sound.packets : 0;
  };
  const says = `bytes of ${of.identity}'s ${direction} packets of sound`;
  await expect.poll(size, says).toBeGreaterThan(is ? 190 : 60);
  if (!is) expect(await size(), says).toBeLessThan(170);
}

/** The first audio codec that a guest's sending section was answered with. */
function answered(guest: Guest): Promise<string | undefined> {
  return guest.page.evaluate(() => {
    const answer = window.room.engine.pcManager?.publisher.getRemoteDescription()?.sdp ?? '';
    const sent = answer.split('\r\nm=').find((part) => part.startsWith('audio ') && part.includes('\r\na=recvonly'));
    const first = sent?.split(' ')[3]?.trim();
    return sent?.match(new RegExp(`a=rtpmap:${first} (\\w+)`))?.[1];
  });
}

function speak(guest: Guest, options: LiveKit.TrackPublishOptions): Promise<unknown> {
  return guest.page.evaluate(
    async (wanted) => (await window.room.localParticipant.setMicrophoneEnabled(true, undefined, wanted))?.trackSid,
    options,
  );
}

for (const connections of [1, 2] as const) {
  test(`sound between Chromium clients comes with redundancy over ${connections} peer connections`, async ({ person, serve, room }) => {
    const server = await serve(KEYS);
    const ann = await joined(person, server, room, 'ann', 'chromium', connections);
    const ben = await joined(person, server, room, 'ben', 'chromium', connections);
    for (const each of [ann, ben]) await each.turnOn();
    for (const [one, other] of [[ann, ben], [ben, ann]] as const) {
      await one.meets([other]);
      expect(await answered(one)).toBe('red');
      await expectRedundant(one, 'outbound', true);
      await expectRedundant(one, 'inbound', true);
      const told = await one.page.evaluate(
        (identity) => window.room.getParticipantByIdentity(identity)?.getTrackPublication('microphone' as LiveKit.Track.Source)?.mimeType,
        other.identity,
      );
      expect(told).toBe('audio/red');
    }
  });
}

test('Chromium, which has redundancy, and Firefox, which has none, hear each other', async ({ person, serve, room }) => {
  const server = await serve(KEYS);
  const ann = await joined(person, server, room, 'ann', 'chromium');
  const ben = await joined(person, server, room, 'ben', 'firefox');
  for (const each of [ann, ben]) await each.turnOn();
  await ann.meets([ben]);
  await ben.meets([ann]);
  expect(await answered(ann)).toBe('red');
  expect(await answered(ben)).toBe('opus');
  await expectRedundant(ann, 'outbound', true);
  await expectRedundant(ben, 'inbound', false);
  await expectRedundant(ann, 'inbound', false);
});

test('whoever declines redundancy, or sends two channels, sends plain Opus', async ({ person, serve, room }) => {
  const server = await serve(KEYS);
  const ann = await joined(person, server, room, 'ann', 'chromium');
  const ben = await joined(person, server, room, 'ben', 'chromium');
  await speak(ann, { red: false });
  await speak(ben, { forceStereo: true, red: undefined });
  for (const [one, other] of [[ann, ben], [ben, ann]] as const) {
    await one.hears([other]);
    expect(await answered(one)).toBe('opus');
    await expectRedundant(one, 'inbound', false);
  }
});

for (const codec of ['vp9', 'h264'] as const) {
  test(`a camera announced in ${codec} is sent and seen in it`, async ({ person, serve, room }) => {
    const server = await serve(KEYS);
    const ann = await joined(person, server, room, 'ann', 'chromium');
    const ben = await joined(person, server, room, 'ben', 'chromium');
    await ann.page.evaluate(
      (videoCodec) => window.room.localParticipant.setCameraEnabled(true, undefined, { videoCodec, backupCodec: false }),
      codec,
    );
    await ben.sees(ann);
    await expectCodec(ann, 'outbound', 'video', `video/${codec.toUpperCase()}`);
    await expectCodec(ben, 'inbound', 'video', `video/${codec.toUpperCase()}`);
  });
}
