import { describe, expect, test } from 'vitest';

import type { DeviceHost } from '../media/devices';
import { Lobby } from './lobby.svelte';
import { FIRST_VISIT } from './preferences';

/** A track that remembers whether its light is on. */
function fakeTrack(kind: string): MediaStreamTrack {
  const track = {
    kind,
    readyState: 'live',
    stop: () => {
      track.readyState = 'ended';
    },
    addEventListener: () => undefined,
  };
  return track as unknown as MediaStreamTrack;
}

/** A browser whose questions wait until the test answers them. */
function askingBrowser() {
  const waiting: { grant(): MediaStreamTrack[]; refuse(): void }[] = [];
  const getUserMedia = (constraints?: MediaStreamConstraints): Promise<MediaStream> =>
    new Promise((resolve, reject) => {
      const video = constraints?.video ? [fakeTrack('video')] : [];
      const audio = constraints?.audio ? [fakeTrack('audio')] : [];
      waiting.push({
        grant: () => {
          resolve({ getVideoTracks: () => video, getAudioTracks: () => audio } as unknown as MediaStream);
          return [...video, ...audio];
        },
        refuse: () => reject(new DOMException('no', 'NotAllowedError')),
      });
    });
  const host: DeviceHost = { isSecureContext: true, mediaDevices: { getUserMedia }, permissions: undefined };
  return { host, waiting };
}

function open() {
  const { host, waiting } = askingBrowser();
  const lobby = new Lobby(FIRST_VISIT, 'stand-up', host);
  const opened = lobby.open();
  const question = waiting[0];
  if (!question) throw new Error('the lobby asked for nothing');
  return { lobby, opened, question };
}

describe('Lobby', () => {
  test('shows the devices once they are granted', async () => {
    const { lobby, opened, question } = open();
    expect(lobby.camera).toMatchObject({ on: true, opening: true });
    question.grant();
    await opened;
    expect(lobby.camera).toMatchObject({ on: true, opening: false, track: { kind: 'video' } });
    expect(lobby.microphone.track?.kind).toBe('audio');
  });

  test('a refusal is kept with the device', async () => {
    const { lobby, opened, question } = open();
    question.refuse();
    await opened;
    expect(lobby.camera.problem).toMatchObject({ cause: 'refused' });
    expect(lobby.microphone.problem).toMatchObject({ cause: 'refused' });
  });

  test('switching the camera off turns its light off', async () => {
    const { lobby, opened, question } = open();
    const [camera] = question.grant();
    await opened;
    await lobby.toggle('camera');
    expect(camera?.readyState).toBe('ended');
    expect(lobby.camera).toMatchObject({ on: false, track: undefined });
  });

  test('a camera switched off while it starts never lights up for long', async () => {
    const { lobby, opened, question } = open();
    await lobby.toggle('camera');
    const [camera] = question.grant();
    await opened;
    expect(camera?.readyState).toBe('ended');
    expect(lobby.camera.on).toBe(false);
  });

  test('devices granted after Join follow into the call and leave the lobby alone', async () => {
    const { lobby, opened, question } = open();
    const luggage = lobby.handOver();
    const [camera] = question.grant();
    await opened;
    expect(await luggage.late).toMatchObject({ camera });
    expect(camera?.readyState).toBe('live');
    expect(lobby.camera.track).toBeUndefined();
  });
});
