/** Chooses how many columns of 16:9 tiles use a window best. Pure: sizes in, sizes out. */

export interface GridSpace {
  /** Tiles to place, at least 0. */
  readonly count: number;
  /** The space for them, in CSS pixels. */
  readonly width: number;
  readonly height: number;
}

export interface Grid {
  readonly columns: number;
  /** The width of every tile in CSS pixels; its height follows from {@link TILE_ASPECT}. */
  readonly tileWidth: number;
  /** True where not every tile fits and the grid scrolls. */
  readonly scrolls: boolean;
}

/** Width over height of every tile. */
export const TILE_ASPECT = 16 / 9;

/** Space between tiles, in CSS pixels; the stylesheet reads it from the grid. */
export const GRID_GAP = 12;

/**
 * Windows narrower than this that stand upright are phones and get one column: two columns would make faces
 * smaller than a thumb. Larger values would give tablets a single column with half the screen unused.
 */
export const PHONE_WIDTH = 600;

/** The smallest tile worth showing, in CSS pixels. Smaller hides who is who; larger scrolls with fewer people. */
export const MIN_TILE_WIDTH = 160;

/**
 * A column count must make tiles this much wider to win over the usual one. Nearer to 1 the layout flips with
 * every few pixels of a resized window; further away it wastes space that is plainly there.
 */
const CLEARLY_WIDER = 1.04;

/** The best grid for a space. */
export function gridFor(space: GridSpace): Grid {
  const { count, width, height } = space;
  if (count === 0 || width <= 0 || height <= 0) return { columns: 1, tileWidth: 0, scrolls: false };
  if (width < PHONE_WIDTH && height > width) return phoneGrid(space);

  let columns = Math.min(count, usualColumns(count));
  let tileWidth = tileWidthFor(space, columns);
  for (let candidate = 1; candidate <= count; candidate += 1) {
    const candidateWidth = tileWidthFor(space, candidate);
    if (candidateWidth > tileWidth * CLEARLY_WIDER) {
      columns = candidate;
      tileWidth = candidateWidth;
    }
  }
  return tileWidth >= MIN_TILE_WIDTH ? { columns, tileWidth, scrolls: false } : scrollingGrid(space);
}

/** One column across the phone; a single tile and a few fit, more scroll. */
function phoneGrid({ count, width, height }: GridSpace): Grid {
  const tallest = count * (width / TILE_ASPECT) + (count - 1) * GRID_GAP;
  return { columns: 1, tileWidth: Math.floor(width), scrolls: tallest > height };
}

/** As many smallest tiles across as fit. */
function scrollingGrid({ count, width }: GridSpace): Grid {
  const fitting = Math.max(1, Math.floor((width + GRID_GAP) / (MIN_TILE_WIDTH + GRID_GAP)));
  const columns = Math.min(count, fitting);
  return {
    columns,
    tileWidth: Math.floor((width - (columns - 1) * GRID_GAP) / columns),
    scrolls: true,
  };
}

/** What people expect at a glance: 1 → 1, 2–4 → 2, 5–6 → 3, then the squarest. */
function usualColumns(count: number): number {
  if (count <= 1) return 1;
  if (count <= 4) return 2;
  if (count <= 6) return 3;
  return Math.ceil(Math.sqrt(count));
}

/** The widest 16:9 tile that fits `columns` across and all rows down. */
function tileWidthFor({ count, width, height }: GridSpace, columns: number): number {
  const rows = Math.ceil(count / columns);
  const byWidth = (width - (columns - 1) * GRID_GAP) / columns;
  const byHeight = ((height - (rows - 1) * GRID_GAP) / rows) * TILE_ASPECT;
  return Math.floor(Math.max(0, Math.min(byWidth, byHeight)));
}
