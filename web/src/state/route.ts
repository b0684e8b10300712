/** Which page an address names. Pure. */

export type Route = { readonly page: 'lobby'; readonly room: string } | { readonly page: 'missing' };

/**
 * Reads a path such as `/` or `/room/stand-up`.
 *
 * @param path `location.pathname`, percent-encoded.
 */
export function routeOf(path: string): Route {
  if (path === '/' || path === '/index.html') return { page: 'lobby', room: '' };
  const encoded = /^\/room\/([^/]+)\/?$/.exec(path)?.[1];
  if (encoded === undefined) return { page: 'missing' };
  try {
    return { page: 'lobby', room: decodeURIComponent(encoded) };
  } catch {
    // A stray `%` is no room anyone could have shared.
    return { page: 'missing' };
  }
}

/** The shareable path of a room. */
export function roomPath(room: string): string {
  return `/room/${encodeURIComponent(room)}`;
}
