import { expect, type Page, test } from '@playwright/test';
import { decode, encode } from '../in-page/strip';
import { ENGINES, launch } from '../stage/browsers';
import { probeScript } from '../stage/bundle';

// The instruments are tested before anything is measured with them: a check that cannot fail proves nothing.

const PAGE = 'http://localhost/instruments';

/** Sends the painter's own camera and microphone through two peer connections and plays what comes out. */
async function loopback(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
    const [near, far] = [new RTCPeerConnection(), new RTCPeerConnection()];
    near.onicecandidate = ({ candidate }) => void far.addIceCandidate(candidate ?? undefined);
    far.onicecandidate = ({ candidate }) => void near.addIceCandidate(candidate ?? undefined);
    const arrived = new MediaStream();
    far.ontrack = ({ track }) => arrived.addTrack(track);
    for (const track of stream.getTracks()) near.addTrack(track, stream);
    await near.setLocalDescription();
    await far.setRemoteDescription(near.localDescription!);
    await far.setLocalDescription();
    await near.setRemoteDescription(far.localDescription!);
    const video = document.createElement('video');
    video.srcObject = arrived;
    document.body.append(video);
    await video.play();
  });
}

async function blankPage(browser: Awaited<ReturnType<typeof launch>>, painter: number): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  await page.addInitScript({ content: probeScript({ painter, camera: 'granted', microphone: 'granted' }) });
  await page.route(PAGE, (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>x</title>' }));
  await page.goto(PAGE);
  return page;
}

test('a strip reads back as what was written, and plain pictures do not read at all', () => {
  for (const painter of [1, 2, 31, 63]) {
    for (const clock of [0, 1, 255, 40_000, 65_535]) {
      expect(decode(encode({ painter, clock }))).toEqual({ painter, clock });
    }
  }
  expect(decode(Array<boolean>(32).fill(false))).toBeNull();
  expect(decode(Array<boolean>(32).fill(true))).toBeNull();
  const damaged = encode({ painter: 5, clock: 777 });
  for (let at = 0; at < damaged.length; at += 1) {
    expect(decode(damaged.map((bit, place) => (place === at ? !bit : bit))), `bit ${at} flipped`).toBeNull();
  }
});

for (const engine of ENGINES) {
  test.describe(engine, () => {
    test('the painter is read and heard through an encoder and a decoder', async () => {
      const browser = await launch(engine);
      const page = await blankPage(browser, 3);
      await loopback(page);
      await expect.poll(() => page.evaluate(() => window.roomfulProbe.hears())).toEqual([3]);
      const reading = await page.locator('video').evaluate((video: HTMLVideoElement) => window.roomfulProbe.read(video, 20, 10_000));
      expect(Object.keys(reading.painters)).toEqual(['3']);
      expect(reading.frames).toBe(20);
      expect(reading.unreadable).toBe(0);
      const streams = await page.evaluate(() => window.roomfulProbe.streams());
      expect(streams.filter((stream) => stream.direction === 'inbound').map((stream) => stream.codec).sort()).toEqual(['audio/opus', 'video/VP8']);
      await browser.close();
    });

    test('a black picture, a silent track and a muted element count for nothing', async () => {
      const browser = await launch(engine);
      const page = await blankPage(browser, 4);
      await loopback(page);
      await expect.poll(() => page.evaluate(() => window.roomfulProbe.hears())).toEqual([4]);
      await page.locator('video').evaluate((video: HTMLVideoElement) => (video.muted = true));
      await expect.poll(() => page.evaluate(() => window.roomfulProbe.hears())).toEqual([]);
      const reading = await page.evaluate(async () => {
        const canvas = document.createElement('canvas');
        const context = canvas.getContext('2d')!;
        setInterval(() => context.fillRect(0, 0, canvas.width, canvas.height), 50);
        const video = document.createElement('video');
        video.srcObject = canvas.captureStream();
        video.muted = true;
        await video.play();
        return window.roomfulProbe.read(video, 10, 10_000);
      });
      expect(reading.frames).toBeGreaterThan(0);
      expect(reading.unreadable).toBe(reading.frames);
      await browser.close();
    });
  });
}
