/**
 * Notices a dead network before the browser does.
 *
 * ICE takes 5 s or more to report a dead path and a WebSocket can hang for minutes, while a person looking at
 * frozen tiles wonders after two. Whatever we send is answered by RTCP feedback about once a second or faster, so
 * sending into silence means that the path is gone.
 */

/**
 * Silence that counts as a lost connection, in milliseconds. A person must be warned within 3 s: longer breaks
 * that, shorter calls a Wi-Fi roam or a slow report interval (1 s and more, RFC 3550 §6.2) an outage.
 */
export const SILENCE_MS = 2_000;

/** How often to look, in milliseconds: {@link SILENCE_MS} plus this stays under the promised 3 s. */
export const SAMPLE_EVERY_MS = 250;

/**
 * Bytes sent into the silence before it counts. A participant who sends no media still sends some receiver
 * reports (about 100 bytes each) that nobody answers: less than this would call that an outage. Speech sends
 * about 8 kB in two seconds: much more than this would miss the loss of an audio-only call.
 */
export const UNANSWERED_BYTES = 1_000;

/** One look at the transport's counters. */
export interface PulseSample {
  /** When, on a monotonic clock in milliseconds. */
  readonly at: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
}

/** Keeps when bytes last arrived, and how much had been sent by then. */
export class Pulse {
  #last: PulseSample | undefined;

  /**
   * Takes one sample.
   *
   * @returns True where {@link UNANSWERED_BYTES} went out and nothing came in for {@link SILENCE_MS}.
   */
  handleSample(sample: PulseSample): boolean {
    if (this.#last?.bytesReceived !== sample.bytesReceived) {
      this.#last = sample;
      return false;
    }
    return (
      sample.at - this.#last.at >= SILENCE_MS && sample.bytesSent - this.#last.bytesSent >= UNANSWERED_BYTES
    );
  }

  /** Forgets everything, as where there is no transport to look at. */
  reset(): void {
    this.#last = undefined;
  }
}

/**
 * The counters of the transport that a statistics report belongs to (W3C WebRTC Statistics, `candidate-pair`).
 *
 * All pairs count, not only the nominated one: the two sides may change pairs at different moments, and then we
 * send on one and receive on another.
 *
 * @param at When the report was asked for.
 * @returns `undefined` where ICE has no pair yet.
 */
export function pulseSample(report: RTCStatsReport, at: number): PulseSample | undefined {
  let sample: PulseSample | undefined;
  report.forEach((entry: Record<string, unknown>) => {
    if (entry['type'] !== 'candidate-pair') return;
    sample = {
      at,
      bytesReceived: (sample?.bytesReceived ?? 0) + numberOf(entry['bytesReceived']),
      bytesSent: (sample?.bytesSent ?? 0) + numberOf(entry['bytesSent']),
    };
  });
  return sample;
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
