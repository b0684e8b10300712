/**
 * Asks the server for the token that lets one participant into one room (LiveKit's token-source format).
 *
 * The lobby asks early, so that pressing Join finds the answer waiting.
 */

/** Who wants to enter which room. */
export interface Admission {
  readonly room: string;
  readonly name: string;
  /** Stable for this tab, so that a reload replaces the old self instead of joining beside it. */
  readonly identity: string;
}

/** Where to connect, and the proof that one may. */
export interface Grant {
  readonly serverUrl: string;
  readonly token: string;
}

/** Why no token was given. */
export type TokenRefusal =
  /** The server did not answer at all. */
  | { readonly kind: 'unreachable' }
  /** The server answered with an error; `message` is its own explanation, if it gave one. */
  | { readonly kind: 'refused'; readonly status: number; readonly code: string; readonly message: string }
  /** The answer was not what a Roomful server sends. */
  | { readonly kind: 'malformed' };

/** Thrown by {@link TokenSource.grant}. */
export class TokenError extends Error {
  constructor(readonly refusal: TokenRefusal) {
    super(`no token: ${refusal.kind}`);
    this.name = 'TokenError';
  }
}

/**
 * How long a grant asked for in advance is used, in milliseconds. Longer risks presenting a token that has
 * expired (servers may give as little as some minutes); shorter asks again for people who pause before Join.
 */
export const GRANT_MAX_AGE_MS = 60_000;

/**
 * How long the server may take to answer, in milliseconds. Longer leaves a person staring at "Joining…" on a
 * dead server; shorter fails people on slow mobile links.
 */
export const TOKEN_TIMEOUT_MS = 10_000;

interface Prepared {
  readonly key: string;
  readonly askedAt: number;
  readonly answer: Promise<Grant>;
}

/** Keeps the last grant asked for, keyed by everything that went into it. */
export class TokenSource {
  #prepared: Prepared | undefined;
  readonly #fetch: typeof fetch;
  readonly #now: () => number;

  /**
   * @param fetchFn `fetch`, or a stand-in.
   * @param now A monotonic clock in milliseconds.
   */
  constructor(fetchFn: typeof fetch, now: () => number) {
    this.#fetch = fetchFn;
    this.#now = now;
  }

  /** Asks ahead of time; a failure is forgotten, and {@link grant} asks again. */
  prepare(admission: Admission): void {
    this.#ask(admission).catch(() => {
      // Nobody has pressed Join: there is nothing to report yet.
    });
  }

  /**
   * The grant for exactly these values, from the last {@link prepare} where it still fits.
   * A grant is used once: the next call asks anew.
   *
   * @throws {TokenError} The server refused, was unreachable or answered nonsense.
   */
  async grant(admission: Admission): Promise<Grant> {
    const answer = this.#ask(admission);
    this.#prepared = undefined;
    return answer;
  }

  #ask(admission: Admission): Promise<Grant> {
    const key = JSON.stringify([admission.room, admission.name, admission.identity]);
    const prepared = this.#prepared;
    if (prepared?.key === key && this.#now() - prepared.askedAt < GRANT_MAX_AGE_MS) return prepared.answer;
    const asked: Prepared = { key, askedAt: this.#now(), answer: requestGrant(this.#fetch, admission) };
    this.#prepared = asked;
    asked.answer.catch(() => {
      if (this.#prepared === asked) this.#prepared = undefined;
    });
    return asked.answer;
  }
}

async function requestGrant(fetchFn: typeof fetch, admission: Admission): Promise<Grant> {
  let response: Response;
  try {
    response = await fetchFn('/api/token', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        room_name: admission.room,
        participant_name: admission.name,
        participant_identity: admission.identity,
      }),
      signal: AbortSignal.timeout(TOKEN_TIMEOUT_MS),
    });
  } catch {
    throw new TokenError({ kind: 'unreachable' });
  }
  const body: unknown = await response.json().catch(() => undefined);
  if (!response.ok) throw new TokenError(refusalOf(response.status, body));
  const serverUrl = stringField(body, 'server_url');
  const token = stringField(body, 'participant_token');
  if (!serverUrl || !token) throw new TokenError({ kind: 'malformed' });
  return { serverUrl, token };
}

function refusalOf(status: number, body: unknown): TokenRefusal {
  const error: unknown =
    typeof body === 'object' && body !== null ? (body as Record<string, unknown>)['error'] : undefined;
  // A proxy in front of a stopped server answers 502-504 without Roomful's error body.
  if (error === undefined && status >= 502 && status <= 504) return { kind: 'unreachable' };
  return {
    kind: 'refused',
    status,
    code: stringField(error, 'code') ?? '',
    message: stringField(error, 'message') ?? '',
  };
}

function stringField(value: unknown, field: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const found = (value as Record<string, unknown>)[field];
  return typeof found === 'string' && found !== '' ? found : undefined;
}
