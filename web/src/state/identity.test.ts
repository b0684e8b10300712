import { describe, expect, test } from 'vitest';

import { type IdentityHost, tabIdentity } from './identity';

/** Locks as all tabs of one browser share them. */
function sharedLocks(): Pick<LockManager, 'request'> {
  const held = new Set<string>();
  const request = async (
    name: string,
    _options: LockOptions,
    callback: (lock: Lock | null) => unknown,
  ): Promise<unknown> => {
    if (held.has(name)) return callback(null);
    held.add(name);
    await callback({ name, mode: 'exclusive' });
    held.delete(name);
    return undefined;
  };
  return { request: request as LockManager['request'] };
}

function tab(
  locks: IdentityHost['locks'],
  stored: string | null = null,
): IdentityHost & { stored(): string | null } {
  let held = stored;
  let next = 0;
  return {
    store: { getItem: () => held, setItem: (_key, value) => (held = value) },
    locks,
    randomId: () => `${stored ?? 'first'}-${next++}`,
    stored: () => held,
  };
}

describe('tabIdentity', () => {
  test('a reload keeps the identity', async () => {
    const identity = await tabIdentity(tab(sharedLocks()));
    expect(await tabIdentity(tab(sharedLocks(), identity))).toBe(identity);
  });

  test('a duplicated tab becomes someone else, and stays so', async () => {
    const locks = sharedLocks();
    const identity = await tabIdentity(tab(locks));
    const copy = tab(locks, identity);
    const other = await tabIdentity(copy);
    expect(other).not.toBe(identity);
    expect(copy.stored()).toBe(other);
  });

  test('without locks, as over plain HTTP, the remembered identity is taken', async () => {
    expect(await tabIdentity(tab(undefined, 'web-1'))).toBe('web-1');
  });
});
