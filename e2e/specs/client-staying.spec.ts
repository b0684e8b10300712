import type { SimulationScenario } from 'livekit-client';
import type { Engine } from '../stage/browsers';
import type { Guest } from '../stage/guest';
import { expect, test } from '../stage/guests';

// livekit-client comes back from whatever breaks: every case it can bring about itself.

type Beginning = 'signalReconnecting' | 'reconnecting';

const ENGINES: Engine[] = ['chromium', 'firefox'];

/** What the client says it does, in this order, and whether it is another presence afterwards; in which browsers. */
const SCENARIOS: { scenario: SimulationScenario; begins: Beginning[]; anew: boolean; engines?: Engine[] }[] = [
  { scenario: 'signal-reconnect', begins: ['signalReconnecting'], anew: false },
  { scenario: 'disconnect-signal-on-resume', begins: ['signalReconnecting'], anew: false, engines: ['chromium'] },
  // The offer to restart ICE is lost with the WebSocket. Firefox keeps no path in use while it waits for the answer, and
  // livekit-client gives resuming up after 15 s.
  { scenario: 'disconnect-signal-on-resume', begins: ['signalReconnecting', 'reconnecting'], anew: true, engines: ['firefox'] },
  { scenario: 'disconnect-signal-on-resume-no-messages', begins: ['signalReconnecting'], anew: false },
  // The resuming fails within the client.
  { scenario: 'resume-reconnect', begins: ['signalReconnecting', 'reconnecting'], anew: true },
  // Nothing is said of these two: the client tries to resume, and finds that nobody knows it.
  { scenario: 'migration', begins: ['signalReconnecting', 'reconnecting'], anew: true },
  { scenario: 'node-failure', begins: ['signalReconnecting', 'reconnecting'], anew: true },
  { scenario: 'full-reconnect', begins: ['reconnecting'], anew: true },
  { scenario: 'leave-full-reconnect', begins: ['reconnecting'], anew: true },
];

for (const engine of ENGINES) {
  for (const { scenario, begins, anew } of SCENARIOS.filter(({ engines }) => engines?.includes(engine) ?? true)) {
    test(`${engine} is back after ${scenario}, sees and is seen`, async ({ guest }) => {
      const [ann, ben] = [await guest('ann', { engine }), await guest('ben')];
      for (const each of [ann, ben]) await each.turnOn();
      await ann.meets([ben]);
      const before = await sid(ann);
      await simulate(ann, scenario);
      await ann.isTold('reconnected', [], PATIENCE);
      expect(await beginnings(ann)).toEqual(begins);
      expect((await sid(ann)) !== before, 'it is another presence').toBe(anew);
      await ann.meets([ben]);
      await ben.meets([ann]);
      await ann.say('here again');
      await ben.isTold('dataReceived', ['here again', 'ann']);
    });
  }

  test(`${engine} that rehearses a network without UDP comes back over TCP, sees and is seen`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine }), await guest('ben')];
    for (const each of [ann, ben]) await each.turnOn();
    await ann.meets([ben]);
    const travels = () => ann.page.evaluate(() => window.roomfulProbe.paths());
    expect(await travels()).toEqual([expect.stringMatching(/\/udp$/)]);
    await simulate(ann, 'force-tcp');
    await ann.isTold('reconnected', []);
    await ann.meets([ben]);
    await ben.meets([ann]);
    expect(await travels()).toEqual([expect.stringMatching(/\/tcp$/)]);
  });

  test(`${engine} that the server sends away is told why`, async ({ guest }) => {
    const ann = await guest('ann', { engine });
    await simulate(ann, 'server-leave');
    await ann.isTold('disconnected', [SERVER_SHUTDOWN]);
  });

  test(`${engine} asks for speakers and is told of some`, async ({ guest }) => {
    const ann = await guest('ann', { engine });
    await simulate(ann, 'speaker');
    await ann.isTold('activeSpeakersChanged', [['ann']]);
  });
}

/** Twice what livekit-client waits for a peer connection to come back. */
const PATIENCE = 30_000;

/** `DisconnectReason` as livekit-client gives it. */
const SERVER_SHUTDOWN = 3;

/** What the client said it did to come back: each once, in order. */
async function beginnings(guest: Guest): Promise<string[]> {
  const events = await guest.page.evaluate(() => window.told.map((one) => one.event));
  return [...new Set(events.filter((event) => event === 'signalReconnecting' || event === 'reconnecting'))];
}

function sid(guest: Guest): Promise<string> {
  return guest.page.evaluate(() => window.room.localParticipant.sid);
}

async function simulate(guest: Guest, scenario: SimulationScenario): Promise<void> {
  await guest.page.evaluate((wanted) => window.room.simulateScenario(wanted), scenario);
}
