import { describe, expect, test } from 'vitest';

import { actionForKey, type KeyPress } from './keys';

function press(key: string, held: Partial<KeyPress> = {}): KeyPress {
  return {
    key,
    code: key === ' ' ? 'Space' : `Key${key.toUpperCase()}`,
    ctrlKey: false,
    metaKey: false,
    altKey: false,
    shiftKey: false,
    repeat: false,
    ...held,
  };
}

describe('actionForKey', () => {
  test.each([
    ['m', {}, 'microphone'],
    ['M', { shiftKey: true }, 'microphone'],
    ['d', { ctrlKey: true }, 'microphone'],
    ['d', { metaKey: true }, 'microphone'],
    ['v', {}, 'camera'],
    ['e', { ctrlKey: true }, 'camera'],
    [' ', {}, 'talk'],
    ['?', { shiftKey: true }, 'help'],
  ] as const)('%s with %o is %s', (key, held, action) => {
    expect(actionForKey(press(key, held), 'page')).toBe(action);
  });

  test('nothing fires while typing, not even with Ctrl', () => {
    expect(actionForKey(press('m'), 'text')).toBeUndefined();
    expect(actionForKey(press('d', { ctrlKey: true }), 'text')).toBeUndefined();
    expect(actionForKey(press(' '), 'text')).toBeUndefined();
  });

  test('a focused button keeps Space and the letters, but Ctrl+D still mutes', () => {
    expect(actionForKey(press(' '), 'control')).toBeUndefined();
    expect(actionForKey(press('m'), 'control')).toBeUndefined();
    expect(actionForKey(press('d', { ctrlKey: true }), 'control')).toBe('microphone');
  });

  test('a held key fires once', () => {
    expect(actionForKey(press('m', { repeat: true }), 'page')).toBeUndefined();
  });

  test('the browser keeps its own combinations', () => {
    expect(actionForKey(press('e', { ctrlKey: true, shiftKey: true }), 'page')).toBeUndefined();
    expect(actionForKey(press('d', { altKey: true }), 'page')).toBeUndefined();
    expect(actionForKey(press('m', { ctrlKey: true }), 'page')).toBeUndefined();
  });
});
