import { age, COLUMNS, decode, HEIGHT_SHARE, ROWS, THRESHOLD } from './strip';

/** What a reader made of one stretch of a video. */
export interface Reading {
  /** Frames presented, readable or not. */
  frames: number;
  /** Frames whose strip had a wrong checksum: not painted by us, damaged, or black. */
  unreadable: number;
  /** How many frames each painter's number was read from. */
  painters: Record<string, number>;
  /** Age of each readable frame when it was presented, in milliseconds. */
  ages: number[];
  /** Size of the last frame. */
  width: number;
  height: number;
}

/** Pixels each block is drawn with before its middle is averaged. */
const BLOCK = 8;

/** Reads a video until `frames` frames were presented or `milliseconds` went by, whichever is first. */
export function read(video: HTMLVideoElement, frames: number, milliseconds: number): Promise<Reading> {
  const reading: Reading = { frames: 0, unreadable: 0, painters: {}, ages: [], width: 0, height: 0 };
  const context = scratch();
  return new Promise((resolve) => {
    let handle = 0;
    const finish = () => {
      clearTimeout(deadline);
      video.cancelVideoFrameCallback(handle);
      resolve(reading);
    };
    const deadline = setTimeout(finish, milliseconds);
    const next = () => {
      note(reading, video, context);
      if (reading.frames >= frames) finish();
      else handle = video.requestVideoFrameCallback(next);
    };
    handle = video.requestVideoFrameCallback(next);
  });
}

function note(reading: Reading, video: HTMLVideoElement, context: CanvasRenderingContext2D): void {
  const now = Date.now() & 0xffff;
  const mark = decode(look(video, context));
  reading.frames += 1;
  reading.width = video.videoWidth;
  reading.height = video.videoHeight;
  if (!mark) {
    reading.unreadable += 1;
    return;
  }
  reading.painters[mark.painter] = (reading.painters[mark.painter] ?? 0) + 1;
  reading.ages.push(age(mark.clock, now));
}

function look(video: HTMLVideoElement, context: CanvasRenderingContext2D): boolean[] {
  const { videoWidth: width, videoHeight: height } = video;
  const top = height * (1 - HEIGHT_SHARE);
  context.drawImage(video, 0, top, width, height - top, 0, 0, COLUMNS * BLOCK, ROWS * BLOCK);
  const pixels = context.getImageData(0, 0, COLUMNS * BLOCK, ROWS * BLOCK).data;
  return Array.from({ length: COLUMNS * ROWS }, (_, at) => brightness(pixels, at) > THRESHOLD);
}

/** Mean of the middle half of a block: its edges are smeared by the codec and by scaling. */
function brightness(pixels: Uint8ClampedArray, block: number): number {
  const left = (block % COLUMNS) * BLOCK + BLOCK / 4;
  const top = Math.floor(block / COLUMNS) * BLOCK + BLOCK / 4;
  let sum = 0;
  for (let y = top; y < top + BLOCK / 2; y += 1) {
    for (let x = left; x < left + BLOCK / 2; x += 1) {
      const at = (y * COLUMNS * BLOCK + x) * 4;
      sum += ((pixels[at] ?? 0) + (pixels[at + 1] ?? 0) + (pixels[at + 2] ?? 0)) / 3;
    }
  }
  return sum / (BLOCK / 2) ** 2;
}

function scratch(): CanvasRenderingContext2D {
  const canvas = document.createElement('canvas');
  canvas.width = COLUMNS * BLOCK;
  canvas.height = ROWS * BLOCK;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error('this browser has no 2d canvas to read with');
  return context;
}
