/*
 * Makes what was observed of two servers comparable: sids become what they are and the place where they first appeared, times and what
 * is drawn by lot become their kind. Ports differ and mean nothing.
 */

/** What is different in every run. @type {[RegExp, string][]} */
const VOLATILE = [
  [/eyJ[\w-]+\.[\w-]+\.[\w-]+/g, '<token>'],
  [/\b1[78]\d{17}\b/g, '<nanoseconds>'],
  [/\b1[78]\d{11}\b/g, '<milliseconds>'],
  [/\b1[78]\d{8}\b/g, '<seconds>'],
  [/\b(127\.0\.0\.1):\d+/g, '$1:<port>'],
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, '<uuid>'],
];

/** Keys whose values are drawn by lot or measured. */
const DRAWN = /^(turnPassword|turn_password|nodeId|node_id|sifTrailer|sif_trailer|iceCandidates|ufrag|rtt|ssrc|unixMicro)$/;

/** Keys of lists whose order says nothing. */
const CODECS = /^enabled_?(publish)?_?codecs$/i;

/** @param {unknown} observed @returns {any} */
export function normalised(observed) {
  /** @type {Map<string, string>} */
  const sids = new Map();
  /** @param {string} text */
  const plain = (text) => {
    const named = text.replace(/\b(PA|RM|TR|ND|EV|PS|SH|UT|DP)_\w+/g, (sid, kind) => {
      if (!sids.has(sid)) sids.set(sid, `${kind}#${[...sids.values()].filter((one) => one.startsWith(kind)).length + 1}`);
      return /** @type {string} */ (sids.get(sid));
    });
    return VOLATILE.reduce((known, [what, name]) => known.replace(what, name), named);
  };
  /** @param {any} value @param {string} [key] @returns {any} */
  const walk = (value, key = '') => {
    if (DRAWN.test(key)) return value ? '<drawn>' : value;
    if (typeof value === 'string') return plain(value);
    if (typeof value === 'bigint') return plain(String(value));
    if (typeof value === 'number') return VOLATILE.some(([what]) => new RegExp(`^${what.source}$`).test(String(value))) ? plain(String(value)) : value;
    if (CODECS.test(key)) return value.map((/** @type {{ mime: string }} */ one) => one.mime).sort().join(' ');
    if (Array.isArray(value)) return value.map((one) => walk(one));
    if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([name, one]) => [plain(name), walk(one, name)]));
    return value ?? null;
  };
  return walk(observed);
}

/**
 * What differs between two observations, field by field.
 *
 * @param {any} livekit @param {any} roomful @param {string} [path]
 * @returns {{ path: string, livekit?: unknown, roomful?: unknown }[]}
 */
export function differences(livekit, roomful, path = '') {
  if (JSON.stringify(livekit) === JSON.stringify(roomful)) return [];
  if (Array.isArray(livekit) && Array.isArray(roomful)) {
    return aligned(livekit, roomful).flatMap(([mine, theirs], at) => differences(mine, theirs, `${path}[${label(mine ?? theirs, at)}]`));
  }
  if (isObject(livekit) && isObject(roomful)) {
    const keys = new Set([...Object.keys(livekit), ...Object.keys(roomful)]);
    return [...keys].flatMap((key) => differences(livekit[key], roomful[key], path ? `${path}.${key}` : key));
  }
  return [{ path, livekit, roomful }];
}

/** @param {unknown} value */
function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What an entry of a list is called: by its kind where it has one. @param {any} entry @param {number} at */
function label(entry, at) {
  const kind = entry?.event ?? entry?.identity ?? entry?.kind ?? entry?.name;
  return typeof kind === 'string' ? kind : String(at);
}

/**
 * Pairs the entries of two lists: the longest run of entries of the same kind in the same order, everything else alone.
 *
 * @param {any[]} left @param {any[]} right @returns {[any, any][]}
 */
function aligned(left, right) {
  const same = (/** @type {any} */ a, /** @type {any} */ b) =>
    isObject(a) && isObject(b) && label(a, 0) !== '0' ? label(a, 0) === label(b, 0) && a.who === b.who : JSON.stringify(a) === JSON.stringify(b);
  if (left.length === right.length && !left.some((one) => isObject(one) && label(one, 0) !== '0')) return left.map((one, at) => [one, right[at]]);
  const longest = Array.from({ length: left.length + 1 }, () => new Array(right.length + 1).fill(0));
  for (let i = left.length - 1; i >= 0; i -= 1) {
    for (let j = right.length - 1; j >= 0; j -= 1) {
      longest[i][j] = same(left[i], right[j]) ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  /** @type {[any, any][]} */
  const pairs = [];
  let [i, j] = [0, 0];
  while (i < left.length || j < right.length) {
    if (i < left.length && j < right.length && same(left[i], right[j])) pairs.push([left[i++], right[j++]]);
    else if (j >= right.length || (i < left.length && longest[i + 1][j] >= longest[i][j + 1])) pairs.push([left[i++], undefined]);
    else pairs.push([undefined, right[j++]]);
  }
  return pairs;
}
