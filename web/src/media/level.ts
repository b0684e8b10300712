/** A live reading of how loud a microphone is, for the lobby's level hint. */

/**
 * Samples per reading. 1024 at 48 kHz is 21 ms: shorter flickers with single pitch periods of a deep voice,
 * longer lags behind the mouth.
 */
const WINDOW_SAMPLES = 1024;

/** The quietest level shown, in dB below full scale; room noise of a quiet office sits about here. */
const FLOOR_DB = -60;

/** The level shown as full, in dB below full scale; loud speech with gain control peaks about here. */
const CEILING_DB = -12;

/**
 * Watches a microphone until stopped.
 *
 * @param track A live audio track; it is only read, never stopped.
 * @param onLevel Called once per animation frame with 0 (silent) to 1 (loud).
 * @returns Stops watching and frees the audio graph.
 */
export function watchLevel(track: MediaStreamTrack, onLevel: (level: number) => void): () => void {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = WINDOW_SAMPLES;
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let frame = 0;
  const read = (): void => {
    analyser.getFloatTimeDomainData(samples);
    onLevel(levelOf(samples));
    frame = requestAnimationFrame(read);
  };
  read();
  return () => {
    cancelAnimationFrame(frame);
    void context.close();
  };
}

/**
 * The loudness of a stretch of samples on a scale a person can read.
 *
 * @param samples Amplitudes from -1 to 1.
 * @returns 0 at or below {@link FLOOR_DB}, 1 at or above {@link CEILING_DB}, linear in decibels between.
 */
export function levelOf(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10(sum / samples.length || Number.MIN_VALUE);
  return Math.min(1, Math.max(0, (decibels - FLOOR_DB) / (CEILING_DB - FLOOR_DB)));
}
