import type * as LiveKit from 'livekit-client';
import type { Stream } from '../in-page/connections';
import type { Guest } from '../stage/guest';
import { expect, test } from '../stage/guests';

// What livekit-client and this server agree on: never the codec asked for, always the one in use.

/** How long streams are watched for frames that come along: several frames of a painter's, and of a slow machine's. */
const WATCHED_MILLISECONDS = 1000;

/** The codecs in which pictures travel now. */
async function codecs(of: Guest, direction: 'inbound' | 'outbound'): Promise<string[]> {
  const moving: Stream[] = await of.page.evaluate((milliseconds) => window.roomfulProbe.moving(milliseconds), WATCHED_MILLISECONDS);
  const pictures = moving.filter((stream) => stream.kind === 'video' && stream.direction === direction);
  return [...new Set(pictures.map(({ codec }) => codec))].sort();
}

async function expectCodecs(of: Guest, direction: 'inbound' | 'outbound', expected: string[]): Promise<void> {
  await expect.poll(() => codecs(of, direction), { message: `${of.identity}: ${direction} pictures`, timeout: 30_000 }).toEqual(expected);
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

for (const peerConnections of [1, 2] as const) {
  test(`sound between Chromium clients comes with redundancy over ${peerConnections} peer connections`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { peerConnections }), await guest('ben', { peerConnections })];
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

test('Chromium, which has redundancy, and Firefox, which has none, hear each other', async ({ guest }) => {
  const [ann, ben] = [await guest('ann'), await guest('ben', { engine: 'firefox' })];
  for (const each of [ann, ben]) await each.turnOn();
  await ann.meets([ben]);
  await ben.meets([ann]);
  expect(await answered(ann)).toBe('red');
  expect(await answered(ben)).toBe('opus');
  await expectRedundant(ann, 'outbound', true);
  await expectRedundant(ben, 'inbound', false);
  await expectRedundant(ann, 'inbound', false);
});

test('whoever declines redundancy, or sends two channels, sends plain Opus', async ({ guest }) => {
  const [ann, ben] = [await guest('ann'), await guest('ben')];
  await speak(ann, { red: false });
  await speak(ben, { forceStereo: true, red: undefined });
  for (const [one, other] of [[ann, ben], [ben, ann]] as const) {
    await one.hears([other]);
    expect(await answered(one)).toBe('opus');
    await expectRedundant(one, 'inbound', false);
  }
});

for (const codec of ['vp8', 'vp9'] as const) {
  test(`a camera announced in ${codec} is sent in it, and seen in both browsers`, async ({ guest }) => {
    const [ann, ben, cleo] = [await guest('ann'), await guest('ben'), await guest('cleo', { engine: 'firefox' })];
    await ann.publishCamera({ videoCodec: codec, backupCodec: false });
    const expected = [`video/${codec.toUpperCase()}`];
    await expectCodecs(ann, 'outbound', expected);
    for (const other of [ben, cleo]) {
      await other.sees(ann);
      await expectCodecs(other, 'inbound', expected);
    }
  });
}

test('a camera announced in h264 is sent in it, and whoever cannot decode it is told', async ({ guest }) => {
  const [ann, ben, old] = [await guest('ann'), await guest('ben'), await guest('old', { without: 'H264' })];
  await ann.publishCamera({ videoCodec: 'h264', backupCodec: false });
  await expectCodecs(ann, 'outbound', ['video/H264']);
  await ben.sees(ann);
  await expectCodecs(ben, 'inbound', ['video/H264']);
  await old.isTold('trackSubscriptionFailed', [await sidOf(ann), 'ann', CODEC_UNSUPPORTED]);
});

test('a backup codec goes to whoever does not decode the first, and is sent only while somebody needs it', async ({ guest }) => {
  const [ann, ben] = [await guest('ann'), await guest('ben')];
  await ann.publishCamera({ videoCodec: 'vp9', backupCodec: { codec: 'vp8' } });
  await ben.sees(ann);
  await expectCodecs(ben, 'inbound', ['video/VP9']);
  await expectCodecs(ann, 'outbound', ['video/VP9']);
  const old = await guest('old', { without: 'VP9' });
  await old.sees(ann);
  await expectCodecs(old, 'inbound', ['video/VP8']);
  await ben.sees(ann);
  await expectCodecs(ben, 'inbound', ['video/VP9']);
  await expectCodecs(ann, 'outbound', ['video/VP8', 'video/VP9']);
  await old.page.evaluate(() => window.room.disconnect());
  await expectCodecs(ann, 'outbound', ['video/VP9']);
});

/** `SubscriptionError` as livekit-client gives it. */
const CODEC_UNSUPPORTED = 1;

/** The sid of its camera. */
function sidOf(guest: Guest): Promise<string | undefined> {
  return guest.page.evaluate(() => window.room.localParticipant.getTrackPublication(window.LivekitClient.Track.Source.Camera)?.trackSid);
}
