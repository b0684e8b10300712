/** The server's version, for the quiet line at the foot of the lobby. */

let asked: Promise<string> | undefined;

/** Such as `0.1.0`, or an empty string where the server does not say; asks once per page. Never rejects. */
export function serverVersion(): Promise<string> {
  asked ??= fetch('/api/version')
    .then((response) => (response.ok ? response.json() : undefined))
    .then((body: unknown) => {
      if (typeof body !== 'object' || body === null || !('version' in body)) return '';
      return typeof body.version === 'string' ? body.version : '';
    })
    .catch(() => '');
  return asked;
}
