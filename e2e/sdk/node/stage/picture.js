import { LocalVideoTrack, VideoBufferType, VideoFrame, VideoSource, VideoStream } from '@livekit/rtc-node';

/*
 * A picture is a grid of black and white blocks, four rows of eight: whose picture it is, its number (two rows), and a check of both.
 * Blocks survive any codec at any of the sizes used here; the check tells a picture that did not from one that did.
 */
const COLUMNS = 8;
const ROWS = 4;
const BLACK = 16;
const WHITE = 235;
const MIDDLE = 126;
const GREY_CHROMA = 128;
const FRAMES_PER_SECOND = 15;

/** Paints pictures that say whose they are into a track until it is stopped. */
export class PictureSource {
  /** @param {number} owner 0 to 255 @param {{ width?: number, height?: number }} [size] */
  constructor(owner, { width = 320, height = 180 } = {}) {
    this.owner = owner;
    this.width = width;
    this.height = height;
    this.number = 0;
    this.source = new VideoSource(width, height);
    this.track = LocalVideoTrack.createVideoTrack(`picture-${owner}`, this.source);
    this.timer = setInterval(() => this.#paint(), 1000 / FRAMES_PER_SECOND);
  }

  async stop() {
    clearInterval(this.timer);
    await this.source.close();
  }

  #paint() {
    this.number = (this.number + 1) % 65_536;
    const bytes = [this.owner, this.number >> 8, this.number & 255, check(this.owner, this.number)];
    this.source.captureFrame(paint(bytes, this.width, this.height));
  }
}

/** Watches a track and remembers whose pictures came. */
export class PictureReader {
  /** @param {import('@livekit/rtc-node').RemoteTrack} track */
  constructor(track) {
    /** How many different pictures of each owner were read. @type {Map<number, number>} */
    this.seen = new Map();
    /** Pictures whose check did not hold. */
    this.unreadable = 0;
    /** Pictures whose number was not above the one before. */
    this.backwards = 0;
    /** Width of the newest picture. */
    this.width = 0;
    this.newest = -1;
    this.last = performance.now();
    this.reader = new VideoStream(track).getReader();
    this.done = this.#watch();
  }

  /** Milliseconds since the newest picture. */
  get idle() {
    return performance.now() - this.last;
  }

  /** Forgets what was seen. */
  forget() {
    this.seen.clear();
    this.unreadable = 0;
  }

  async stop() {
    await this.reader.cancel();
    await this.done;
  }

  async #watch() {
    for (;;) {
      const { done, value } = await this.reader.read();
      if (done) return;
      this.#read(value.frame.type === VideoBufferType.I420 ? value.frame : value.frame.convert(VideoBufferType.I420));
    }
  }

  /** @param {VideoFrame} frame */
  #read(frame) {
    this.last = performance.now();
    const [owner, high, low, sum] = read(frame);
    const number = high * 256 + low;
    if (sum !== check(owner, number)) {
      this.unreadable += 1;
      return;
    }
    if (number < this.newest) this.backwards += 1;
    if (number !== this.newest) this.seen.set(owner, (this.seen.get(owner) ?? 0) + 1);
    this.newest = number;
    this.width = frame.width;
  }
}

/** @param {number} owner @param {number} number */
function check(owner, number) {
  return (owner * 37 + (number >> 8) * 101 + (number & 255) * 59 + 0x5a) & 255;
}

/** @param {number[]} rows @param {number} width @param {number} height */
function paint(rows, width, height) {
  const luma = width * height;
  const data = new Uint8Array(luma * 1.5).fill(GREY_CHROMA, luma);
  for (let y = 0; y < height; y += 1) {
    const row = rows[Math.floor((y * ROWS) / height)];
    for (let column = 0; column < COLUMNS; column += 1) {
      const level = (row >> column) & 1 ? WHITE : BLACK;
      data.fill(level, y * width + Math.floor((column * width) / COLUMNS), y * width + Math.floor(((column + 1) * width) / COLUMNS));
    }
  }
  return new VideoFrame(data, width, height, VideoBufferType.I420);
}

/** The four bytes in a picture, read at the middle of each block. @param {VideoFrame} frame */
function read(frame) {
  return Array.from({ length: ROWS }, (_, row) => {
    const y = Math.floor(((row + 0.5) * frame.height) / ROWS);
    let byte = 0;
    for (let column = 0; column < COLUMNS; column += 1) {
      const x = Math.floor(((column + 0.5) * frame.width) / COLUMNS);
      if (frame.data[y * frame.width + x] > MIDDLE) byte |= 1 << column;
    }
    return byte;
  });
}
