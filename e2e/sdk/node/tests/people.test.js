import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConnectionState, DisconnectReason, ParticipantKind, RoomEvent } from '@livekit/rtc-node';
import { AccessToken, RoomConfiguration } from 'livekit-server-sdk';
import { Guest, token } from '../stage/guest.js';
import { KEY, SECRET } from '../stage/server.js';
import { setting } from '../stage/setting.js';
import { until } from '../stage/wait.js';

const stage = setting();

test('whoever joins knows the others as they are, and they hear of it', async () => {
  const room = stage.room();
  const ann = await stage.join(room, 'ann', { name: 'Ann A.', metadata: 'likes tea', attributes: { role: 'host' } });
  const ben = await stage.join(room, 'ben', { kind: 'agent' });
  await ann.hears(RoomEvent.ParticipantConnected, { who: 'ben' });
  assert.deepEqual([ann.others, ben.others], [['ben'], ['ann']]);
  const seen = ben.other('ann');
  assert.deepEqual([seen.name, seen.metadata, seen.attributes], ['Ann A.', 'likes tea', { role: 'host' }]);
  assert.equal(seen.kind, ParticipantKind.STANDARD);
  assert.equal(ann.other('ben').kind, ParticipantKind.AGENT);
  assert.equal(seen.sid, ann.me.sid);
  assert.match(String(seen.sid), /^PA_\w+$/);
  assert.equal(ann.room.name, room);
  assert.match(await ann.room.getSid(), /^RM_\w+$/);
  assert.equal(await ann.room.getSid(), await ben.room.getSid());
});

test('whoever leaves is gone for the others', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
  await until('ben is there', () => ann.others.includes('ben'));
  await ben.leave();
  await ann.hears(RoomEvent.ParticipantDisconnected, { who: 'ben' });
  assert.deepEqual(ann.others, []);
  assert.equal(ann.room.connectionState, ConnectionState.CONN_CONNECTED);
});

test('name, metadata and attributes change for everyone', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann', { attributes: { keep: '1', drop: '2' } }), stage.join(room, 'ben')]);
  await until('ann is there', () => ben.others.includes('ann'));
  await ann.me.updateName('Anna');
  await ann.me.updateMetadata('reads');
  await ann.me.setAttributes({ drop: '', fresh: '3' });
  for (const guest of [ann, ben]) {
    await guest.hears(RoomEvent.ParticipantNameChanged, { who: 'ann', name: 'Anna' });
    await guest.hears(RoomEvent.ParticipantMetadataChanged, { who: 'ann', metadata: 'reads' });
    await guest.hears(RoomEvent.ParticipantAttributesChanged, { who: 'ann' });
  }
  const { name, metadata, attributes } = ben.other('ann');
  assert.deepEqual({ name, metadata, attributes }, { name: 'Anna', metadata: 'reads', attributes: { keep: '1', fresh: '3' } });
});

// The library hears the refusals of these two, and does not pass them on.
test('whoever may not change what is said of them changes nothing', async () => {
  const room = stage.room();
  const ann = await stage.join(room, 'ann', { metadata: 'before', grants: { canUpdateOwnMetadata: false } });
  const ben = await stage.join(room, 'ben');
  await ann.me.updateMetadata('forbidden');
  await ann.me.publishData(Buffer.from('asked'), { reliable: true });
  await ben.receives('asked');
  assert.equal(ben.other('ann').metadata, 'before');
  assert.deepEqual(ben.told(RoomEvent.ParticipantMetadataChanged), []);
});

test('metadata that is too large changes nothing', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
  await ann.me.updateMetadata('x'.repeat(600_000));
  await ann.me.updateMetadata('small');
  await ben.hears(RoomEvent.ParticipantMetadataChanged, { who: 'ann', metadata: 'small' });
  assert.equal(ben.told(RoomEvent.ParticipantMetadataChanged).length, 1);
});

test('a second one of the same identity takes the place of the first, who is told why', async () => {
  const room = stage.room();
  const [first, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
  await until('ann is there', () => ben.others.includes('ann'));
  const second = await stage.join(room, 'ann');
  await first.hears(RoomEvent.Disconnected, { reason: DisconnectReason.DUPLICATE_IDENTITY });
  await until('the second is the one', () => ben.room.remoteParticipants.get('ann')?.sid === second.me.sid);
  assert.deepEqual(second.others, ['ben']);
});

test('a hidden one sees and is not seen', async () => {
  const room = stage.room();
  const ann = await stage.join(room, 'ann');
  const ghost = await stage.join(room, 'ghost', { grants: { hidden: true } });
  await stage.join(room, 'ben');
  await ann.hears(RoomEvent.ParticipantConnected, { who: 'ben' });
  assert.deepEqual(ann.others, ['ben']);
  await until('the ghost sees both', () => ghost.others.length === 2, () => ghost.others);
});

test('a token that is not valid opens no room', async () => {
  const room = stage.room();
  /** @type {[string, Promise<string>][]} */
  const refused = [
    ['another key', new AccessToken('nobody', SECRET, { identity: 'a' }).toJwt()],
    ['another secret', signed('another secret', { room, roomJoin: true })],
    ['no right to join', signed(SECRET, { room })],
    ['no room', signed(SECRET, { roomJoin: true })],
    ['an end in the past', signed(SECRET, { room, roomJoin: true }, -100)],
  ];
  for (const [why, jwt] of refused) {
    const guest = new Guest('a');
    await assert.rejects(async () => guest.connect(stage.server, await jwt), Error, why);
  }
});

test('a full room lets nobody else in', async () => {
  const room = stage.room();
  await stage.api.createRoom({ name: room, maxParticipants: 1 });
  const ann = await stage.join(room, 'ann');
  const ben = new Guest('ben');
  await assert.rejects(async () => ben.connect(stage.server, await token(room, 'ben')));
  assert.deepEqual(ann.others, []);
});

test('a token may say how its room is to be', async () => {
  const room = stage.room();
  const made = new AccessToken(KEY, SECRET, { identity: 'ann' });
  made.addGrant({ room, roomJoin: true, roomCreate: true });
  made.roomConfig = new RoomConfiguration({ emptyTimeout: 77, departureTimeout: 33, maxParticipants: 5, metadata: 'from a token' });
  const ann = new Guest('ann');
  await ann.connect(stage.server, await made.toJwt());
  const [listed] = await stage.api.listRooms([room]);
  const { emptyTimeout, departureTimeout, maxParticipants, metadata } = listed;
  assert.deepEqual({ emptyTimeout, departureTimeout, maxParticipants, metadata }, {
    emptyTimeout: 77, departureTimeout: 33, maxParticipants: 5, metadata: 'from a token',
  });
  assert.equal(ann.room.metadata, 'from a token');
  await ann.leave();
});

/** @param {string} secret @param {import('livekit-server-sdk').VideoGrant} grant @param {number} [ttl] seconds */
function signed(secret, grant, ttl = 600) {
  const made = new AccessToken(KEY, secret, { identity: 'ann', ttl });
  made.addGrant(grant);
  return made.toJwt();
}
