import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ParticipantInfo_KindDetail } from '@livekit/protocol';
import { DataPacketKind, DisconnectReason, RoomEvent, TrackSource as Source } from '@livekit/rtc-node';
import {
  AccessToken, DataPacket_Kind, EgressClient, IngressClient, ParticipantInfo_State, RoomServiceClient, SipClient,
  TrackSource, TrackType,
} from 'livekit-server-sdk';
import { KEY, SECRET } from '../stage/server.js';
import { setting } from '../stage/setting.js';
import { PictureSource } from '../stage/picture.js';
import { TONES, ToneSource } from '../stage/tone.js';
import { until } from '../stage/wait.js';

const stage = setting();

test('rooms are made, listed, described anew and deleted', async () => {
  const { api } = stage;
  const [name, other] = [stage.room(), stage.room()];
  const made = await api.createRoom({ name, emptyTimeout: 111, departureTimeout: 22, maxParticipants: 7, metadata: 'first' });
  assert.match(made.sid, /^RM_\w+$/);
  const { emptyTimeout, departureTimeout, maxParticipants, metadata, numParticipants, activeRecording } = made;
  assert.deepEqual({ name: made.name, emptyTimeout, departureTimeout, maxParticipants, metadata, numParticipants, activeRecording }, {
    name, emptyTimeout: 111, departureTimeout: 22, maxParticipants: 7, metadata: 'first', numParticipants: 0, activeRecording: false,
  });
  assert.ok(Math.abs(Number(made.creationTime) - Date.now() / 1000) < 60, 'made just now');
  assert.ok(made.enabledCodecs.some(({ mime }) => mime === 'video/VP8'));
  assert.equal((await api.createRoom({ name })).sid, made.sid, 'what is there is not made again');
  await api.createRoom({ name: other });
  const listed = (await api.listRooms()).map((room) => room.name);
  assert.ok(listed.includes(name) && listed.includes(other));
  assert.deepEqual((await api.listRooms([other, 'nowhere'])).map((room) => room.name), [other]);
  assert.equal((await api.updateRoomMetadata(name, 'second')).metadata, 'second');
  await api.deleteRoom(name);
  assert.deepEqual(await api.listRooms([name]), []);
});

test('those in a room are told as they are, with what they publish', async () => {
  const room = stage.room();
  const ann = await stage.join(room, 'ann', { name: 'Ann', metadata: 'm', attributes: { a: 'b' } });
  const ben = await stage.join(room, 'ben');
  const publication = await ann.publishTone(stage.keep(new ToneSource(TONES[0])));
  // A track is of the room once its publisher has offered it, which may be after the publisher was told of it.
  const people = await until('both are active and the track is there', async () => {
    const all = await stage.api.listParticipants(room);
    const active = all.length === 2 && all.every(({ state }) => state === ParticipantInfo_State.ACTIVE);
    return active && all.some(({ tracks }) => tracks.length > 0) && all;
  });
  assert.deepEqual(people.map(({ identity }) => identity).sort(), ['ann', 'ben']);
  const told = await stage.api.getParticipant(room, 'ann');
  assert.deepEqual([told.sid, told.name, told.metadata, told.attributes], [ann.me.sid, 'Ann', 'm', { a: 'b' }]);
  assert.equal(told.isPublisher, true);
  assert.deepEqual(
    told.tracks.map(({ sid, type, source, name, muted, mimeType }) => ({ sid, type, source, name, muted, mimeType })),
    [{ sid: publication.sid, type: TrackType.AUDIO, source: TrackSource.MICROPHONE, name: 'tone-440', muted: false, mimeType: 'audio/red' }],
  );
  const [listed] = await stage.api.listRooms([room]);
  assert.equal(listed.numParticipants, 2);
  await until('a publisher is counted', async () => (await stage.api.listRooms([room]))[0].numPublishers === 1);
  await until('ben knows of it', () => ben.publication('ann', Source.SOURCE_MICROPHONE)?.sid === publication.sid);
});

test('whoever is removed is told, and gone', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
  await until('ben is there', () => ann.others.includes('ben'));
  await stage.api.removeParticipant(room, 'ben');
  await ben.hears(RoomEvent.Disconnected, { reason: DisconnectReason.PARTICIPANT_REMOVED });
  await ann.hears(RoomEvent.ParticipantDisconnected, { who: 'ben' });
});

test('whoever is moved goes on in the other room, with all it publishes and receives', async () => {
  const [from, to] = [stage.room(), stage.room()];
  const [ann, ben, cleo] = await Promise.all([stage.join(from, 'ann', { name: 'Ann' }), stage.join(from, 'ben'), stage.join(to, 'cleo')]);
  await ann.publishTone(stage.keep(new ToneSource(TONES[0])));
  await ann.publishPicture(stage.keep(new PictureSource(3)));
  await cleo.publishTone(stage.keep(new ToneSource(TONES[1])));
  await ben.hearsTone('ann', TONES[0]);
  await stage.api.moveParticipant(from, 'ann', to);
  await ben.hears(RoomEvent.ParticipantDisconnected, { who: 'ann' });
  await cleo.hears(RoomEvent.ParticipantConnected, { who: 'ann' });
  await ann.hears(RoomEvent.Moved);
  await ann.hears(RoomEvent.Reconnected);
  await cleo.hearsTone('ann', TONES[0]);
  await cleo.seesPicture('ann', 3);
  await ann.hearsTone('cleo', TONES[1]);
  await until('ann knows who is here', () => ann.others.join() === 'cleo', () => ann.others);
  assert.deepEqual([ann.room.name, cleo.other('ann').name], [to, 'Ann']);
  assert.deepEqual((await stage.api.listParticipants(from)).map(({ identity }) => identity), ['ben']);
});

test('nobody is moved into a room that is full, and whoever is not there cannot be', async () => {
  const [from, to] = [stage.room(), stage.room()];
  await stage.api.createRoom({ name: to, maxParticipants: 1 });
  const [ann] = await Promise.all([stage.join(from, 'ann'), stage.join(to, 'cleo')]);
  await assert.rejects(stage.api.moveParticipant(from, 'ann', to), { status: 429, code: 'resource_exhausted' });
  await assert.rejects(stage.api.moveParticipant(from, 'nobody', to), { status: 404, code: 'not_found' });
  await assert.rejects(stage.api.moveParticipant(from, 'ann', from), { status: 400, code: 'invalid_argument' });
  assert.deepEqual(ann.told(RoomEvent.Disconnected), []);
});

test('whoever is forwarded is seen and heard in the other room, too, as long as it is wanted there', async () => {
  const [from, to] = [stage.room(), stage.room()];
  const [ann, ben, cleo] = await Promise.all([stage.join(from, 'ann', { name: 'Ann' }), stage.join(from, 'ben'), stage.join(to, 'cleo')]);
  await ann.publishTone(stage.keep(new ToneSource(TONES[0])));
  await cleo.publishTone(stage.keep(new ToneSource(TONES[1])));
  await stage.api.forwardParticipant(from, 'ann', to);
  await cleo.hears(RoomEvent.ParticipantConnected, { who: 'ann' });
  await ann.publishPicture(stage.keep(new PictureSource(3)));
  await Promise.all([cleo.hearsTone('ann', TONES[0]), cleo.seesPicture('ann', 3), ben.hearsTone('ann', TONES[0]), ben.seesPicture('ann', 3)]);
  const there = await stage.api.getParticipant(to, 'ann');
  assert.deepEqual([there.name, there.kindDetails, there.tracks.length], ['Ann', [ParticipantInfo_KindDetail.FORWARDED], 2]);
  await stage.api.updateParticipant(from, 'ann', { name: 'Anna', attributes: { on: 'air' } });
  await cleo.hears(RoomEvent.ParticipantNameChanged, { who: 'ann', name: 'Anna' });
  await until('cleo knows more of ann', () => cleo.other('ann').attributes.on === 'air');
  assert.deepEqual([ann.others, ben.others], [['ben'], ['ann']], 'nobody comes the other way');

  await assert.rejects(stage.api.updateParticipant(to, 'ann', { name: 'Nobody' }), { status: 412, code: 'failed_precondition' });
  await assert.rejects(stage.api.forwardParticipant(from, 'ann', from), { status: 400, code: 'invalid_argument' });
  await stage.api.removeParticipant(to, 'ann');
  await cleo.hears(RoomEvent.ParticipantDisconnected, { who: 'ann' });
  await stage.api.forwardParticipant(from, 'ann', to);
  await until('ann is back', () => cleo.others.includes('ann'));
  await cleo.hearsTone('ann', TONES[0]);
  await ann.room.disconnect();
  await until('ann left both', () => !cleo.others.includes('ann') && !ben.others.includes('ann'));
});

test('whoever is in a room that is deleted is told', async () => {
  const room = stage.room();
  const ann = await stage.join(room, 'ann');
  await stage.api.deleteRoom(room);
  await ann.hears(RoomEvent.Disconnected, { reason: DisconnectReason.ROOM_DELETED });
});

test('participants and rooms are described anew, and everyone is told', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann', { attributes: { old: '1' } }), stage.join(room, 'ben')]);
  await until('ann is there', () => ben.others.includes('ann'));
  const told = await stage.api.updateParticipant(room, 'ann', {
    name: 'Anna', metadata: 'M', attributes: { old: '', fresh: '2' }, permission: { canPublish: true, canSubscribe: true, canPublishData: false },
  });
  assert.deepEqual([told.name, told.metadata, told.attributes], ['Anna', 'M', { fresh: '2' }]);
  assert.equal(told.permission?.canPublishData, false);
  for (const guest of [ann, ben]) {
    await guest.hears(RoomEvent.ParticipantNameChanged, { who: 'ann', name: 'Anna' });
    await guest.hears(RoomEvent.ParticipantMetadataChanged, { who: 'ann', metadata: 'M' });
    await guest.hears(RoomEvent.ParticipantAttributesChanged, { who: 'ann' });
  }
  assert.deepEqual(ben.other('ann').attributes, { fresh: '2' });
  await stage.api.updateRoomMetadata(room, 'all of you');
  for (const guest of [ann, ben]) await guest.hears(RoomEvent.RoomMetadataChanged, { metadata: 'all of you' });
});

test('a right that is taken ends what it allowed', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
  const { sid } = await ann.publishTone(stage.keep(new ToneSource(TONES[0])));
  await ben.hearsTone('ann', TONES[0]);
  await stage.api.updateParticipant(room, 'ann', { permission: { canPublish: false, canSubscribe: true, canPublishData: true } });
  await ben.hears(RoomEvent.TrackUnpublished, { who: 'ann', sid });
});

test('data is sent to whom it names, or to all', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
  const send = (/** @type {string} */ text, /** @type {object} */ options) =>
    stage.api.sendData(room, Buffer.from(text), DataPacket_Kind.RELIABLE, { topic: 'news', ...options });
  // Until the data channels are open there is nowhere to send to.
  await until('both are reached', async () => {
    await send('are you there', {});
    return [ann, ben].every(({ data }) => data.some(({ text }) => text === 'are you there'));
  });
  await send('to ben', { destinationIdentities: ['ben'] });
  await send('to ann', { destinationSids: [ann.me.sid] });
  await send('to all', {});
  await Promise.all([ann.receives('to all'), ben.receives('to all')]);
  const rest = (/** @type {import('../stage/guest.js').Guest} */ { data }) => data.filter(({ text }) => text !== 'are you there');
  const from = { from: undefined, topic: 'news', kind: DataPacketKind.KIND_RELIABLE };
  assert.deepEqual(rest(ann), [{ text: 'to ann', ...from }, { text: 'to all', ...from }]);
  assert.deepEqual(rest(ben), [{ text: 'to ben', ...from }, { text: 'to all', ...from }]);
});

test('subscriptions are ended and made for somebody', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
  const { sid = '' } = await ann.publishPicture(stage.keep(new PictureSource(5)));
  const reader = await ben.seesPicture('ann', 5);
  await stage.api.updateSubscriptions(room, 'ben', [sid], false);
  // The library tells nothing of what the server ends, so the pictures have to.
  await until('the pictures end', () => reader.idle > 1000, () => reader.idle);
  reader.forget();
  await stage.api.updateSubscriptions(room, 'ben', [sid], true);
  await ben.seesPicture('ann', 5);
});

test('errors have codes that applications know', async () => {
  const { api } = stage;
  const room = stage.room();
  await api.createRoom({ name: room });
  const as = (/** @type {string} */ key, /** @type {string} */ secret) => new RoomServiceClient(stage.server.http, key, secret);
  /** @type {[string, () => Promise<unknown>, { status: number, code?: string }][]} */
  const wrong = [
    ['an unknown participant', () => api.getParticipant(room, 'nobody'), { status: 404, code: 'not_found' }],
    ['removing nobody', () => api.removeParticipant(room, 'nobody'), { status: 404, code: 'not_found' }],
    ['a room without a name', () => api.createRoom({ name: '' }), { status: 400, code: 'invalid_argument' }],
    ['an unknown room', () => api.updateRoomMetadata('nowhere', 'x'), { status: 404, code: 'not_found' }],
    ['metadata too large', () => api.updateRoomMetadata(room, 'x'.repeat(600_000)), { status: 400, code: 'invalid_argument' }],
    ['another key', () => as('nobody', SECRET).listRooms(), { status: 401 }],
    ['another secret', () => as(KEY, 'another secret').listRooms(), { status: 401 }],
    ['forwarding nobody', () => api.forwardParticipant(room, 'nobody', 'elsewhere'), { status: 404, code: 'not_found' }],
  ];
  for (const [what, answer, expected] of wrong) await assert.rejects(answer, expected, what);
});

test('a token without the right is refused', async () => {
  const made = new AccessToken(KEY, SECRET, { identity: 'app' });
  made.addGrant({ roomCreate: true });
  const asked = await fetch(`${stage.server.http}/twirp/livekit.RoomService/ListRooms`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await made.toJwt()}`, 'content-type': 'application/json' },
    body: '{}',
  });
  assert.equal(asked.status, 401);
  assert.equal((await asked.json()).code, 'unauthenticated');
});

test('what is not there says so', async () => {
  const clients = [
    () => new EgressClient(stage.server.http, KEY, SECRET).listEgress(),
    () => new IngressClient(stage.server.http, KEY, SECRET).listIngress(),
    () => new SipClient(stage.server.http, KEY, SECRET).listSipDispatchRule(),
  ];
  for (const ask of clients) await assert.rejects(ask, { status: 501, code: 'unimplemented' });
});

test('pages from elsewhere may ask', async () => {
  const answer = await fetch(`${stage.server.http}/twirp/livekit.RoomService/ListRooms`, {
    method: 'OPTIONS',
    headers: {
      origin: 'https://app.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type',
    },
  });
  assert.ok(answer.ok);
  assert.match(answer.headers.get('access-control-allow-origin') ?? '', /^(\*|https:\/\/app\.example)$/);
  assert.match(answer.headers.get('access-control-allow-headers') ?? '', /authorization|\*/i);
});
