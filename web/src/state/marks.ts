/** Moments that the benchmark reads through the Performance API. */

const JOIN_CLICK = 'join-click';
const FIRST_REMOTE_FRAME = 'first-remote-frame';

/** The person pressed Join: time starts, and marks of an earlier call are forgotten. */
export function markJoinClick(): void {
  performance.clearMarks(FIRST_REMOTE_FRAME);
  performance.clearMarks(JOIN_CLICK);
  performance.mark(JOIN_CLICK);
}

/** Someone else's picture was presented; only the first one since Join counts. */
export function markRemoteFrame(): void {
  if (performance.getEntriesByName(FIRST_REMOTE_FRAME, 'mark').length > 0) return;
  performance.mark(FIRST_REMOTE_FRAME);
}
