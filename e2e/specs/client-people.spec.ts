import type { Engine } from '../stage/browsers';
import { expect, test } from '../stage/guests';

// Who is there and what they may do, as livekit-client tells it.

const PAIRS: [Engine, Engine][] = [['chromium', 'firefox'], ['firefox', 'chromium']];

/** `DisconnectReason` as livekit-client gives it. */
const DUPLICATE_IDENTITY = 2;
const PARTICIPANT_REMOVED = 4;
const ROOM_DELETED = 5;

for (const [here, there] of PAIRS) {
  test(`who comes, changes and goes at ${here} is told to ${there}`, async ({ guest }) => {
    const ben = await guest('ben', { engine: there });
    const ann = await guest('ann', { engine: here, grants: { canUpdateOwnMetadata: true } });
    await ben.isTold('participantConnected', ['ann']);
    await ben.isTold('participantActive', ['ann']);
    await ann.page.evaluate(async () => {
      const { localParticipant } = window.room;
      await localParticipant.setName('Ann of the hills');
      await localParticipant.setMetadata('away for lunch');
      await localParticipant.setAttributes({ hand: 'raised', mood: 'fine' });
      await localParticipant.setAttributes({ mood: '' });
    });
    await ben.isTold('participantNameChanged', ['Ann of the hills', 'ann']);
    await ben.isTold('participantMetadataChanged', ['', 'ann']);
    await ben.isTold('participantAttributesChanged', [{ hand: 'raised', mood: 'fine' }, 'ann']);
    await ben.isTold('participantAttributesChanged', [{ mood: '' }, 'ann']);
    const known = await ben.page.evaluate(() => {
      const { name, metadata, attributes } = window.room.remoteParticipants.get('ann')!;
      return { name, metadata, attributes };
    });
    expect(known).toEqual({ name: 'Ann of the hills', metadata: 'away for lunch', attributes: { hand: 'raised' } });
    await ann.page.evaluate(() => window.room.disconnect());
    await ben.isTold('participantDisconnected', ['ann']);
  });

  test(`${here} is heard speaking, and well connected, at ${there}`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there })];
    await ann.turnOn();
    await ben.isTold('activeSpeakersChanged', [['ann']]);
    await ben.isTold('connectionQualityChanged', ['excellent', 'ann']);
    await ann.page.evaluate(() => window.room.localParticipant.setMicrophoneEnabled(false));
    await ben.isTold('trackMuted', ['microphone', 'ann']);
    await expect.poll(() => ben.page.evaluate(() => window.room.activeSpeakers.length)).toBe(0);
    await ben.hears([]);
    await ann.page.evaluate(() => window.room.localParticipant.setMicrophoneEnabled(true));
    await ben.isTold('trackUnmuted', ['microphone', 'ann']);
    await ben.hears([ann]);
  });

  test(`what the server application decides about ${here} happens and is told`, async ({ guest, ask }) => {
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there })];
    await ann.turnOn();
    await ben.meets([ann]);
    const microphone = await ann.page.evaluate(() => window.room.localParticipant.getTrackPublication(window.LivekitClient.Track.Source.Microphone)?.trackSid);
    await ask('MutePublishedTrack', { identity: 'ann', track_sid: microphone, muted: true });
    await ann.isTold('trackMuted', ['microphone', 'ann']);
    await ben.hears([]);
    await ask('UpdateParticipant', { identity: 'ann', permission: { can_subscribe: true, can_publish: true, can_publish_data: true, can_publish_sources: ['MICROPHONE'] } });
    await expect(ben.video(ann)).toHaveCount(0);
    await expect.poll(() => ann.told('participantPermissionsChanged')).not.toEqual([]);
    await ask('UpdateParticipant', { identity: 'ann', permission: { can_subscribe: true, can_publish: false, can_publish_data: false } });
    await ben.isTold('trackUnpublished', ['microphone', 'ann']);
    const refusal = await ann.page.evaluate(() => window.room.localParticipant.setCameraEnabled(true).then(() => 'published', (error: Error) => error.name));
    expect(refusal).toBe('PublishTrackError');
    await ask('UpdateRoomMetadata', { metadata: 'a new agenda' });
    await ann.isTold('roomMetadataChanged', ['a new agenda']);
    await ask('SendData', { data: Buffer.from('from above').toString('base64'), kind: 'RELIABLE', topic: 'news' });
    await expect.poll(async () => (await ann.told('dataReceived')).map(([text, , , topic]) => [text, topic])).toEqual([['from above', 'news']]);
    await ask('RemoveParticipant', { identity: 'ann' });
    await ann.isTold('disconnected', [PARTICIPANT_REMOVED]);
    await ask('DeleteRoom');
    await ben.isTold('disconnected', [ROOM_DELETED]);
  });

  test(`${here} is seen and heard by ${there} in another room, too, while the server application wishes it`, async ({ guest, ask, room }) => {
    const elsewhere = `${room}-elsewhere`;
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there, room: elsewhere })];
    await ask('ForwardParticipant', { identity: 'ann', destination_room: elsewhere });
    await ben.isTold('participantConnected', ['ann']);
    await ann.turnOn();
    await ben.meets([ann]);
    await ben.isTold('activeSpeakersChanged', [['ann']]);
    await ben.turnOn();
    await ann.say('from next door');
    await ben.isTold('dataReceived', ['from next door', 'ann']);
    await ann.page.evaluate(() => window.room.localParticipant.setMicrophoneEnabled(false));
    await ben.isTold('trackMuted', ['microphone', 'ann']);
    await ben.hears([]);
    await ask('RemoveParticipant', { room: elsewhere, identity: 'ann' });
    await ben.isTold('participantDisconnected', ['ann']);
    await expect(ben.video(ann)).toHaveCount(0);
    await ann.meets([]);
    expect(await ann.page.evaluate(() => [window.room.state, window.room.remoteParticipants.size])).toEqual(['connected', 0]);
  });

  test(`a second ${there} of the same identity takes the place of ${here}, which is told why`, async ({ guest }) => {
    const ann = await guest('ann', { engine: here });
    const again = await guest('ann', { engine: there });
    await ann.isTold('disconnected', [DUPLICATE_IDENTITY]);
    expect(await again.page.evaluate(() => window.room.state)).toBe('connected');
  });
}

test('what may not be changed of oneself is refused with the reason', async ({ guest }) => {
  const [ann, ben] = [await guest('ann'), await guest('ben', { grants: { canUpdateOwnMetadata: true } })];
  const refused = ann.page.evaluate(() => window.room.localParticipant.setName('Queen').then(() => 'done', (error: Error) => error.message));
  expect(await refused).toMatch(/permission/i);
  const long = ben.page.evaluate(() => window.room.localParticipant.setName('x'.repeat(1000)).then(() => 'done', (error: Error) => error.message));
  expect(await long).toMatch(/name/i);
});

test('whoever is hidden sees and hears, and is seen by nobody', async ({ guest }) => {
  const ann = await guest('ann');
  const ghost = await guest('ghost', { engine: 'firefox', grants: { hidden: true, canPublish: false } });
  await ann.turnOn();
  await ghost.meets([ann]);
  expect(await ann.page.evaluate(() => [...window.room.remoteParticipants.keys()])).toEqual([]);
});
