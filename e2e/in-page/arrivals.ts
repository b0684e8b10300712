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

/**
 * Reads a video until it has shown one readable frame of somebody new, and no further: reading costs processor time.
 * The first frame may be the last one of whoever was shown through the same receiver before.
 */
export async function watchFirstFrame(video: HTMLVideoElement): Promise<void> {
  for (let frames = 0; frames < MOST_FRAMES; frames += 1) {
    const reading = await read(video, 1, 60_000);
    if (reading.frames === 0) return;
    const painter = Object.keys(reading.painters)[0];
    if (painter === undefined || painter in arrivals.firstFrame) continue;
    arrivals.firstFrame[painter] = Date.now();
    return;
  }
}

/** Enough to get past damaged and stale frames; a tile that is attached anew shows nobody new. */
const MOST_FRAMES = 100;

/** What has arrived so far. */
export function arrived(): Arrivals {
  return arrivals;
}
