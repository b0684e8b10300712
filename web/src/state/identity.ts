/** One identity per tab, so that a reload replaces the old self instead of joining beside it. */

const KEY = 'roomful.identity';

/** The parts of the browser this needs. */
export interface IdentityHost {
  readonly store: Pick<Storage, 'getItem' | 'setItem'> | undefined;
  /** `undefined` outside a secure context. */
  readonly locks: Pick<LockManager, 'request'> | undefined;
  randomId(): string;
}

/**
 * This tab's identity.
 *
 * Duplicating a tab copies its session storage; two tabs with one identity would throw each other out of the room
 * for ever. So the tab holds a lock on its identity, and one that finds the lock taken makes a new identity.
 */
export async function tabIdentity(host: IdentityHost): Promise<string> {
  const remembered = read(host);
  if (remembered && (await hold(host, remembered))) return remembered;
  const fresh = host.randomId();
  await hold(host, fresh);
  try {
    host.store?.setItem(KEY, fresh);
  } catch {
    // Without storage a reload simply counts as someone new.
  }
  return fresh;
}

/** The browser this page runs in. */
export function browserIdentity(): IdentityHost {
  return {
    store: sessionStore(),
    locks: navigator.locks as LockManager | undefined,
    randomId: () => {
      // Not `crypto.randomUUID`, which plain HTTP pages do not have. 128 bits: no two people ever meet.
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      return `web-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
    },
  };
}

function read(host: IdentityHost): string | undefined {
  try {
    return host.store?.getItem(KEY) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Takes the lock for as long as the tab lives; true where it was free, or where there are no locks. */
function hold({ locks }: IdentityHost, identity: string): Promise<boolean> {
  if (!locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    locks
      .request(`${KEY}.${identity}`, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        // A promise that never settles keeps the lock until the tab goes away.
        return lock === null ? undefined : new Promise<void>(() => undefined);
      })
      .catch(() => resolve(true));
  });
}

function sessionStore(): Storage | undefined {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}
