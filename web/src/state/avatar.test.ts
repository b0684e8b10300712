import { describe, expect, test } from 'vitest';

import { AVATAR_COLOURS, colourOf, initialsOf } from './avatar';

describe('initialsOf', () => {
  test.each([
    ['Ann', 'A'],
    ['ann lee', 'AL'],
    ['Ann Marie van der Berg', 'AB'],
    ['  Ann  ', 'A'],
    ['山田 太郎', '山太'],
    ['👩‍🚀 Astronaut', '👩‍🚀A'],
    ['<Ann> (guest)', 'AG'],
    ['?', '?'],
    ['', ''],
  ])('%s gives %s', (name, initials) => {
    expect(initialsOf(name)).toBe(initials);
  });
});

describe('colourOf', () => {
  test('is stable and within the palette', () => {
    for (const name of ['', 'Ann', 'Bob', 'x'.repeat(10_000), '👩‍🚀']) {
      expect(colourOf(name)).toBe(colourOf(name));
      expect(colourOf(name)).toBeLessThan(AVATAR_COLOURS);
      expect(colourOf(name)).toBeGreaterThanOrEqual(0);
    }
  });
});
