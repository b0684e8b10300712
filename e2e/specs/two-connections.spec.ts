import { expect, test } from '../stage/guests';

// Clients that publish over one peer connection and receive over another, as LiveKit's older ones and those in Go do:
// here livekit-client, told to.

for (const engine of ['chromium', 'firefox'] as const) {
  test(`two ${engine} clients with two peer connections see and hear each other`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine, peerConnections: 2 }), await guest('ben', { engine, peerConnections: 2 })];
    for (const each of [ann, ben]) await each.turnOn();
    await ann.meets([ben]);
    await ben.meets([ann]);
    for (const each of [ann, ben]) {
      expect(await each.paths()).toEqual(['/rtc']);
      expect(await each.peerConnections()).toBe(2);
    }
  });
}

test('clients with one and with two peer connections meet; who comes, goes and comes again is seen each time', async ({ guest }) => {
  const ann = await guest('ann', { peerConnections: 2 });
  const ben = await guest('ben', { engine: 'firefox', peerConnections: 2 });
  const cleo = await guest('cleo');
  expect(await Promise.all([ann, ben, cleo].map((each) => each.paths()))).toEqual([['/rtc'], ['/rtc'], ['/rtc/v1']]);
  await cleo.turnOn();
  await ann.meets([cleo]);
  await ben.meets([cleo]);
  await ann.turnOn();
  await ben.turnOn();
  await ann.meets([ben, cleo]);
  await ben.meets([ann, cleo]);
  await cleo.meets([ann, ben]);
  await cleo.unpublish();
  await ann.meets([ben]);
  await ben.meets([ann]);
  await cleo.turnOn();
  await ann.meets([ben, cleo]);
  await ben.meets([ann, cleo]);
  await ann.unpublish();
  await ben.meets([cleo]);
  await cleo.meets([ben]);
});

test('messages pass between clients with one and with two peer connections', async ({ guest }) => {
  const [ann, ben] = [await guest('ann', { peerConnections: 2 }), await guest('ben')];
  for (const [from, to] of [[ann, ben], [ben, ann]] as const) {
    for (const reliable of [true, false]) {
      const text = `from ${from.identity}, reliable ${reliable}`;
      const heard = to.page.evaluate(
        () => new Promise<string>((resolve) => window.room.once('dataReceived', (payload) => resolve(new TextDecoder().decode(payload)))),
      );
      await from.page.evaluate(
        (said) => window.room.localParticipant.publishData(new TextEncoder().encode(said.text), { reliable: said.reliable }),
        { text, reliable },
      );
      expect(await heard).toBe(text);
    }
  }
});

for (const { scenario, event, anew } of [
  { scenario: 'signal-reconnect', event: 'signalReconnecting', anew: false },
  { scenario: 'full-reconnect', event: 'reconnecting', anew: true },
] as const) {
  test(`a client with two peer connections is back after ${scenario}`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { peerConnections: 2 }), await guest('ben')];
    for (const each of [ann, ben]) await each.turnOn();
    await ann.meets([ben]);
    const before = await ann.page.evaluate(() => window.room.localParticipant.sid);
    const [began, after] = await ann.page.evaluate(
      async (wanted) => {
        const reached = (name: 'reconnecting' | 'signalReconnecting' | 'reconnected') =>
          new Promise<string>((resolve) => window.room.once(name, () => resolve(name)));
        const [first, last] = [reached(wanted.event), reached('reconnected')];
        await window.room.simulateScenario(wanted.scenario);
        await last;
        return [await first, window.room.localParticipant.sid];
      },
      { scenario, event },
    );
    expect(began).toBe(event);
    expect(after !== before, 'it is another presence').toBe(anew);
    expect(await ann.paths()).toEqual(['/rtc', '/rtc']);
    await ann.meets([ben]);
    await ben.meets([ann]);
    await ben.unpublish();
    await ann.meets([]);
    await ben.turnOn();
    await ann.meets([ben]);
  });
}
