/** Painter n sounds at n times this many hertz: far enough apart to tell, low enough for every Opus mode. */
export const STEP_HZ = 400;
/** Loud enough to count as speech by any voice detector (about -17 dBFS), quiet enough never to clip a mix. */
const GAIN = 0.2;
/** A peak below this is codec noise: comfort noise and concealment stay under -75 dB, tones arrive near -24 dB. */
const FLOOR_DB = -60;
/** 8,192 samples at 48 kHz are bins of 5.9 Hz; two bins either side allow for clock drift and resampling. */
const FFT_SIZE = 8192;
const TOLERANCE_HZ = 15;

let shared: AudioContext | undefined;
const analysers = new WeakMap<MediaStreamTrack, AnalyserNode>();

/** A microphone that hears one steady tone, the painter's own. */
export function tonedMicrophone(painter: number): MediaStreamTrack {
  const context = audio();
  const destination = context.createMediaStreamDestination();
  const gain = new GainNode(context, { gain: GAIN });
  const oscillator = new OscillatorNode(context, { frequency: painter * STEP_HZ });
  oscillator.connect(gain).connect(destination);
  oscillator.start();
  const track = destination.stream.getAudioTracks()[0];
  if (!track) throw new Error('this browser makes no track of an audio graph');
  return track;
}

/** The painters whose tones these tracks carry, loudest moment of `milliseconds` (a tone may come in bursts). */
export async function listen(tracks: MediaStreamTrack[], milliseconds: number): Promise<number[]> {
  const ears = tracks.map(ear);
  const heard = new Set<number>();
  const until = performance.now() + milliseconds;
  do {
    for (const analyser of ears) {
      const painter = loudest(analyser);
      if (painter !== null) heard.add(painter);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  } while (performance.now() < until);
  return [...heard].sort((a, b) => a - b);
}

/** Whether sound can be heard at all here: without an audio device Firefox keeps its clock stopped. */
export function listening(): AudioContextState {
  return audio().state;
}

/** The painter of the loudest tone; -1 for a tone that is nobody's; null for silence. */
function loudest(analyser: AnalyserNode): number | null {
  const spectrum = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(spectrum);
  let peak = 0;
  spectrum.forEach((level, bin) => {
    if (level > (spectrum[peak] ?? -Infinity)) peak = bin;
  });
  if (!((spectrum[peak] ?? -Infinity) > FLOOR_DB)) return null;
  const hertz = (peak * analyser.context.sampleRate) / FFT_SIZE;
  const painter = Math.round(hertz / STEP_HZ);
  return painter > 0 && Math.abs(hertz - painter * STEP_HZ) <= TOLERANCE_HZ ? painter : -1;
}

function ear(track: MediaStreamTrack): AnalyserNode {
  const known = analysers.get(track);
  if (known) return known;
  const context = audio();
  const analyser = new AnalyserNode(context, { fftSize: FFT_SIZE, smoothingTimeConstant: 0 });
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  analysers.set(track, analyser);
  return analyser;
}

function audio(): AudioContext {
  shared ??= new AudioContext();
  if (shared.state === 'suspended') void shared.resume();
  return shared;
}
