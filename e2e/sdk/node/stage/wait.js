/** How long anything here may take on a machine that does other things too. Waiting ends as soon as what is awaited is true. */
export const PATIENCE_MILLISECONDS = 20_000;

const POLL_MILLISECONDS = 10;

/**
 * Waits until `condition` gives something that is not false, undefined or null, and returns it.
 *
 * @template T
 * @param {string} what is awaited, for the error
 * @param {() => T | Promise<T>} condition
 * @param {() => unknown} [instead] what there is instead, for the error
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(what, condition, instead = () => undefined) {
  const deadline = Date.now() + PATIENCE_MILLISECONDS;
  for (;;) {
    const found = await condition();
    if (found !== false && found !== undefined && found !== null) return found;
    if (Date.now() > deadline) {
      throw new Error(`never: ${what}; instead: ${JSON.stringify(instead(), plain)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
}

/** @param {string} _key @param {unknown} value */
function plain(_key, value) {
  return typeof value === 'bigint' ? Number(value) : value;
}
