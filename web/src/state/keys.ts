/** The keyboard catalogue: one list for the handler and for the help dialog. Pure. */

export type KeyAction = 'microphone' | 'camera' | 'talk' | 'help';

/** What a key press is decided from. */
export interface KeyPress {
  readonly key: string;
  readonly code: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
  readonly shiftKey: boolean;
  readonly repeat: boolean;
}

/** Where the focus is when the key goes down. */
export type KeyTarget = 'text' | 'control' | 'page';

export interface KeyEntry {
  readonly action: KeyAction;
  readonly label: string;
  /** Each alternative is a list of keys pressed together. */
  readonly keys: readonly (readonly string[])[];
}

/** Both families of habits: the plain letters and the ones with Ctrl or ⌘. */
export function keyCatalogue(mac: boolean): readonly KeyEntry[] {
  const modifier = mac ? '⌘' : 'Ctrl';
  return [
    { action: 'microphone', label: 'Mute or unmute the microphone', keys: [['M'], [modifier, 'D']] },
    { action: 'camera', label: 'Turn the camera on or off', keys: [['V'], [modifier, 'E']] },
    { action: 'talk', label: 'Hold to talk while muted', keys: [['Space']] },
    { action: 'help', label: 'Show this list', keys: [['?']] },
  ];
}

/**
 * What a key press means.
 *
 * Nothing fires while typing. A focused button keeps the keys that press it (Space, Enter) to itself, and the
 * letters too: a person who walks the page by keyboard must not mute by accident.
 *
 * @returns `undefined` for keys that are none of ours, including repeats.
 */
export function actionForKey(press: KeyPress, target: KeyTarget): KeyAction | undefined {
  if (press.repeat || press.altKey || target === 'text') return undefined;
  if (press.ctrlKey || press.metaKey) {
    if (press.shiftKey) return undefined;
    return COMMANDS[press.key.toLowerCase()];
  }
  if (target === 'control') return undefined;
  if (press.code === 'Space') return 'talk';
  return LETTERS[press.key.toLowerCase()];
}

const COMMANDS: Readonly<Record<string, KeyAction>> = { d: 'microphone', e: 'camera' };

const LETTERS: Readonly<Record<string, KeyAction>> = { m: 'microphone', v: 'camera', '?': 'help' };
