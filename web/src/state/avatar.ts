/** What stands in for a face while a camera is off. Pure. */

/** Colours in the stylesheet (`--avatar-0` …). More would look alike, fewer would repeat in a small room. */
export const AVATAR_COLOURS = 8;

/** Up to two letters for a name: the first of its first and last word, whatever the script. */
export function initialsOf(name: string): string {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const first = words[0];
  const last = words.length > 1 ? words.at(-1) : undefined;
  return [first, last].map((word) => firstLetter(word ?? '')).join('');
}

/** A colour for a person that stays the same for the same name, from 0 to {@link AVATAR_COLOURS} - 1. */
export function colourOf(name: string): number {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return hash % AVATAR_COLOURS;
}

const letters = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** Whole graphemes, so that an emoji or an accented letter is not cut in half; punctuation only where alone. */
function firstLetter(word: string): string {
  const graphemes = Array.from(letters.segment(word), ({ segment }) => segment);
  const first = graphemes.find((grapheme) => /[\p{L}\p{N}\p{Extended_Pictographic}]/u.test(grapheme));
  return (first ?? graphemes[0] ?? '').toLocaleUpperCase();
}
