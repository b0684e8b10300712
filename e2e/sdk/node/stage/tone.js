import { AudioFrame, AudioSource, AudioStream, LocalAudioTrack } from '@livekit/rtc-node';

/** Tones far enough apart, and no harmonics of one another, so that Opus keeps them apart. In hertz. */
export const TONES = [440, 620, 910, 1330];

const SAMPLE_RATE = 48_000;
const FRAME_SAMPLES = SAMPLE_RATE / 100;
const AMPLITUDE = 8_000;
/** A tenth of a second: ten periods of the difference between the two closest tones. */
const WINDOW_SAMPLES = SAMPLE_RATE / 10;
/** How many times stronger than any other a tone has to be in a window; silence and noise have none. */
const CLEAR = 10;
/** Mean power below which a window is silent: a hundredth of the amplitude. */
const SILENCE = (AMPLITUDE / 100) ** 2 / 2;

/** Plays one tone into a track until it is stopped. */
export class ToneSource {
  /** @param {number} frequency in hertz */
  constructor(frequency) {
    this.source = new AudioSource(SAMPLE_RATE, 1);
    this.track = LocalAudioTrack.createAudioTrack(`tone-${frequency}`, this.source);
    this.playing = true;
    this.done = this.#play(frequency);
  }

  async stop() {
    this.playing = false;
    await this.done;
    await this.source.close();
  }

  /** @param {number} frequency */
  async #play(frequency) {
    for (let at = 0; this.playing; at += FRAME_SAMPLES) {
      const samples = new Int16Array(FRAME_SAMPLES);
      for (let index = 0; index < FRAME_SAMPLES; index += 1) {
        samples[index] = AMPLITUDE * Math.sin((2 * Math.PI * frequency * (at + index)) / SAMPLE_RATE);
      }
      // Resolves when the queue has room again, which is what paces this loop.
      await this.source.captureFrame(new AudioFrame(samples, SAMPLE_RATE, 1, FRAME_SAMPLES));
    }
  }
}

/** Listens to a track and remembers which tones were clear in it. */
export class ToneReader {
  /** @param {import('@livekit/rtc-node').RemoteTrack} track */
  constructor(track) {
    /** Tones heard so far: how many windows each. @type {Map<number, number>} */
    this.heard = new Map();
    /** Windows in which nothing could be heard. */
    this.silent = 0;
    this.reader = new AudioStream(track, SAMPLE_RATE, 1).getReader();
    this.done = this.#listen();
  }

  /** Forgets what was heard. */
  forget() {
    this.heard.clear();
    this.silent = 0;
  }

  async stop() {
    await this.reader.cancel();
    await this.done;
  }

  async #listen() {
    let window = new Float64Array(WINDOW_SAMPLES);
    let filled = 0;
    for (;;) {
      const { done, value } = await this.reader.read();
      if (done) return;
      for (const sample of value.data) {
        window[filled] = sample;
        filled += 1;
        if (filled === WINDOW_SAMPLES) {
          this.#judge(window);
          filled = 0;
        }
      }
    }
  }

  /** @param {Float64Array} window */
  #judge(window) {
    if (window.reduce((sum, sample) => sum + sample * sample, 0) / window.length < SILENCE) {
      this.silent += 1;
      return;
    }
    const powers = TONES.map((tone) => ({ tone, power: goertzel(window, tone) })).sort((a, b) => b.power - a.power);
    if (powers[0].power > CLEAR * powers[1].power) {
      this.heard.set(powers[0].tone, (this.heard.get(powers[0].tone) ?? 0) + 1);
    }
  }
}

/** The power of one frequency in some samples (Goertzel's algorithm). @param {Float64Array} samples @param {number} frequency */
function goertzel(samples, frequency) {
  const coefficient = 2 * Math.cos((2 * Math.PI * frequency) / SAMPLE_RATE);
  let last = 0;
  let before = 0;
  for (const sample of samples) {
    [last, before] = [sample + coefficient * last - before, last];
  }
  return last * last + before * before - coefficient * last * before;
}
