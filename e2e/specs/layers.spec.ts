import type { Guest } from '../stage/guest';
import { expect, test } from '../stage/guests';

// Cameras whose only encoding has layers inside (SVC), as livekit-client publishes VP9 and AV1: each subscriber gets the
// layers it wants.

type Quality = 'LOW' | 'MEDIUM' | 'HIGH';

/** Wants the only video there is in this quality, or with so many frames a second. */
function want(guest: Guest, wanted: { quality: Quality } | { fps: number }): Promise<void> {
  return guest.page.evaluate((asked) => {
    const [other] = window.room.remoteParticipants.values();
    const [camera] = other?.videoTrackPublications.values() ?? [];
    if (!camera) throw new Error('nobody has a camera on');
    if ('fps' in asked) camera.setVideoFPS(asked.fps);
    else camera.setVideoQuality(window.LivekitClient.VideoQuality[asked.quality]);
  }, wanted);
}

/** Codec, height and number of the frames that arrived. */
async function inbound(guest: Guest): Promise<{ codec: string; height: number; frames: number }> {
  const streams = await guest.page.evaluate(() => window.roomfulProbe.streams());
  const videos = streams.filter(({ direction, kind, frames }) => direction === 'inbound' && kind === 'video' && frames > 0);
  const [video] = videos.sort((a, b) => b.frames - a.frames);
  return { codec: video?.codec ?? 'none', height: video?.height ?? 0, frames: video?.frames ?? 0 };
}

/** While an encoder finds its bitrate, or a busy machine's has little time, a frame may be too coarse to be read. */
async function sees(guest: Guest, of: Guest): Promise<void> {
  await expect(async () => guest.sees(of)).toPass({ timeout: 20_000 });
}

async function showsHeight(guest: Guest, of: Guest, at: (height: number) => boolean, says: string): Promise<void> {
  await expect.poll(async () => at((await inbound(guest)).height), `${guest.identity}: ${says}`).toBe(true);
  await sees(guest, of);
  expect(at((await inbound(guest)).height), `${guest.identity}: still ${says}`).toBe(true);
}

/** Frames decoded in a second, over some seconds. */
async function frameRate(guest: Guest): Promise<number> {
  const before = await inbound(guest);
  await guest.page.waitForTimeout(3_000);
  return ((await inbound(guest)).frames - before.frames) / 3;
}

const FULL = 360;

for (const { codec, engine } of [
  { codec: 'vp9', engine: 'chromium' },
  { codec: 'vp9', engine: 'firefox' },
  { codec: 'av1', engine: 'chromium' },
  { codec: 'av1', engine: 'firefox' },
] as const) {
  test(`${engine} gets the layers it wants of a ${codec} camera with layers inside, another all of them`, async ({ guest }) => {
    const ann = await guest('ann');
    const ben = await guest('ben', { engine });
    const cleo = await guest('cleo');
    await ann.publishCamera({ videoCodec: codec, scalabilityMode: 'L3T3_KEY', backupCodec: false });
    await showsHeight(ben, ann, (height) => height === FULL, 'the full size');
    expect((await inbound(ben)).codec).toBe(`video/${codec.toUpperCase()}`);
    await want(ben, { quality: 'LOW' });
    await showsHeight(ben, ann, (height) => height > 0 && height <= FULL / 2, 'a small size');
    await showsHeight(cleo, ann, (height) => height === FULL, 'the full size, whatever others want');
    await want(ben, { quality: 'HIGH' });
    await showsHeight(ben, ann, (height) => height === FULL, 'the full size again');

    const full = await frameRate(ben);
    await want(ben, { fps: 4 });
    await expect.poll(() => frameRate(ben), 'fewer frames').toBeLessThan(full * 0.6);
    await sees(ben, ann);
    await want(ben, { fps: 30 });
    await expect.poll(() => frameRate(ben), 'all frames again').toBeGreaterThan(full * 0.8);
    await sees(ben, ann);
  });
}
