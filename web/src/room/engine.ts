/** Loads livekit-client, the media engine, once and only after the lobby has painted. */

import { EngineLoadError } from './ending';

/** livekit-client's module, the way `import()` gives it. */
export type Engine = typeof import('livekit-client');

let loading: Promise<Engine> | undefined;

/**
 * The media engine; the first call starts the download, later ones share it.
 *
 * @throws {EngineLoadError} The file could not be fetched. The next call tries again.
 */
export function loadEngine(): Promise<Engine> {
  loading ??= import('livekit-client').then(
    (engine) => {
      // livekit-client logs every transition; what matters to a person is on the page instead.
      engine.setLogLevel(engine.LogLevel.warn);
      return engine;
    },
    () => {
      loading = undefined;
      throw new EngineLoadError('the media engine could not be loaded');
    },
  );
  return loading;
}

/**
 * Makes the browser start its WebRTC threads and list its codecs, which takes some 30 ms the first time and next
 * to nothing afterwards. Nothing is sent: a description is written and thrown away.
 */
export async function warmUpTransport(): Promise<void> {
  try {
    const connection = new RTCPeerConnection();
    connection.addTransceiver('audio');
    connection.addTransceiver('video');
    await connection.createOffer();
    connection.close();
  } catch {
    // A browser without WebRTC is told so when it joins.
  }
}
