/** What the page shows of one participant: a plain snapshot, rebuilt whenever something changes. */

import type { Participant, Track, TrackPublication } from 'livekit-client';

/** Media that can be put into an element, without saying where it comes from. The same media is the same object. */
export interface Playable {
  /**
   * The browser showed somebody else through the same receiver before. Firefox then presents that person's last
   * picture once more before the first new one.
   */
  readonly recycled: boolean;
  attach(element: HTMLMediaElement): void;
  detach(element: HTMLMediaElement): void;
}

export interface ParticipantView {
  readonly identity: string;
  readonly name: string;
  readonly isSelf: boolean;
  /** Present while there are pictures to show. */
  readonly video: Playable | undefined;
  /** Present for everyone but oneself: nobody wants to hear their own echo. */
  readonly audio: Playable | undefined;
  readonly microphoneOn: boolean;
  readonly cameraOn: boolean;
  readonly speaking: boolean;
  /** The server has lost this participant and waits for them to come back. */
  readonly lost: boolean;
}

/** The `source` names of livekit-client's tracks, as its protocol spells them. */
const CAMERA = 'camera' as Track.Source.Camera;
const MICROPHONE = 'microphone' as Track.Source.Microphone;

/** The value of livekit-client's `ConnectionQuality.Lost`. */
const LOST = 'lost';

/**
 * Reads one participant.
 *
 * @param participant livekit-client's object for them.
 * @param fallbackName Their name while the server has not said it yet, or said none.
 */
export function viewOf(participant: Participant, fallbackName: string): ParticipantView {
  const camera = participant.getTrackPublication(CAMERA);
  const microphone = participant.getTrackPublication(MICROPHONE);
  const isSelf = participant.isLocal;
  return {
    identity: participant.identity,
    name: participant.name || fallbackName || participant.identity,
    isSelf,
    video: isOn(camera) ? (isSelf ? ownPlayable(camera) : playable(camera)) : undefined,
    audio: isSelf ? undefined : playable(microphone),
    microphoneOn: isOn(microphone),
    cameraOn: isOn(camera),
    speaking: participant.isSpeaking && isOn(microphone),
    lost: !isSelf && participant.connectionQuality.toString() === LOST,
  };
}

/**
 * A device's own track, as in the lobby's preview and one's own tile. The same track gives the same object, so
 * that the picture does not blink on the way from one to the other.
 */
export function playableTrack(track: MediaStreamTrack): Playable {
  return remember(track, {
    recycled: false,
    attach: (element) => {
      element.srcObject = new MediaStream([track]);
    },
    detach: (element) => {
      element.srcObject = null;
    },
  });
}

function ownPlayable(publication: TrackPublication): Playable | undefined {
  const track = publication.track?.mediaStreamTrack;
  return track && playableTrack(track);
}

function playable(publication: TrackPublication | undefined): Playable | undefined {
  const track = publication?.track;
  if (!track) return undefined;
  const first = shownFirst.get(track.mediaStreamTrack);
  if (!first) shownFirst.set(track.mediaStreamTrack, track);
  return remember(track, {
    recycled: first !== undefined && first !== track,
    attach: (element) => void track.attach(element),
    detach: (element) => void track.detach(element),
  });
}

const known = new WeakMap<object, Playable>();

/** By what the receiver gives, whom it showed first: it outlives the people it shows. */
const shownFirst = new WeakMap<MediaStreamTrack, object>();

/** One object per track, so that elements attach again only when the media changed. */
function remember(track: object, fresh: Playable): Playable {
  const found = known.get(track);
  if (found) return found;
  known.set(track, fresh);
  return fresh;
}

function isOn(publication: TrackPublication | undefined): publication is TrackPublication {
  return publication !== undefined && !publication.isMuted;
}
