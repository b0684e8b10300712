import { expect, type Locator } from '@playwright/test';
import type { Reading } from '../in-page/reader';

/** Frames that are read before a video counts as seen: two thirds of a second at the painters' rate. */
const FRAMES = 10;
const READ_MILLISECONDS = 10_000;

/** Reads a video for a moment; nothing is read where there is none. */
export async function read(video: Locator, frames = FRAMES, milliseconds = READ_MILLISECONDS): Promise<Reading> {
  const nothing: Reading = { frames: 0, unreadable: 0, painters: {}, ages: [], width: 0, height: 0 };
  if ((await video.count()) === 0) return nothing;
  return video.evaluate(
    (element: HTMLVideoElement, limits) => window.roomfulProbe.read(element, limits.frames, limits.milliseconds),
    { frames, milliseconds },
  );
}

/** Asserts that a video shows what `painter` paints, and nothing else. */
export async function showsPainter(video: Locator, painter: number, says: string): Promise<void> {
  // The first frames may still be on their way.
  await expect.poll(async () => (await read(video, 1)).frames, says).toBe(1);
  const reading = await read(video);
  expect(reading.frames, `${says}: frames`).toBe(FRAMES);
  expect(Object.keys(reading.painters), `${says}: painters`).toEqual([String(painter)]);
  expect(reading.unreadable, `${says}: unreadable frames`).toBe(0);
}

/** Asserts that a video has stopped: there is none, or one without new frames. */
export async function standsStill(video: Locator, says: string): Promise<void> {
  await expect.poll(async () => (await read(video, 1, 1000)).frames, says).toBe(0);
}
