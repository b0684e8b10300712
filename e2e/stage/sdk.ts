import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from '@playwright/test';
import type * as LiveKit from 'livekit-client';
import type { Server } from './server';
import { KEY, SECRET } from './token';

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
