import { createHmac } from 'node:crypto';

/** The key the server is started with where a test signs its own tokens. */
export const KEY = 'storykey';
export const SECRET = 'a-secret-of-the-stories-that-is-long-enough';

/** What a token claims; everything else is filled in so that it is valid. */
export interface Claims {
  room: string;
  identity: string;
  name?: string;
  /** Seconds from now until it expires; negative for one that has. */
  expiresIn?: number;
  /** Rights besides joining the room. */
  grants?: Record<string, boolean | string>;
  key?: string;
  secret?: string;
}

/** A LiveKit access token. */
export function sign(claims: Claims): string {
  const now = Math.floor(Date.now() / 1000);
  const expiry = now + (claims.expiresIn ?? 600);
  const payload = {
    iss: claims.key ?? KEY,
    sub: claims.identity,
    name: claims.name ?? claims.identity,
    nbf: Math.min(now, expiry) - 60,
    exp: expiry,
    video: { room: claims.room, roomJoin: true, ...claims.grants },
  };
  const body = `${base64(JSON.stringify({ alg: 'HS256', typ: 'JWT' }))}.${base64(JSON.stringify(payload))}`;
  return `${body}.${createHmac('sha256', claims.secret ?? SECRET).update(body).digest('base64url')}`;
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64url');
}
