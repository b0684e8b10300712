import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConnectionState, DisconnectReason, RoomEvent, SimulateScenarioKind as Scenario } from '@livekit/rtc-node';
import { setting } from '../stage/setting.js';
import { TONES, ToneSource } from '../stage/tone.js';
import { until } from '../stage/wait.js';

const stage = setting();

const OVER = { 1: 'over one peer connection', 2: 'over two' };

/** Two who hear each other, the first of whom has so many peer connections. @param {1 | 2} peerConnections */
async function two(peerConnections = 1) {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann', { peerConnections }), stage.join(room, 'ben')]);
  await ann.publishTone(stage.keep(new ToneSource(TONES[0])));
  await ben.publishTone(stage.keep(new ToneSource(TONES[1])));
  await ann.hearsTone('ben', TONES[1]);
  await ben.hearsTone('ann', TONES[0]);
  return { ann, ben };
}

for (const peerConnections of /** @type {const} */ ([1, 2])) {
  test(`a signalling connection that breaks is resumed (${OVER[peerConnections]}), and the others do not notice`, async () => {
    const { ann, ben } = await two(peerConnections);
    const [sid, before] = [ann.me.sid, ben.events.length];
    await ann.room.simulateScenario(Scenario.SIMULATE_SIGNAL_RECONNECT);
    await ann.hears(RoomEvent.Reconnected);
    await until('ann is connected', () => ann.room.connectionState === ConnectionState.CONN_CONNECTED);
    assert.equal(ann.me.sid, sid);
    for (const guest of [ann, ben]) for (const reader of guest.readers.values()) reader.forget();
    await ann.hearsTone('ben', TONES[1]);
    await ben.hearsTone('ann', TONES[0]);
    await ann.me.publishData(Buffer.from('still here'), { reliable: true });
    await ben.receives('still here');
    const noticed = ben.events.slice(before).filter(({ event }) => /participant(Dis)?[cC]onnected|track/.test(event));
    assert.deepEqual(noticed, []);
  });
}

for (const [what, scenario] of /** @type {[string, Scenario][]} */ ([
  ['a node that fails', Scenario.SIMULATE_NODE_FAILURE],
  ['a migration', Scenario.SIMULATE_MIGRATION],
  ['a full reconnect', Scenario.SIMULATE_FULL_RECONNECT],
])) {
  for (const peerConnections of /** @type {const} */ ([1, 2])) {
    test(`after ${what} (${OVER[peerConnections]}) everything is there again`, async () => {
      const { ann, ben } = await two(peerConnections);
      await ann.room.simulateScenario(scenario);
      await ann.hears(RoomEvent.Reconnected);
      await ann.hears(RoomEvent.LocalTrackRepublished);
      await until('ann is there again', () => ben.others.includes('ann') && ann.others.includes('ben'));
      await ann.hearsTone('ben', TONES[1]);
      for (const reader of ben.readers.values()) reader.forget();
      await ben.hearsTone('ann', TONES[0]);
    });
  }
}

test('whoever the server sends away is told', async () => {
  const { ann, ben } = await two();
  await ann.room.simulateScenario(Scenario.SIMULATE_SERVER_LEAVE);
  await ben.hears(RoomEvent.ParticipantDisconnected, { who: 'ann' });
  const { reason } = await ann.hears(RoomEvent.Disconnected);
  assert.equal(reason, DisconnectReason.SERVER_SHUTDOWN);
});
