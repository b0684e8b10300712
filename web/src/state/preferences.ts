/** What the page remembers between visits: the room, the name and which devices were on. */

export interface Preferences {
  readonly room: string;
  readonly name: string;
  readonly cameraOn: boolean;
  readonly microphoneOn: boolean;
}

/** The part of `localStorage` used; `undefined` where the browser forbids storage. */
export type Store = Pick<Storage, 'getItem' | 'setItem'> | undefined;

const KEY = 'roomful.preferences';

/** A first visit: both devices on, because that is what people come for. */
export const FIRST_VISIT: Preferences = { room: '', name: '', cameraOn: true, microphoneOn: true };

/** The remembered preferences; anything unreadable counts as a first visit. */
export function loadPreferences(store: Store): Preferences {
  try {
    const stored: unknown = JSON.parse(store?.getItem(KEY) ?? 'null');
    if (typeof stored !== 'object' || stored === null) return FIRST_VISIT;
    const fields = stored as Record<string, unknown>;
    return {
      room: text(fields['room']),
      name: text(fields['name']),
      cameraOn: fields['cameraOn'] !== false,
      microphoneOn: fields['microphoneOn'] !== false,
    };
  } catch {
    return FIRST_VISIT;
  }
}

/** Remembers; a full or forbidden store is no reason to disturb anyone. */
export function savePreferences(store: Store, preferences: Preferences): void {
  try {
    store?.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // Private windows may refuse to store: then the next visit starts fresh.
  }
}

/** The browser's store, or `undefined` where touching it throws. */
export function browserStore(): Store {
  try {
    return globalThis.localStorage;
  } catch {
    return undefined;
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
