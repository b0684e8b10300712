import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, type Locator, type Page } from '@playwright/test';
import type * as LiveKit from 'livekit-client';
import type { Server } from './server';
import { KEY, SECRET, sign } from './token';

const SDK = readFileSync(createRequire(import.meta.url).resolve('livekit-client'), 'utf8');

/** The environment of a server for which tests sign their own tokens. */
export const KEYS = { LIVEKIT_KEYS: `${KEY}: ${SECRET}` };

declare global {
  interface Window {
    LivekitClient: typeof LiveKit;
    room: LiveKit.Room;
    /** The paths of the WebSockets that the document opened. */
    opened: string[];
  }
}

/**
 * A plain document of the server's with livekit-client in it. A document made up by the test would not do: Chromium
 * does not know that it came from this machine, and keeps it from sockets of this machine.
 */
export async function openSdk(page: Page, server: Server): Promise<void> {
  await page.goto(`${server.url}/healthcheck`);
  await page.evaluate(() => {
    window.opened = [];
    window.WebSocket = class Watched extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols);
        window.opened.push(new URL(url).pathname);
      }
    };
  });
  await page.evaluate(SDK);
}

/** Frames that are read before a picture counts as seen. */
const FRAMES = 10;
const READ_MILLISECONDS = 10_000;

/** One unmodified livekit-client without the page, that shows and plays all it receives. */
export class Guest {
  constructor(
    readonly page: Page,
    readonly identity: string,
    /** The number in this guest's frames and tone. */
    readonly painter: number,
    private readonly server: Server,
  ) {}

  /** Joins over so many peer connections. */
  async join(room: string, peerConnections: 1 | 2): Promise<this> {
    await openSdk(this.page, this.server);
    await this.page.evaluate(
      async ({ url, token, single }) => {
        const room = new window.LivekitClient.Room({ singlePeerConnection: single, adaptiveStream: false, dynacast: true });
        window.room = room;
        room.on('trackSubscribed', (track, _publication, from) => {
          const element = track.attach();
          element.dataset.of = from.identity;
          element.dataset.track = track.sid;
          document.body.append(element);
        });
        room.on('trackUnsubscribed', (track) => {
          document.querySelector(`[data-track="${track.sid}"]`)?.remove();
        });
        await room.connect(url, token);
      },
      { url: this.server.url.replace('http', 'ws'), token: sign({ room, identity: this.identity }), single: peerConnections === 1 },
    );
    return this;
  }

  async turnOn(): Promise<void> {
    await this.page.evaluate(() => window.room.localParticipant.enableCameraAndMicrophone());
  }

  /** Takes camera and microphone out of the room. */
  async unpublish(): Promise<void> {
    await this.page.evaluate(async () => {
      const { localParticipant } = window.room;
      const tracks = [...localParticipant.trackPublications.values()].flatMap((one) => (one.track ? [one.track] : []));
      await localParticipant.unpublishTracks(tracks);
    });
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
    const says = `${this.identity} sees ${other.identity}`;
    await expect(this.video(other), says).toHaveCount(1);
    await expect.poll(async () => (await this.read(other, 1)).frames, says).toBe(1);
    const reading = await this.read(other, FRAMES);
    expect(reading.frames, says).toBe(FRAMES);
    expect(Object.keys(reading.painters), says).toEqual([String(other.painter)]);
    expect(reading.unreadable, says).toBe(0);
  }

  async hears(others: Guest[]): Promise<void> {
    const tones = others.map((other) => other.painter).sort((a, b) => a - b);
    await expect.poll(() => this.page.evaluate(() => window.roomfulProbe.hears()), `${this.identity} hears`).toEqual(tones);
  }

  private read(other: Guest, frames: number) {
    return this.video(other).evaluate(
      (video: HTMLVideoElement, limits) => window.roomfulProbe.read(video, limits.frames, limits.milliseconds),
      { frames, milliseconds: READ_MILLISECONDS },
    );
  }
}
