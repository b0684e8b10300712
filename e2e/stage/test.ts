import { mkdirSync, writeFileSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, expect, test as base, type TestInfo } from '@playwright/test';
import type { Access } from '../in-page/devices';
import { type Engine, launch } from './browsers';
import { probeScript } from './bundle';
import { Participant } from './participant';
import { Server } from './server';

/** How a person comes to the page; what is left out is ordinary. */
export interface Arrival {
  engine?: Engine;
  camera?: Access;
  microphone?: Access;
  /** Another server than the test's own. */
  server?: Server;
  /** Another origin of the server, where its page is opened under another name. */
  origin?: string;
  /** A browser of the test's own, instead of the one all pages of its kind share. */
  browser?: Browser;
  context?: BrowserContextOptions;
}

interface Fixtures {
  /** A room nobody else is in. */
  room: string;
  /** Opens a browser page for someone, with their own painter and tone. */
  person(name: string, arrival?: Arrival): Promise<Participant>;
  /** Starts one more server, with an environment of its own. */
  serve(environment?: Record<string, string>): Promise<Server>;
}

interface WorkerFixtures {
  server: Server;
  browsers: (engine: Engine) => Promise<Browser>;
}

let rooms = 0;

export const test = base.extend<Fixtures, WorkerFixtures>({
  server: [
    async ({}, use) => {
      const server = await Server.start();
      await use(server);
      server.kill();
    },
    { scope: 'worker' },
  ],

  browsers: [
    async ({}, use) => {
      const started = new Map<Engine, Promise<Browser>>();
      await use((engine) => {
        const browser = started.get(engine) ?? launch(engine);
        started.set(engine, browser);
        return browser;
      });
      for (const browser of started.values()) await (await browser).close();
    },
    { scope: 'worker' },
  ],

  room: async ({}, use) => {
    rooms += 1;
    await use(`story ${process.pid}-${rooms}`);
  },

  serve: async ({}, use, testInfo) => {
    const servers: Server[] = [];
    await use(async (environment) => {
      const server = await Server.start(environment);
      servers.push(server);
      return server;
    });
    for (const server of servers) {
      server.kill();
      if (testInfo.status !== testInfo.expectedStatus) keep(testInfo, `own-server-${server.port}.log`, server.log);
    }
  },

  person: async ({ server, browsers }, use, testInfo) => {
    const logged = server.log.length;
    const people: Participant[] = [];
    const close: (() => Promise<void>)[] = [];
    const errors: string[] = [];
    let painters = 0;
    await use(async (name, arrival = {}) => {
      painters += 1;
      const painter = painters;
      const browser = arrival.browser ?? (await browsers(arrival.engine ?? 'chromium'));
      const context = await browser.newContext({ viewport: { width: 1280, height: 720 }, ...arrival.context });
      // A browser of the test's own is ended by the test: it may be stopped, and then it would never close.
      if (!arrival.browser) close.push(() => context.close());
      const page = await context.newPage();
      const access = { camera: arrival.camera ?? 'granted', microphone: arrival.microphone ?? 'granted' } as const;
      await page.addInitScript({ content: probeScript({ painter, ...access }) });
      page.on('pageerror', (error) => errors.push(`${name}: ${error.stack ?? error.message}`));
      const origin = arrival.origin ?? (arrival.server ?? server).url;
      const participant = new Participant(page, name, painter, origin);
      people.push(participant);
      return participant;
    });
    // Counted before pictures are taken: taking one puts a style into the page, and the page's policy objects.
    const unhandled = [...errors];
    if (testInfo.status !== testInfo.expectedStatus) {
      keep(testInfo, 'server.log', server.log.slice(logged));
      for (const { page, painter } of people) {
        const picture = await soon(page.screenshot());
        if (picture) keep(testInfo, `page-${painter}.png`, picture);
        const streams = await soon(page.evaluate(() => window.roomfulProbe.streams()));
        if (streams) keep(testInfo, `page-${painter}-streams.json`, JSON.stringify(streams, null, 2));
      }
    }
    for (const each of close) await each();
    expect(unhandled, 'errors the pages did not handle').toEqual([]);
  },
});

/** What a page answers within three seconds; null for one that cannot: it may be stopped, closed or elsewhere. */
function soon<Answer>(answer: Promise<Answer>): Promise<Answer | null> {
  const late = new Promise<null>((resolve) => setTimeout(() => resolve(null), 3000));
  return Promise.race([answer.catch(() => null), late]);
}

/** Puts what explains a failure beside the test's other results. */
function keep(testInfo: TestInfo, name: string, content: string | Buffer): void {
  mkdirSync(testInfo.outputDir, { recursive: true });
  writeFileSync(testInfo.outputPath(name), content);
}

export { expect };
