import { describe, expect, test } from 'vitest';

import { FIRST_VISIT, loadPreferences, savePreferences, type Store } from './preferences';

function storeHolding(value: string | null): Store {
  let held = value;
  return { getItem: () => held, setItem: (_key, next) => (held = next) };
}

describe('preferences', () => {
  test('what was saved is what is loaded', () => {
    const store = storeHolding(null);
    const preferences = { room: 'stand-up', name: 'Ann', cameraOn: false, microphoneOn: true };
    savePreferences(store, preferences);
    expect(loadPreferences(store)).toEqual(preferences);
  });

  test.each(['', '{', '[]', '7', '{"name":7,"cameraOn":"no"}'])(
    'a store holding %s is a first visit',
    (held) => {
      expect(loadPreferences(storeHolding(held))).toEqual(FIRST_VISIT);
    },
  );

  test('a browser that forbids storage neither loads nor throws', () => {
    const forbidden: Store = {
      getItem: () => {
        throw new Error('denied');
      },
      setItem: () => {
        throw new Error('denied');
      },
    };
    expect(loadPreferences(forbidden)).toEqual(FIRST_VISIT);
    expect(() => savePreferences(forbidden, FIRST_VISIT)).not.toThrow();
  });
});
