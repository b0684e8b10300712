import { describe, expect, test } from 'vitest';

import { type Admission, GRANT_MAX_AGE_MS, TokenError, TokenSource } from './token';

const ann: Admission = { room: 'stand-up', name: 'Ann', identity: 'web-1' };

/** A server that counts what it was asked, and a clock that stands still until moved. */
function setUp(answer: () => Response | Promise<Response>) {
  const asked: unknown[] = [];
  const clock = { now: 0 };
  const source = new TokenSource(
    async (_input, init) => {
      asked.push(JSON.parse(String(init?.body)));
      return answer();
    },
    () => clock.now,
  );
  return { asked, clock, source };
}

const granted = (): Response =>
  Response.json({ server_url: 'ws://localhost:7880', participant_token: 'jwt' }, { status: 201 });

async function refusalOf(source: TokenSource): Promise<unknown> {
  const error: unknown = await source.grant(ann).catch((reason: unknown) => reason);
  return error instanceof TokenError ? error.refusal : error;
}

describe('TokenSource', () => {
  test('a grant asked for ahead is there without asking again', async () => {
    const { asked, source } = setUp(granted);
    source.prepare(ann);
    source.prepare(ann);
    expect(await source.grant(ann)).toEqual({ serverUrl: 'ws://localhost:7880', token: 'jwt' });
    expect(asked).toEqual([
      { room_name: 'stand-up', participant_name: 'Ann', participant_identity: 'web-1' },
    ]);
  });

  test('a grant prepared for other values is never used', async () => {
    const { asked, source } = setUp(granted);
    source.prepare({ ...ann, room: 'stand-u' });
    await source.grant(ann);
    expect(asked).toHaveLength(2);
    expect(asked[1]).toMatchObject({ room_name: 'stand-up' });
  });

  test('an old grant is asked for anew', async () => {
    const { asked, clock, source } = setUp(granted);
    source.prepare(ann);
    clock.now = GRANT_MAX_AGE_MS;
    await source.grant(ann);
    expect(asked).toHaveLength(2);
  });

  test('a grant is used once', async () => {
    const { asked, source } = setUp(granted);
    await source.grant(ann);
    await source.grant(ann);
    expect(asked).toHaveLength(2);
  });

  test('a failed preparation is forgotten', async () => {
    let up = false;
    const { source } = setUp(() => (up ? granted() : Promise.reject(new TypeError('offline'))));
    source.prepare(ann);
    await Promise.resolve();
    await new Promise((resolve) => setTimeout(resolve));
    up = true;
    await expect(source.grant(ann)).resolves.toMatchObject({ token: 'jwt' });
  });

  test('the server’s explanation is kept', async () => {
    const { source } = setUp(() =>
      Response.json({ error: { code: 'room_name_too_long', message: 'Use 64 letters.' } }, { status: 400 }),
    );
    expect(await refusalOf(source)).toEqual({
      kind: 'refused',
      status: 400,
      code: 'room_name_too_long',
      message: 'Use 64 letters.',
    });
  });

  test.each([
    ['no server', () => Promise.reject(new TypeError('failed')), 'unreachable'],
    ['a proxy without a server', () => new Response('Bad gateway', { status: 502 }), 'unreachable'],
    ['a page instead of a token', () => new Response('<html>'), 'malformed'],
    ['half an answer', () => Response.json({ server_url: 'ws://x' }), 'malformed'],
    ['null', () => Response.json(null), 'malformed'],
    ['an unexplained error', () => new Response('', { status: 500 }), 'refused'],
  ])('%s is a %s error', async (_situation, answer, kind) => {
    const { source } = setUp(answer as () => Response);
    expect(await refusalOf(source)).toMatchObject({ kind });
  });
});
