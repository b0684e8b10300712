/** Keeps the screen awake during a call, where the browser can. */

/**
 * Holds the screen awake until stopped. Browsers drop the lock when the page is hidden, so it is taken again
 * whenever the page comes back.
 *
 * @returns Lets the screen sleep again.
 */
export function keepAwake(): () => void {
  const wakeLock = navigator.wakeLock as WakeLock | undefined;
  if (!wakeLock) return () => undefined;
  let stopped = false;
  let held: WakeLockSentinel | undefined;
  const take = async (): Promise<void> => {
    if (document.visibilityState !== 'visible') return;
    try {
      const sentinel = await wakeLock.request('screen');
      if (stopped) await sentinel.release();
      else held = sentinel;
    } catch {
      // A battery saver may refuse: then the screen behaves as usual.
    }
  };
  const retake = (): void => void take();
  document.addEventListener('visibilitychange', retake);
  retake();
  return () => {
    stopped = true;
    document.removeEventListener('visibilitychange', retake);
    void held?.release();
  };
}
