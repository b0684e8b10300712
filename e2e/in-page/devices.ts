import { HEIGHT, paintedCamera, WIDTH } from './painter';
import { tonedMicrophone } from './tone';

/** What becomes of a request for a device. */
export type Access = 'granted' | 'refused' | 'missing';

/** Who sits at this page, and which devices the page is given. */
export interface Person {
  painter: number;
  camera: Access;
  microphone: Access;
}

/** Every track handed out, clones included: a camera's light is on while one of its tracks is live. */
const handedOut: MediaStreamTrack[] = [];

/** How many tracks of a kind are live: 0 means that the camera's light, or the microphone's, is off. */
export function liveTracks(kind: 'audio' | 'video'): number {
  return handedOut.filter((track) => track.kind === kind && track.readyState === 'live').length;
}

/** Puts the painted camera and the toned microphone in the place of the machine's devices. */
export function replaceDevices(person: Person): void {
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  // A page that is not a secure context has no devices; that is one of the stories under test.
  if (!devices) return;
  devices.getUserMedia = (constraints) => capture(person, constraints ?? {});
  devices.enumerateDevices = async () => listed(person);
  replacePermissions(person);
  const clone = MediaStreamTrack.prototype.clone;
  MediaStreamTrack.prototype.clone = function cloneCounted() {
    const copy = clone.call(this);
    return handedOut.includes(this) ? handOut(copy) : copy;
  };
}

async function capture(person: Person, wanted: MediaStreamConstraints): Promise<MediaStream> {
  // As a browser does: asking takes a turn of the event loop, and one refusal refuses the whole request.
  await new Promise((resolve) => setTimeout(resolve, 0));
  if (!wanted.audio && !wanted.video) throw new TypeError('At least one of audio and video must be requested');
  if (wanted.video) permit(person.camera);
  if (wanted.audio) permit(person.microphone);
  const tracks: MediaStreamTrack[] = [];
  if (wanted.audio) tracks.push(handOut(tonedMicrophone(person.painter)));
  if (wanted.video) tracks.push(handOut(paintedCamera(person.painter)));
  return new MediaStream(tracks);
}

function permit(access: Access): void {
  if (access === 'refused') throw new DOMException('Permission denied', 'NotAllowedError');
  if (access === 'missing') throw new DOMException('Requested device not found', 'NotFoundError');
}

/** Makes a drawn or synthesised track answer as a captured one does. */
function handOut(track: MediaStreamTrack): MediaStreamTrack {
  handedOut.push(track);
  // Firefox refuses constraints on a canvas track, and livekit-client applies some when a camera comes back on.
  track.applyConstraints = async () => {};
  const settings: MediaTrackSettings =
    track.kind === 'video'
      ? { deviceId: 'painted-camera', groupId: 'painted', width: WIDTH, height: HEIGHT }
      : { deviceId: 'toned-microphone', groupId: 'painted' };
  const own = track.getSettings.bind(track);
  track.getSettings = () => ({ ...own(), ...settings });
  return track;
}

function listed(person: Person): MediaDeviceInfo[] {
  const found: MediaDeviceInfo[] = [];
  if (person.camera !== 'missing') found.push(info('videoinput', 'painted-camera', 'Painted camera'));
  if (person.microphone !== 'missing') found.push(info('audioinput', 'toned-microphone', 'Toned microphone'));
  found.push(info('audiooutput', 'default', 'Speakers'));
  return found;
}

function info(kind: MediaDeviceKind, deviceId: string, label: string): MediaDeviceInfo {
  const fields = { kind, deviceId, label, groupId: 'painted' };
  return { ...fields, toJSON: () => fields };
}

function replacePermissions(person: Person): void {
  const permissions = navigator.permissions as Permissions | undefined;
  if (!permissions) return;
  const query = permissions.query.bind(permissions);
  permissions.query = async (descriptor) => {
    const name: string = descriptor.name;
    if (name !== 'camera' && name !== 'microphone') return query(descriptor);
    const state: PermissionState = person[name] === 'refused' ? 'denied' : 'granted';
    return Object.assign(new EventTarget(), { name, state, onchange: null }) as PermissionStatus;
  };
}
