import { read } from './reader';

/** When this page's Join was pressed, and when each painter's first readable frame was presented here. */
export interface Arrivals {
  /** Wall clock in milliseconds, so that pages of one machine can be compared; 0 before the press. */
  pressed: number;
  /** By painter, wall clock in milliseconds. */
  firstFrame: Record<string, number>;
}

const arrivals: Arrivals = { pressed: 0, firstFrame: {} };

/** Notes the press of Join from now on; it is called once, before the page's own scripts. */
export function watchJoin(): void {
  const note = (event: Event) => {
    const pressed = event.target instanceof Element ? event.target.closest('button') : null;
    if (pressed?.textContent?.trim() === 'Join') arrivals.pressed = Date.now();
  };
  document.addEventListener('click', note, { capture: true });
}

/** Reads a video until it has shown one readable frame, and no further: reading costs processor time. */
export async function watchFirstFrame(video: HTMLVideoElement): Promise<void> {
  for (;;) {
    const reading = await read(video, 1, 60_000);
    const painter = Object.keys(reading.painters)[0];
    if (painter !== undefined) {
      arrivals.firstFrame[painter] ??= Date.now();
      return;
    }
    if (reading.frames === 0) return;
  }
}

/** What has arrived so far. */
export function arrived(): Arrivals {
  return arrivals;
}
