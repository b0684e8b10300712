import { describe, expect, test } from 'vitest';

import { type DeviceHost, isProblem, openDevice, openDevices } from './devices';

const cameraTrack = { kind: 'video', id: 'camera' } as MediaStreamTrack;
const microphoneTrack = { kind: 'audio', id: 'microphone' } as MediaStreamTrack;

function streamFor({ video, audio }: MediaStreamConstraints): MediaStream {
  return {
    getVideoTracks: () => (video ? [cameraTrack] : []),
    getAudioTracks: () => (audio ? [microphoneTrack] : []),
  } as unknown as MediaStream;
}

/** A browser that answers each kind as told, and remembers how often it asked. */
function browser(
  answers: { video?: string; audio?: string },
  permissions: { camera?: PermissionState; microphone?: PermissionState } = {},
): DeviceHost & { questions: number } {
  const host = {
    questions: 0,
    isSecureContext: true,
    mediaDevices: {
      getUserMedia: (constraints?: MediaStreamConstraints): Promise<MediaStream> => {
        host.questions += 1;
        const name = (constraints?.video && answers.video) || (constraints?.audio && answers.audio);
        if (name) return Promise.reject(new DOMException('no', name));
        return Promise.resolve(streamFor(constraints ?? {}));
      },
    },
    permissions: {
      query: ({ name }: { name: string }) =>
        Promise.resolve({
          state: permissions[name as 'camera' | 'microphone'] ?? 'prompt',
        } as PermissionStatus),
    },
  };
  return host as DeviceHost & { questions: number };
}

const BOTH = { camera: true, microphone: true };

describe('openDevices', () => {
  test('asks once for both', async () => {
    const host = browser({});
    expect(await openDevices(BOTH, host)).toEqual({ camera: cameraTrack, microphone: microphoneTrack });
    expect(host.questions).toBe(1);
  });

  test('a missing camera does not cost the microphone', async () => {
    const opened = await openDevices(BOTH, browser({ video: 'NotFoundError' }));
    expect(opened.camera).toMatchObject({ kind: 'camera', cause: 'missing' });
    expect(opened.microphone).toBe(microphoneTrack);
  });

  test('a refusal is not asked about again', async () => {
    const host = browser({ video: 'NotAllowedError', audio: 'NotAllowedError' });
    const opened = await openDevices(BOTH, host);
    expect(opened.camera).toMatchObject({ cause: 'refused' });
    expect(opened.microphone).toMatchObject({ cause: 'refused' });
    expect(host.questions).toBe(1);
  });

  test('a camera blocked for this page leaves the microphone', async () => {
    const host = browser({ video: 'NotAllowedError' }, { camera: 'denied', microphone: 'granted' });
    const opened = await openDevices(BOTH, host);
    expect(opened.camera).toMatchObject({ cause: 'refused' });
    expect(opened.microphone).toBe(microphoneTrack);
  });

  test('a device that is not wanted is not opened', async () => {
    const opened = await openDevices({ camera: false, microphone: true }, browser({}));
    expect(opened).toEqual({ microphone: microphoneTrack });
  });

  test('plain HTTP from another machine is told apart from a browser without devices', async () => {
    const bare = { mediaDevices: undefined, permissions: undefined };
    const http = await openDevices(BOTH, { ...bare, isSecureContext: false });
    expect(http.camera).toMatchObject({ cause: 'insecure' });
    expect(http.microphone).toMatchObject({ cause: 'insecure' });
    const old = await openDevices(BOTH, { ...bare, isSecureContext: true });
    expect(old.camera).toMatchObject({ cause: 'unsupported' });
  });
});

describe('openDevice', () => {
  test.each([
    ['NotAllowedError', 'refused'],
    ['NotFoundError', 'missing'],
    ['OverconstrainedError', 'missing'],
    ['NotReadableError', 'busy'],
    ['AbortError', 'busy'],
    ['TypeError', 'failed'],
  ])('%s reads as %s', async (name, cause) => {
    const opened = await openDevice('camera', browser({ video: name }));
    expect(isProblem(opened) && opened.cause).toBe(cause);
  });
});
