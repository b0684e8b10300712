import { createHmac } from 'node:crypto';

/**
 * Signs whatever is given, also what a library would not.
 *
 * @param {object} header @param {unknown} claims @param {string} secret @param {string} [hash]
 */
export function signedAnyhow(header, claims, secret, hash = 'sha256') {
  const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${text}.${createHmac(hash, secret).update(text).digest('base64url')}`;
}

/**
 * What somebody without the secret could make of a valid token, and some that nobody should make with it.
 *
 * @param {string} good @param {string} key @param {string} secret
 * @returns {Record<string, string>}
 */
export function mutated(good, key, secret) {
  const [header, payload, signature] = good.split('.');
  const raw = Buffer.from(signature, 'base64url');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
  const with_ = (/** @type {string | Buffer} */ bytes) => `${header}.${payload}.${Buffer.from(bytes).toString('base64url')}`;
  const flipped = (/** @type {number} */ at) => with_(raw.map((byte, index) => (index === at ? byte ^ 1 : byte)));
  const signed = (/** @type {object} */ head, /** @type {unknown} */ body, by = secret, hash = 'sha256') => signedAnyhow(head, body, by, hash);
  const unsigned = (/** @type {string} */ alg) => `${signed({ alg }, claims).split('.').slice(0, 2).join('.')}.`;
  const hs256 = { alg: 'HS256', typ: 'JWT' };
  const other = Buffer.from(JSON.stringify({ ...claims, sub: 'root' })).toString('base64url');
  return {
    'a word': 'token',
    'no signature': `${header}.${payload}`,
    'an empty signature': `${header}.${payload}.`,
    'a part more': `${good}.${signature}`,
    'twice': good + good,
    'other claims': `${header}.${other}.${signature}`,
    'the first bit flipped': flipped(0),
    'the last bit flipped': flipped(31),
    'half a signature': with_(raw.subarray(0, 16)),
    'a longer signature': with_(Buffer.concat([raw, Buffer.from([0])])),
    'no algorithm': unsigned('none'),
    'No algorithm': unsigned('None'),
    'RS256 over the secret': signed({ alg: 'RS256' }, claims),
    'HS512': signed({ alg: 'HS512' }, claims, secret, 'sha512'),
    'no header to speak of': signed({}, claims),
    'another secret': signed(hs256, claims, 'another'),
    'an empty secret': signed(hs256, claims, ''),
    'the key as the secret': signed(hs256, claims, key),
    'no issuer': signed(hs256, { ...claims, iss: undefined }),
    'another issuer': signed(hs256, { ...claims, iss: 'another' }),
    'an end in the past': signed(hs256, { ...claims, exp: claims.exp - 9999 }),
    'a beginning to come': signed(hs256, { ...claims, nbf: claims.exp }),
    'no end': signed(hs256, { ...claims, exp: undefined }),
    'an end in words': signed(hs256, { ...claims, exp: 'tomorrow' }),
    'grants that are a word': signed(hs256, { ...claims, video: 'all' }),
    'no grants': signed(hs256, { ...claims, video: undefined }),
    'claims that are a list': signed(hs256, [claims]),
  };
}
