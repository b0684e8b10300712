/**
 * The strip a painter writes along the foot of every frame: two rows of sixteen blocks that say who painted the frame
 * and when, so that a reader at the far end of a call can tell whose picture it holds, how old it is, and that it
 * was really decoded.
 *
 * Blocks are 1/16 of the frame wide and 1/15 high: ten by six pixels in the smallest layer a sender makes of a
 * 640x360 picture (160x90), which the coarsest quantiser still leaves readable.
 */
export const COLUMNS = 16;
/** Row one is the clock, row two the painter's number and the checksum. */
export const ROWS = 2;
/** How much of the frame's height the strip takes. */
export const HEIGHT_SHARE = 2 / 15;
/** Painters are numbered from 1; 0 would be what an all-black strip claims. */
export const MAX_PAINTER = 63;

/** Brightness (0-255) of a block that says 1 and of one that says 0, and the line between them. */
export const LIGHT = 205;
export const DARK = 45;
export const THRESHOLD = 125;

/** What one strip says. */
export interface Mark {
  /** The painter's number, 1 to 63. */
  painter: number;
  /** Milliseconds of the wall clock, modulo 65,536. */
  clock: number;
}

/** The 32 bits of a strip, row by row, most significant first. */
export function encode(mark: Mark): boolean[] {
  const clock = mark.clock & 0xffff;
  const painter = mark.painter & MAX_PAINTER;
  const second = (painter << 10) | checksum(clock, painter);
  return [...bits(clock), ...bits(second)];
}

/** Reads 32 bits back; null when the checksum says that they are not a strip. */
export function decode(strip: readonly boolean[]): Mark | null {
  if (strip.length !== COLUMNS * ROWS) return null;
  const clock = number(strip.slice(0, COLUMNS));
  const second = number(strip.slice(COLUMNS));
  const painter = second >> 10;
  if (painter === 0 || (second & 0x3ff) !== checksum(clock, painter)) return null;
  return { painter, clock };
}

/** Milliseconds from a strip's clock to `now`, both modulo 65,536. */
export function age(clock: number, now: number): number {
  return (now - clock) & 0xffff;
}

/**
 * Ten bits that depend on every bit of the clock and the painter. The salt keeps plain pictures out: all-black reads as
 * zeros and all-white as ones, and neither carries its own checksum.
 */
function checksum(clock: number, painter: number): number {
  let mixed = ((painter << 16) | clock) ^ 0x5f3759df;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) & 0x3ff;
}

function bits(value: number): boolean[] {
  return Array.from({ length: COLUMNS }, (_, at) => ((value >> (COLUMNS - 1 - at)) & 1) === 1);
}

function number(strip: readonly boolean[]): number {
  return strip.reduce((value, bit) => (value << 1) | Number(bit), 0);
}
