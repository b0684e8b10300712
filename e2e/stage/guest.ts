import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, type Locator, type Page } from '@playwright/test';
import type * as LiveKit from 'livekit-client';
import type { Reading } from '../in-page/reader';
import { read, showsPainter, standsStill } from './pictures';
import { openSdk } from './sdk';
import type { Server } from './server';
import { sign } from './token';

const E2EE_WORKER = readFileSync(createRequire(import.meta.url).resolve('livekit-client/e2ee-worker').replace('.mjs', '.js'), 'utf8');

declare global {
  interface Window {
    /** What the room told: names of events, and what came with them in words. */
    told: { event: string; of: unknown[] }[];
  }
}

/** How a guest comes; what is left out is ordinary. */
export interface Joining {
  /** Over so many peer connections: one unless said. */
  peerConnections?: 1 | 2;
  /** Rights besides joining the room. */
  grants?: Record<string, boolean | string>;
  options?: { adaptiveStream?: boolean; dynacast?: boolean };
  autoSubscribe?: boolean;
  /** A codec of pictures that its browser is made not to know: `VP9`. */
  without?: string;
  /** The word from which the key of end-to-end encryption is made. */
  passphrase?: string;
}

/** One unmodified livekit-client without the page, that shows and plays all it receives. */
export class Guest {
  constructor(
    readonly page: Page,
    readonly identity: string,
    /** The number in this guest's frames and tone. */
    readonly painter: number,
    private readonly server: Server,
  ) {}

  async join(room: string, joining: Joining = {}): Promise<this> {
    await openSdk(this.page, this.server);
    const { grants } = joining;
    await this.page.evaluate(enter, {
      url: this.server.url.replace('http', 'ws'),
      token: sign({ room, identity: this.identity, ...(grants && { grants }) }),
      joining,
      worker: joining.passphrase === undefined ? '' : E2EE_WORKER,
    });
    return this;
  }

  async turnOn(): Promise<void> {
    await this.page.evaluate(() => window.room.localParticipant.enableCameraAndMicrophone());
  }

  /** Publishes its camera and nothing else; resolves to the track's sid. */
  publishCamera(options: LiveKit.TrackPublishOptions = {}): Promise<string> {
    return this.page.evaluate(async (wanted) => {
      const published = await window.room.localParticipant.setCameraEnabled(true, undefined, wanted);
      return published?.trackSid ?? '';
    }, options);
  }

  /** Takes camera and microphone out of the room. */
  async unpublish(): Promise<void> {
    await this.page.evaluate(async () => {
      const { localParticipant } = window.room;
      const tracks = [...localParticipant.trackPublications.values()].flatMap((one) => (one.track ? [one.track] : []));
      await localParticipant.unpublishTracks(tracks);
    });
  }

  /** Sends a text to everyone, or to those it names. */
  async say(text: string, options: LiveKit.DataPublishOptions = { reliable: true }): Promise<void> {
    await this.page.evaluate(
      (said) => window.room.localParticipant.publishData(new TextEncoder().encode(said.text), said.options),
      { text, options },
    );
  }

  /** The paths of the signalling WebSockets it opened. */
  paths(): Promise<string[]> {
    return this.page.evaluate(() => window.opened);
  }

  /** The peer connections in use, as livekit-client has them. */
  peerConnections(): Promise<number> {
    return this.page.evaluate(() => {
      const { pcManager } = window.room.engine;
      return [pcManager?.publisher, pcManager?.subscriber].filter((one) => one !== undefined).length;
    });
  }

  /** What came with each event of that name so far: participants by identity, tracks by source, bytes as text. */
  told(event: `${LiveKit.RoomEvent}`): Promise<unknown[][]> {
    return this.page.evaluate((name) => window.told.filter((one) => one.event === name).map((one) => one.of), event);
  }

  /** Waits until an event of that name came with this first; what came besides is not looked at. */
  async isTold(event: `${LiveKit.RoomEvent}`, of: unknown[], timeout = 15_000): Promise<void> {
    const message = `${this.identity} is told ${event} ${JSON.stringify(of)}`;
    const begins = async () => (await this.told(event)).map((one) => one.slice(0, of.length));
    await expect.poll(begins, { message, timeout }).toContainEqual(of);
  }

  /** Forgets what it was told. */
  async forget(): Promise<void> {
    await this.page.evaluate(() => void (window.told = []));
  }

  video(of: Guest): Locator {
    return this.page.locator(`video[data-of="${of.identity}"]`);
  }

  /** Asserts that it shows and plays exactly what these others paint and sound. */
  async meets(others: Guest[]): Promise<void> {
    for (const other of others) await this.sees(other);
    await expect(this.page.locator('video')).toHaveCount(others.length);
    await this.hears(others);
  }

  async sees(other: Guest): Promise<void> {
    await expect(this.video(other), `${this.identity} has a picture of ${other.identity}`).toHaveCount(1);
    await showsPainter(this.video(other), other.painter, `${this.identity} sees ${other.identity}`);
  }

  /** Waits until this other's picture is so high, and reads it. */
  async seesAtHeight(other: Guest, height: number): Promise<void> {
    const says = `${this.identity} sees ${other.identity} ${height} high`;
    await expect.poll(async () => (await this.read(other, 1)).height, { message: says, timeout: 30_000 }).toBe(height);
    await this.sees(other);
  }

  /** Waits until this other's picture stands still. */
  async seesNothingNewOf(other: Guest): Promise<void> {
    await standsStill(this.video(other), `${this.identity} gets no frames of ${other.identity}`);
  }

  async hears(others: Guest[]): Promise<void> {
    const tones = others.map((other) => other.painter).sort((a, b) => a - b);
    await expect.poll(() => this.page.evaluate(() => window.roomfulProbe.hears()), `${this.identity} hears`).toEqual(tones);
  }

  read(other: Guest, frames?: number): Promise<Reading> {
    return read(this.video(other), frames);
  }
}

interface Entry {
  url: string;
  token: string;
  joining: Joining;
  /** The script of livekit-client's worker; empty without encryption. */
  worker: string;
}

/** Runs in the page. */
async function enter({ url, token, joining, worker }: Entry): Promise<void> {
  const sdk = window.LivekitClient;
  const { without } = joining;
  if (without !== undefined) {
    const add = RTCPeerConnection.prototype.addTransceiver;
    RTCPeerConnection.prototype.addTransceiver = function addWithout(...wanted) {
      const transceiver = add.apply(this, wanted);
      const known = RTCRtpReceiver.getCapabilities('video')?.codecs ?? [];
      if (transceiver.receiver.track.kind === 'video') transceiver.setCodecPreferences(known.filter((codec) => codec.mimeType !== `video/${without}`));
      return transceiver;
    };
  }
  const options: LiveKit.RoomOptions = {
    singlePeerConnection: joining.peerConnections !== 2,
    adaptiveStream: false,
    dynacast: true,
    ...joining.options,
  };
  if (joining.passphrase !== undefined) {
    const keyProvider = new sdk.ExternalE2EEKeyProvider();
    await keyProvider.setKey(joining.passphrase);
    const script = URL.createObjectURL(new Blob([worker], { type: 'text/javascript' }));
    options.encryption = { keyProvider, worker: new Worker(script) };
  }
  const room = new sdk.Room(options);
  window.room = room;
  window.told = [];
  const inWords = (value: unknown): unknown => {
    if (value instanceof sdk.Participant) return value.identity;
    if (value instanceof sdk.TrackPublication || value instanceof sdk.Track) return value.source;
    if (value instanceof Uint8Array) return new TextDecoder().decode(value);
    if (Array.isArray(value)) return value.map(inWords);
    if (value instanceof Error) return value.message;
    // What protocol buffers hold counts things in a way that no page passes on.
    if (typeof value === 'object' && value !== null) return JSON.parse(JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? Number(one) : one)));
    return value;
  };
  for (const event of Object.values(sdk.RoomEvent)) {
    room.on(event, (...of: unknown[]) => window.told.push({ event, of: of.map(inWords) }));
  }
  room.on('trackSubscribed', (track, _publication, from) => {
    const element = track.attach();
    element.dataset.of = from.identity;
    element.dataset.track = track.sid;
    document.body.append(element);
  });
  room.on('trackUnsubscribed', (track) => {
    document.querySelector(`[data-track="${track.sid}"]`)?.remove();
  });
  if (joining.passphrase !== undefined) await room.setE2EEEnabled(true);
  await room.connect(url, token, { autoSubscribe: joining.autoSubscribe ?? true });
}
