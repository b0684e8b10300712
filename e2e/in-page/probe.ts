import { type Arrivals, arrived, watchFirstFrame, watchJoin } from './arrivals';
import { moving, paths, serverPorts, type Stream, streams, watchConnections } from './connections';
import { liveTracks, type Person, replaceDevices } from './devices';
import { read, type Reading } from './reader';
import { listen, listening } from './tone';

/** What tests ask of a page from inside it; everything here reports what the page really shows and plays. */
export interface Probe {
  /** Reads a video for so many frames, at most so many milliseconds. */
  read(video: HTMLVideoElement, frames: number, milliseconds: number): Promise<Reading>;
  /** The painters whose tones the page plays aloud now (-1: a tone of nobody's). */
  hears(): Promise<number[]>;
  /** The state of the clock that listening needs; `running`, or nothing can be heard. */
  listening(): AudioContextState;
  /** How many tracks of the page's own devices are live. */
  liveTracks(kind: 'audio' | 'video'): number;
  /** The RTP streams the page sends and receives. */
  streams(): Promise<Stream[]>;
  /** The streams in which frames come along within so many milliseconds. */
  moving(milliseconds: number): Promise<Stream[]>;
  /** The candidate pairs in use, as `type/protocol`. */
  paths(): Promise<string[]>;
  serverPorts(): Promise<number[]>;
  /** When Join was pressed, and when each painter was first seen. */
  arrivals(): Arrivals;
  /** Scripts that ran although they came in as text: names and messages set this if they are ever executed. */
  trapped: boolean;
}

declare global {
  interface Window {
    roomfulProbe: Probe;
  }
}

const LISTEN_MILLISECONDS = 400;
const played = new Set<HTMLMediaElement>();

/** Replaces the devices, watches what the page plays and connects, and answers as `window.roomfulProbe`. */
export function install(person: Person): void {
  replaceDevices(person);
  watchConnections();
  watchPlayback();
  watchJoin();
  window.roomfulProbe = {
    read,
    hears: () => listen(audible(), LISTEN_MILLISECONDS),
    listening,
    liveTracks,
    streams,
    moving,
    paths,
    serverPorts,
    arrivals: arrived,
    trapped: false,
  };
}

/** Elements need not be in the document to be heard, so they are caught where their stream is set. */
function watchPlayback(): void {
  const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'srcObject');
  if (!source?.set) throw new Error('this browser has no srcObject to watch');
  const set = source.set;
  Object.defineProperty(HTMLMediaElement.prototype, 'srcObject', {
    ...source,
    set(this: HTMLMediaElement, stream: MediaProvider | null) {
      set.call(this, stream);
      if (stream) played.add(this);
      else played.delete(this);
      if (stream && this instanceof HTMLVideoElement) void watchFirstFrame(this);
    },
  });
}

/** The audio tracks that come out of the speakers: of elements that play, aloud. */
function audible(): MediaStreamTrack[] {
  const tracks = [...played]
    .filter((element) => !element.paused && !element.muted && element.volume > 0)
    .flatMap((element) => (element.srcObject instanceof MediaStream ? element.srcObject.getAudioTracks() : []))
    .filter((track) => track.readyState === 'live');
  return [...new Set(tracks)];
}
