/**
 * Opens cameras and microphones and says in plain terms why one could not be opened.
 *
 * Every refusal is data ({@link DeviceProblem}), never an exception: a person without devices still joins.
 */

export type DeviceKind = 'camera' | 'microphone';

/** Why a device cannot be used. */
export type DeviceCause =
  /** The page came over plain HTTP from another machine, where browsers hide every device. */
  | 'insecure'
  /** The browser has no device support at all. */
  | 'unsupported'
  /** The person, or the browser on their behalf, said no. */
  | 'refused'
  /** The operating system keeps the browser from the device. */
  | 'refused-by-system'
  /** No such device is plugged in. */
  | 'missing'
  /** Another program holds the device, or its driver failed. */
  | 'busy'
  /** Anything else; `detail` carries the browser's own words. */
  | 'failed';

export interface DeviceProblem {
  readonly kind: DeviceKind;
  readonly cause: DeviceCause;
  /** The browser's words, for the `failed` cause. */
  readonly detail: string;
}

/** What opening gave: a live track, a problem, or `undefined` where nothing was asked for. */
export interface OpenedDevices {
  readonly camera?: MediaStreamTrack | DeviceProblem;
  readonly microphone?: MediaStreamTrack | DeviceProblem;
}

/** The parts of the browser that opening devices needs, so that tests can stand in for them. */
export interface DeviceHost {
  readonly isSecureContext: boolean;
  readonly mediaDevices: Pick<MediaDevices, 'getUserMedia'> | undefined;
  readonly permissions: Pick<Permissions, 'query'> | undefined;
}

/**
 * 720p at 30 frames is what the top simulcast layer carries: more costs upload and encoder time nobody sees
 * in a grid, less makes a single large tile soft. All `ideal`, so that no camera is ever refused for its size.
 */
export const CAMERA_CONSTRAINTS: MediaTrackConstraints = {
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 30 },
  facingMode: { ideal: 'user' },
};

/** Speech processing is on: without it laptop speakers feed back into the room. */
export const MICROPHONE_CONSTRAINTS: MediaTrackConstraints = {
  autoGainControl: true,
  echoCancellation: true,
  noiseSuppression: true,
};

/** True where opening gave a problem rather than a track. */
export function isProblem(opened: MediaStreamTrack | DeviceProblem | undefined): opened is DeviceProblem {
  return opened !== undefined && 'cause' in opened;
}

/** The browser this page runs in. */
export function browserDevices(): DeviceHost {
  return {
    isSecureContext: globalThis.isSecureContext,
    // Absent outside a secure context, whatever the type declarations say.
    mediaDevices: navigator.mediaDevices as MediaDevices | undefined,
    permissions: navigator.permissions as Permissions | undefined,
  };
}

/**
 * Opens the wanted devices, asking once for both where both are wanted.
 *
 * @param wanted Which devices to open.
 * @param host The browser; {@link browserDevices} outside tests.
 * @returns One track or problem for each wanted device; never rejects.
 */
export async function openDevices(
  wanted: Readonly<Record<DeviceKind, boolean>>,
  host: DeviceHost = browserDevices(),
): Promise<OpenedDevices> {
  if (wanted.camera && wanted.microphone) {
    try {
      return byKind(await requestMedia(host, { camera: true, microphone: true }));
    } catch (error) {
      return openSeparately(host, error);
    }
  }
  const opened: { camera?: MediaStreamTrack | DeviceProblem; microphone?: MediaStreamTrack | DeviceProblem } =
    {};
  if (wanted.camera) opened.camera = await openDevice('camera', host);
  if (wanted.microphone) opened.microphone = await openDevice('microphone', host);
  return opened;
}

/**
 * Opens one device.
 *
 * @returns The live track, or the problem; never rejects.
 */
export async function openDevice(
  kind: DeviceKind,
  host: DeviceHost = browserDevices(),
): Promise<MediaStreamTrack | DeviceProblem> {
  try {
    const stream = await requestMedia(host, {
      camera: kind === 'camera',
      microphone: kind === 'microphone',
    });
    const track = kind === 'camera' ? stream.getVideoTracks()[0] : stream.getAudioTracks()[0];
    return track ?? { kind, cause: 'missing', detail: '' };
  } catch (error) {
    return deviceProblem(kind, error, host);
  }
}

/**
 * Names the reason behind a `getUserMedia` rejection (error names: W3C Media Capture and Streams, §10.2).
 *
 * @param error What `getUserMedia`, or livekit-client on its behalf, rejected with.
 */
export function deviceProblem(
  kind: DeviceKind,
  error: unknown,
  host: DeviceHost = browserDevices(),
): DeviceProblem {
  const name = error instanceof Error || error instanceof DOMException ? error.name : '';
  const detail = error instanceof Error || error instanceof DOMException ? error.message : String(error);
  return { kind, cause: causeOf(name, detail, host), detail };
}

function causeOf(name: string, detail: string, host: DeviceHost): DeviceCause {
  if (!host.mediaDevices) return host.isSecureContext ? 'unsupported' : 'insecure';
  switch (name) {
    case 'NotAllowedError':
    case 'PermissionDeniedError':
    case 'SecurityError':
      return /system/i.test(detail) ? 'refused-by-system' : 'refused';
    case 'NotFoundError':
    case 'DevicesNotFoundError':
    case 'OverconstrainedError':
      return 'missing';
    case 'NotReadableError':
    case 'TrackStartError':
    case 'AbortError':
      return 'busy';
    default:
      return 'failed';
  }
}

function requestMedia(host: DeviceHost, wanted: Readonly<Record<DeviceKind, boolean>>): Promise<MediaStream> {
  if (!host.mediaDevices) return Promise.reject(new Error('this page has no access to media devices'));
  return host.mediaDevices.getUserMedia({
    video: wanted.camera ? CAMERA_CONSTRAINTS : false,
    audio: wanted.microphone ? MICROPHONE_CONSTRAINTS : false,
  });
}

/**
 * One question for both failed: find out which device is at fault and open the other.
 *
 * A refusal is not asked again unless the browser says that only one of the two was refused: asking a person
 * twice right after they said no is rude, and Firefox would show two more prompts.
 */
async function openSeparately(host: DeviceHost, error: unknown): Promise<OpenedDevices> {
  const camera = deviceProblem('camera', error, host);
  const microphone = deviceProblem('microphone', error, host);
  if (camera.cause === 'insecure' || camera.cause === 'unsupported') return { camera, microphone };
  if (camera.cause !== 'refused') {
    return {
      camera: await openDevice('camera', host),
      microphone: await openDevice('microphone', host),
    };
  }
  const cameraState = await permissionState(host, 'camera');
  const microphoneState = await permissionState(host, 'microphone');
  if (cameraState === 'denied' && microphoneState !== 'denied') {
    return { camera, microphone: await openDevice('microphone', host) };
  }
  if (microphoneState === 'denied' && cameraState !== 'denied') {
    return { camera: await openDevice('camera', host), microphone };
  }
  return { camera, microphone };
}

async function permissionState(host: DeviceHost, kind: DeviceKind): Promise<PermissionState | undefined> {
  try {
    return (await host.permissions?.query({ name: kind as PermissionName }))?.state;
  } catch {
    // Browsers that do not know the name reject; then nothing is known.
    return undefined;
  }
}

function byKind(stream: MediaStream): OpenedDevices {
  const [camera] = stream.getVideoTracks();
  const [microphone] = stream.getAudioTracks();
  return {
    camera: camera ?? { kind: 'camera', cause: 'missing', detail: '' },
    microphone: microphone ?? { kind: 'microphone', cause: 'missing', detail: '' },
  };
}
