import { describe, expect, test } from 'vitest';

import { Pulse, pulseSample, SAMPLE_EVERY_MS, SILENCE_MS, UNANSWERED_BYTES } from './pulse';

/** Feeds samples at the usual pace and tells when the pulse first stopped, in milliseconds. */
function stopsAt(samples: readonly (readonly [received: number, sent: number])[]): number | undefined {
  const pulse = new Pulse();
  for (const [index, [bytesReceived, bytesSent]] of samples.entries()) {
    const at = index * SAMPLE_EVERY_MS;
    if (pulse.handleSample({ at, bytesReceived, bytesSent })) return at;
  }
  return undefined;
}

const steps = Array.from({ length: 80 }, (_, index) => index);

describe('Pulse', () => {
  test('sending into silence is noticed within three seconds', () => {
    const at = stopsAt(steps.map((step) => [500, step * 10_000] as const));
    expect(at).toBeLessThanOrEqual(3_000 - SAMPLE_EVERY_MS);
    expect(at).toBeGreaterThanOrEqual(SILENCE_MS);
  });

  test('feedback once a second is a living connection', () => {
    expect(
      stopsAt(
        steps.map((step) => [Math.floor((step * SAMPLE_EVERY_MS) / 1_000) * 80, step * 10_000] as const),
      ),
    ).toBeUndefined();
  });

  test('someone alone, muted and with the camera off is not disconnected', () => {
    expect(stopsAt(steps.map(() => [500, 500] as const))).toBeUndefined();
  });

  test('a few unanswered receiver reports are no outage', () => {
    const sent = UNANSWERED_BYTES / steps.length / 2;
    expect(stopsAt(steps.map((step) => [500, step * sent] as const))).toBeUndefined();
  });

  test('bytes that arrive again end the outage', () => {
    const pulse = new Pulse();
    pulse.handleSample({ at: 0, bytesReceived: 1, bytesSent: 0 });
    expect(pulse.handleSample({ at: 5_000, bytesReceived: 1, bytesSent: 90_000 })).toBe(true);
    expect(pulse.handleSample({ at: 5_500, bytesReceived: 2, bytesSent: 99_000 })).toBe(false);
    expect(pulse.handleSample({ at: 6_000, bytesReceived: 2, bytesSent: 108_000 })).toBe(false);
  });
});

describe('pulseSample', () => {
  const report = (entries: readonly object[]): RTCStatsReport =>
    new Map(entries.map((entry, index) => [String(index), entry])) as unknown as RTCStatsReport;

  test('counts bytes on every pair, whichever side has moved to which', () => {
    const entries = [
      { type: 'candidate-pair', nominated: true, bytesReceived: 0, bytesSent: 20 },
      { type: 'candidate-pair', nominated: false, bytesReceived: 10, bytesSent: 0 },
      { type: 'candidate-pair', nominated: false },
      { type: 'inbound-rtp', bytesReceived: 9 },
    ];
    expect(pulseSample(report(entries), 3)).toEqual({ at: 3, bytesReceived: 10, bytesSent: 20 });
  });

  test('says nothing before ICE has a pair', () => {
    expect(pulseSample(report([{ type: 'transport', bytesReceived: 5 }]), 0)).toBeUndefined();
  });
});
