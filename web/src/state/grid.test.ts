import { describe, expect, test } from 'vitest';

import { gridFor, MIN_TILE_WIDTH, TILE_ASPECT } from './grid';

const laptop = { width: 1256, height: 640 };
const phone = { width: 366, height: 680 };

describe('gridFor', () => {
  test.each([
    [1, 1],
    [2, 2],
    [3, 2],
    [4, 2],
    [5, 3],
    [6, 3],
    [9, 3],
  ])('%i people on a laptop take %i columns', (count, columns) => {
    expect(gridFor({ count, ...laptop }).columns).toBe(columns);
  });

  test('where two layouts are about as good, the usual one is taken', () => {
    expect(gridFor({ count: 2, width: 1280, height: 720 }).columns).toBe(2);
  });

  test('a tall window stacks two people', () => {
    expect(gridFor({ count: 2, width: 700, height: 1000 }).columns).toBe(1);
  });

  test('a very wide window puts three people in one row', () => {
    expect(gridFor({ count: 3, width: 2400, height: 500 }).columns).toBe(3);
  });

  test('a phone held upright has one column and scrolls past what fits', () => {
    expect(gridFor({ count: 3, ...phone })).toEqual({ columns: 1, tileWidth: 366, scrolls: false });
    expect(gridFor({ count: 4, ...phone })).toEqual({ columns: 1, tileWidth: 366, scrolls: true });
  });

  test('no tile leaves the window unless the grid says that it scrolls', () => {
    for (let count = 1; count <= 60; count += 1) {
      const grid = gridFor({ count, ...laptop });
      const rows = Math.ceil(count / grid.columns);
      expect(grid.columns * grid.tileWidth).toBeLessThanOrEqual(laptop.width);
      if (!grid.scrolls) expect((rows * grid.tileWidth) / TILE_ASPECT).toBeLessThanOrEqual(laptop.height);
      expect(grid.tileWidth).toBeGreaterThanOrEqual(MIN_TILE_WIDTH);
    }
  });

  test('an unmeasured window gives an empty grid instead of a broken one', () => {
    expect(gridFor({ count: 3, width: 0, height: 0 })).toEqual({ columns: 1, tileWidth: 0, scrolls: false });
  });
});
