import type { RemoteTrackPublication } from 'livekit-client';
import type { Stream } from '../in-page/connections';
import type { Engine } from '../stage/browsers';
import type { Guest } from '../stage/guest';
import { expect, test } from '../stage/guests';

// Tracks as livekit-client publishes, asks for and shows them; pictures and tones say whose they are.

const PAIRS: [Engine, Engine][] = [['chromium', 'firefox'], ['firefox', 'chromium']];

/** Heights of the two layers in which a camera of 640 x 360 is sent. */
const SMALL = 180;
const LARGE = 360;

/** How long streams are watched for frames that come along: several frames of a painter's, and of a slow machine's. */
const WATCHED_MILLISECONDS = 1000;

for (const [here, there] of PAIRS) {
  test(`${there} stops and takes up what ${here} publishes`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there, autoSubscribe: false })];
    await ann.turnOn();
    await ben.isTold('trackPublished', ['camera', 'ann']);
    await ben.isTold('trackPublished', ['microphone', 'ann']);
    await expect(ben.video(ann)).toHaveCount(0);
    for (let round = 0; round < 2; round += 1) {
      await each(ben, ann, 'setSubscribed', true);
      await ben.meets([ann]);
      await each(ben, ann, 'setEnabled', false);
      await ben.seesNothingNewOf(ann);
      await ben.hears([]);
      await each(ben, ann, 'setEnabled', true);
      await ben.meets([ann]);
      await each(ben, ann, 'setSubscribed', false);
      await ben.meets([]);
    }
  });

  test(`${there} gets the layer of ${here} that it asks for`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there })];
    await ann.publishCamera();
    await ben.seesAtHeight(ann, LARGE);
    await quality(ben, ann, 'LOW');
    await ben.seesAtHeight(ann, SMALL);
    await quality(ben, ann, 'HIGH');
    await ben.seesAtHeight(ann, LARGE);
    await ben.page.evaluate(() => {
      const [picture] = [...window.room.remoteParticipants.get('ann')!.videoTrackPublications.values()];
      (picture as RemoteTrackPublication).setVideoDimensions({ width: 160, height: 90 });
    });
    await ben.seesAtHeight(ann, SMALL);
  });

  test(`${there} rehearses a narrow downlink, gets ${here} small, and large again afterwards`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there })];
    await ann.turnOn();
    await ben.seesAtHeight(ann, LARGE);
    const narrow = (bits: number) => ben.page.evaluate((wanted) => window.room.simulateScenario('subscriber-bandwidth', wanted), bits);
    await narrow(60_000);
    await ben.seesAtHeight(ann, SMALL);
    await ben.hears([ann]);
    await narrow(0);
    await ben.seesAtHeight(ann, LARGE);
  });

  test(`adaptive stream: ${there} gets of ${here} what its element has room for, and nothing while it is hidden`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there, options: { adaptiveStream: true } })];
    await ann.publishCamera();
    const video = ben.video(ann);
    await expect(video).toHaveCount(1);
    const size = (width: number, height: number) =>
      video.evaluate((element: HTMLVideoElement, [w, h]) => void Object.assign(element.style, { display: 'block', width: `${w}px`, height: `${h}px` }), [width, height] as const);
    await size(160, 90);
    await ben.seesAtHeight(ann, SMALL);
    await size(960, 540);
    await ben.seesAtHeight(ann, LARGE);
    await video.evaluate((element: HTMLVideoElement) => void (element.style.display = 'none'));
    await expect.poll(() => codecs(ben, 'inbound')).toEqual([]);
    await size(160, 90);
    await ben.seesAtHeight(ann, SMALL);
  });

  test(`${here} says who may receive its tracks, and ${there} does when it is named`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there })];
    const permit = (all: boolean, some: string[]) =>
      ann.page.evaluate(
        (wanted) => window.room.localParticipant.setTrackSubscriptionPermissions(wanted.all, wanted.some.map((participantIdentity) => ({ participantIdentity, allowAll: true }))),
        { all, some },
      );
    await permit(false, []);
    await ann.turnOn();
    await ben.isTold('trackSubscriptionPermissionChanged', ['camera', 'not_allowed', 'ann']);
    await expect(ben.video(ann)).toHaveCount(0);
    await permit(false, ['ben']);
    await ben.isTold('trackSubscriptionPermissionChanged', ['camera', 'allowed', 'ann']);
    await ben.meets([ann]);
    await permit(false, []);
    await ben.meets([]);
    await permit(true, []);
    await ben.meets([ann]);
  });

  test(`a camera and a shared screen of ${here} arrive side by side at ${there}, each as what it is`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there })];
    await ann.publishCamera();
    await ann.page.evaluate(async () => {
      const screen = (await navigator.mediaDevices.getUserMedia({ video: true })).getVideoTracks()[0]!;
      await window.room.localParticipant.publishTrack(screen, { source: window.LivekitClient.Track.Source.ScreenShare, name: 'slides' });
    });
    await ben.isTold('trackSubscribed', ['camera']);
    await ben.isTold('trackSubscribed', ['screen_share']);
    await expect(ben.video(ann)).toHaveCount(2);
    for (const at of [0, 1]) {
      const reading = () => ben.video(ann).nth(at).evaluate((video: HTMLVideoElement) => window.roomfulProbe.read(video, 5, 5000));
      await expect.poll(async () => Object.keys((await reading()).painters)).toEqual([String(ann.painter)]);
    }
    const names = await ben.page.evaluate(() => [...window.room.remoteParticipants.get('ann')!.trackPublications.values()].map((one) => one.trackName));
    expect(names).toContain('slides');
  });
}

test('dynacast: layers nobody wants are not encoded, and come again when somebody does', async ({ guest }) => {
  const [ann, ben] = [await guest('ann'), await guest('ben')];
  await ann.publishCamera();
  await ben.seesAtHeight(ann, LARGE);
  expect(await encoded(ann)).toEqual([SMALL, LARGE]);
  await quality(ben, ann, 'LOW');
  await expect.poll(() => encoded(ann), { timeout: 30_000 }).toEqual([SMALL]);
  await each(ben, ann, 'setSubscribed', false);
  await expect.poll(() => encoded(ann), { timeout: 30_000 }).toEqual([]);
  await each(ben, ann, 'setSubscribed', true);
  await quality(ben, ann, 'HIGH');
  await ben.seesAtHeight(ann, LARGE);
  expect(await encoded(ann)).toEqual([SMALL, LARGE]);
});

/** Tells each publication of another. */
async function each(guest: Guest, other: Guest, order: 'setSubscribed' | 'setEnabled', on: boolean): Promise<void> {
  await guest.page.evaluate(
    (wanted) => {
      const publications = window.room.remoteParticipants.get(wanted.of)?.trackPublications.values() ?? [];
      for (const one of publications) (one as RemoteTrackPublication)[wanted.order](wanted.on);
    },
    { of: other.identity, order, on },
  );
}

async function quality(guest: Guest, other: Guest, name: 'LOW' | 'HIGH'): Promise<void> {
  await guest.page.evaluate(
    (wanted) => {
      const publications = window.room.remoteParticipants.get(wanted.of)?.videoTrackPublications.values() ?? [];
      for (const one of publications) (one as RemoteTrackPublication).setVideoQuality(window.LivekitClient.VideoQuality[wanted.name]);
    },
    { of: other.identity, name },
  );
}

/** The codecs in which pictures travel now, as negotiated. */
async function codecs(guest: Guest, direction: 'inbound' | 'outbound'): Promise<string[]> {
  return [...new Set((await pictures(guest, direction)).map(({ codec }) => codec))].sort();
}

/** Heights of the layers that are being encoded. */
async function encoded(guest: Guest): Promise<number[]> {
  return (await pictures(guest, 'outbound')).map(({ height }) => height).sort((one, two) => one - two);
}

/** The streams of pictures in which frames come along. */
async function pictures(guest: Guest, direction: 'inbound' | 'outbound'): Promise<Stream[]> {
  const streams = await guest.page.evaluate((milliseconds) => window.roomfulProbe.moving(milliseconds), WATCHED_MILLISECONDS);
  return streams.filter((stream) => stream.kind === 'video' && stream.direction === direction);
}
