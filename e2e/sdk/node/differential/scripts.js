import { once } from 'node:events';
import { createServer } from 'node:http';
import { RoomEvent, RpcError, SimulateScenarioKind, TrackSource } from '@livekit/rtc-node';
import { AccessToken, DataPacket_Kind, RoomServiceClient, WebhookReceiver } from 'livekit-server-sdk';
import { Guest, token } from '../stage/guest.js';
import { PictureSource } from '../stage/picture.js';
import { KEY, SECRET } from '../stage/server.js';
import { TONES, ToneSource } from '../stage/tone.js';
import { until } from '../stage/wait.js';
import { RawClient, wrapped } from './raw.js';
import { mutated, signedAnyhow } from './tokens.js';

/**
 * What every script is given: a server, where it tells its webhooks, and a way to start another of its kind.
 *
 * @typedef {import('../stage/server.js').Server} Server
 * @typedef {{ server: Server, hook: number, another: (settings: Record<string, unknown>) => Promise<Server> }} Place
 */

const ADMIN = { roomAdmin: true, roomCreate: true, roomList: true };

/** @param {import('livekit-server-sdk').VideoGrant} grant @param {{ secret?: string, key?: string, ttl?: number, identity?: string }} [how] */
function signed(grant, { secret = SECRET, key = KEY, ttl = 600, identity = 'app' } = {}) {
  const made = new AccessToken(key, secret, { identity, ttl });
  made.addGrant(grant);
  return made.toJwt();
}

/** A token without an identity, which the library does not make. @param {object} video */
function nobodys(video) {
  const now = Math.floor(Date.now() / 1000);
  return signedAnyhow({ alg: 'HS256', typ: 'JWT' }, { iss: KEY, nbf: now, exp: now + 600, video }, SECRET);
}

/** Resolves when nothing new has happened for a second. @param {() => number} count */
async function quiet(count) {
  let [seen, since] = [count(), performance.now()];
  await until('quiet', () => {
    if (count() !== seen) [seen, since] = [count(), performance.now()];
    return performance.now() - since > 1000;
  });
}

/** Two who know of each other. @param {import('../stage/server.js').Server} server @param {string} room */
async function acquainted(server, room) {
  const [ann, ben] = [await Guest.join(server, room, 'ann'), await Guest.join(server, room, 'ben')];
  await ann.hears(RoomEvent.ParticipantConnected, { who: 'ben' });
  return [ann, ben];
}

/** What a guest was told, without what depends on the moment. @param {Guest} guest */
function told(guest) {
  const passing = [RoomEvent.ConnectionQualityChanged, RoomEvent.ActiveSpeakersChanged, RoomEvent.TokenRefreshed];
  return guest.events.filter(({ event }) => !passing.includes(/** @type {any} */ (event)));
}

/** @param {Place} place @param {string} path @param {object} [options] */
async function asked({ server }, path, options = {}) {
  const answer = await fetch(`${server.http}${path}`, options);
  const text = await answer.text();
  const type = answer.headers.get('content-type');
  return { status: answer.status, type, body: type?.includes('json') ? JSON.parse(text) : text.trim() };
}

/** @param {Place} place @param {string} method @param {unknown} body @param {string} [jwt] @param {string} [service] */
function twirp(place, method, body, jwt, service = 'livekit.RoomService') {
  return asked(place, `/twirp/${service}/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(jwt ? { authorization: `Bearer ${jwt}` } : {}) },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** The doors: which tokens open a room, and what is answered to the others. @param {Place} place */
export async function doors(place) {
  const room = 'doors';
  /** @type {Record<string, string>} */
  const tokens = {
    valid: await token(room, 'ann'),
    'another secret': await signed({ room, roomJoin: true }, { secret: 'another' }),
    'another key': await signed({ room, roomJoin: true }, { key: 'another' }),
    expired: await signed({ room, roomJoin: true }, { ttl: -600 }),
    'no right to join': await signed({ room }),
    'no room': await signed({ roomJoin: true }),
    'no identity': nobodys({ room, roomJoin: true }),
    nonsense: 'nonsense',
  };
  /** @type {Record<string, unknown>} */
  const seen = {};
  for (const [what, jwt] of Object.entries(tokens)) {
    const { status, body } = await asked(place, `/rtc/validate?access_token=${jwt}`);
    seen[`validate, ${what}`] = { status, ...(status === 200 ? { body } : {}) };
    const v1 = await asked(place, `/rtc/v1/validate?access_token=${jwt}`);
    seen[`validate v1, ${what}`] = { status: v1.status };
  }
  seen['no token'] = (await asked(place, '/rtc/validate')).status;
  seen['no WebSocket'] = (await asked(place, `/rtc/v1?access_token=${tokens.valid}`)).status;
  seen['healthy'] = (await asked(place, '/')).status;
  seen['unknown path'] = (await asked(place, '/nowhere/at/all')).status;
  return seen;
}

/** Status and words of a door; this server's go on after the colon with what to change. @param {Promise<{ status: number, body: any }>} answer */
async function said(answer) {
  const { status, body } = await answer;
  return { status, words: String(body).split(':')[0] };
}

/** What `/rtc/v1/validate` says of join requests and of the claims of tokens. @param {Place} place */
export async function validation(place) {
  const room = 'validation';
  /** @type {Record<string, unknown>} */
  const seen = {};
  const ask = async (/** @type {string} */ what, /** @type {string} */ jwt, /** @type {string | undefined} */ request = wrapped()) => {
    const query = new URLSearchParams({ access_token: jwt, join_request: request });
    seen[what] = await said(asked(place, `/rtc/v1/validate?${query}`));
  };
  const valid = await token(room, 'ann');
  await ask('valid', valid);
  await ask('no join request', valid, '');
  await ask('no base64', valid, '!');
  await ask('no wrapper', valid, '/w==');
  await ask('no request inside', valid, Buffer.from([0x12, 0x02, 0xff, 0xff]).toString('base64'));
  await ask('no gzip inside', valid, Buffer.from([0x08, 0x01, 0x12, 0x02, 0xff, 0xff]).toString('base64'));
  await ask('attributes', valid, wrapped({ participantAttributes: { a: 'b' } }));
  await ask('attributes without the right', await token(room, 'ann', { grants: { canUpdateOwnMetadata: false } }), wrapped({ participantAttributes: { a: 'b' } }));
  await ask('metadata without the right', await token(room, 'ann', { grants: { canUpdateOwnMetadata: false } }), wrapped({ metadata: 'm' }));
  await ask('large attributes', valid, wrapped({ participantAttributes: { a: 'x'.repeat(70_000) } }));
  await ask('a long room', await token('r'.repeat(257), 'ann'));
  await ask('a long identity', await token(room, 'i'.repeat(257)));
  await ask('no room', await signed({ roomJoin: true }));
  await ask('no right to join', await signed({ room }));
  await ask('no identity', nobodys({ room, roomJoin: true }));
  await ask('another key', await signed({ room, roomJoin: true }, { key: 'another' }));
  await ask('expired', await signed({ room, roomJoin: true }, { ttl: -600 }));
  const bearer = { headers: { authorization: `Basic ${valid}` } };
  seen['another scheme'] = await said(asked(place, `/rtc/v1/validate?join_request=${wrapped()}`, bearer));
  return seen;
}

/** Tokens that were changed, at a door and at the API. @param {Place} place */
export async function forgeries(place) {
  /** @type {Record<string, unknown>} */
  const seen = {};
  const good = await signed({ ...ADMIN, room: 'forgeries', roomJoin: true });
  for (const [what, jwt] of Object.entries(mutated(good, KEY, SECRET))) {
    const query = new URLSearchParams({ access_token: jwt, join_request: wrapped() });
    const door = await asked(place, `/rtc/v1/validate?${query}`);
    const rooms = await twirp(place, 'ListRooms', {}, jwt);
    seen[what] = { door: door.status, api: rooms.status };
  }
  return seen;
}

/** Where rooms do not begin by themselves. @param {Place} place */
export async function begun({ another }) {
  const server = await another({ room: { auto_create: false } });
  const place = { server, hook: 0, another };
  /** @type {Record<string, unknown>} */
  const seen = {};
  const validate = (/** @type {string} */ jwt) =>
    said(asked(place, `/rtc/v1/validate?${new URLSearchParams({ access_token: jwt, join_request: wrapped() })}`));
  const guest = await token('begun', 'ann');
  seen['an unknown room'] = await validate(guest);
  seen['as its host'] = await validate(await token('begun', 'host', { grants: { roomCreate: true } }));
  const dispatch = { room: 'begun', agent_name: 'a' };
  const admin = await signed({ roomAdmin: true, room: 'begun' });
  seen['a dispatch there'] = (await twirp(place, 'CreateDispatch', dispatch, admin, 'livekit.AgentDispatchService')).status;
  await twirp(place, 'CreateRoom', { name: 'begun' }, await signed(ADMIN));
  seen['the room begun by the API'] = await validate(guest);
  await twirp(place, 'DeleteRoom', { room: 'begun' }, await signed(ADMIN));
  seen['the room deleted'] = await validate(guest);
  await server.stop();
  return seen;
}

/** Rooms begun as a preset says. @param {Place} place */
export async function presets({ another }) {
  const stage = { empty_timeout: 60, departure_timeout: 5, max_participants: 2, metadata: 'a stage', agents: [{ agent_name: 'prompter' }] };
  const server = await another({ room: { max_participants: 9, room_configurations: { stage } } });
  const place = { server, hook: 0, another };
  const admin = await signed({ ...ADMIN, room: 'presets' });
  /** @type {Record<string, unknown>} */
  const seen = {};
  const create = (/** @type {object} */ body) => twirp(place, 'CreateRoom', body, admin);
  seen['a preset'] = await create({ name: 'presets', room_preset: 'stage', empty_timeout: 7 });
  const agents = await twirp(place, 'ListDispatch', { room: 'presets' }, admin, 'livekit.AgentDispatchService');
  seen['its agents'] = agents.body.agent_dispatches.map((/** @type {any} */ one) => one.agent_name);
  seen['no such preset'] = await create({ name: 'other', room_preset: 'stag' });
  seen['no such preset, of a room that is there'] = await create({ name: 'presets', room_preset: 'stag', metadata: 'new' });
  const jwt = new AccessToken(KEY, SECRET, { identity: 'ann' });
  jwt.addGrant({ roomJoin: true, room: 'joined' });
  jwt.roomPreset = 'stage';
  const ann = await RawClient.join(server, await jwt.toJwt());
  const { emptyTimeout, departureTimeout, maxParticipants, metadata } = ann.messages[0].value.room;
  seen['joined'] = { emptyTimeout, departureTimeout, maxParticipants, metadata };
  ann.close();
  await server.stop();
  return seen;
}

/** What the server's API answers, as bytes on the wire. @param {Place} place */
export async function api(place) {
  const room = 'api';
  const admin = await signed({ ...ADMIN, room });
  /** @type {Record<string, unknown>} */
  const seen = {};
  const ask = async (/** @type {string} */ what, /** @type {string} */ method, /** @type {unknown} */ body, jwt = admin) => {
    seen[what] = await twirp(place, method, body, jwt);
  };
  await ask('a room', 'CreateRoom', { name: room, empty_timeout: 100, departure_timeout: 20, max_participants: 3, metadata: 'm' });
  await ask('the room again', 'CreateRoom', { name: room });
  await ask('a room named in camel case', 'CreateRoom', { name: 'camel', emptyTimeout: 7 });
  await ask('an unknown field', 'CreateRoom', { name: 'camel', nothing: 1 });
  await ask('its list', 'ListRooms', { names: [room] });
  await ask('a list of none', 'ListRooms', { names: ['nowhere'] });
  await ask('its people', 'ListParticipants', { room });
  await ask('people of nowhere', 'ListParticipants', { room: 'nowhere' }, await signed({ roomAdmin: true, room: 'nowhere' }));
  await ask('metadata', 'UpdateRoomMetadata', { room, metadata: 'n' });
  await ask('nobody', 'GetParticipant', { room, identity: 'nobody' });
  await ask('removing nobody', 'RemoveParticipant', { room, identity: 'nobody' });
  await ask('describing nobody', 'UpdateParticipant', { room, identity: 'nobody', name: 'x' });
  await ask('muting of nobody', 'MutePublishedTrack', { room, identity: 'nobody', track_sid: 'TR_x', muted: true });
  await ask('subscribing nobody', 'UpdateSubscriptions', { room, identity: 'nobody', track_sids: ['TR_x'], subscribe: true });
  await ask('data', 'SendData', { room, data: 'aGk=', kind: 'RELIABLE', nonce: 'AAAAAAAAAAAAAAAAAAAAAA==' });
  await ask('data to nowhere', 'SendData', { room: 'nowhere', data: 'aGk=' }, await signed({ roomAdmin: true, room: 'nowhere' }));
  await ask('large metadata', 'UpdateRoomMetadata', { room, metadata: 'x'.repeat(600_000) });
  await ask('a malformed body', 'CreateRoom', '{');
  await ask('a wrong type', 'CreateRoom', { name: 7 });
  await ask('no method', 'Nothing', {});
  await ask('another room', 'ListParticipants', { room: 'another' });
  await ask('no right to make', 'CreateRoom', { name: 'x' }, await signed({ room }));
  await ask('no right to list', 'ListRooms', {}, await signed({ room }));
  await ask('another secret', 'ListRooms', {}, await signed(ADMIN, { secret: 'another' }));
  seen['no token'] = await twirp(place, 'ListRooms', {});
  await ask('forwarding', 'ForwardParticipant', { room, identity: 'a', destination_room: 'b' }, await signed({ ...ADMIN, room, destinationRoom: 'b' }));
  await ask('moving', 'MoveParticipant', { room, identity: 'a', destination_room: 'b' }, await signed({ ...ADMIN, room, destinationRoom: 'b' }));
  await ask('a long name', 'CreateRoom', { name: 'n'.repeat(257) });
  await ask('no name', 'CreateRoom', {});
  await ask('a list in another type', 'ListRooms', { names: 'api' });
  await ask('a body that is a list', 'ListRooms', '[]');
  await ask('an empty body', 'ListRooms', '');
  await ask('a nonce of three bytes', 'SendData', { room, data: 'aGk=', nonce: 'AAAA' });
  await ask('data that is no base64', 'SendData', { room, data: '!' });
  await ask('an unknown kind of data', 'SendData', { room, data: 'aGk=', kind: 'PIGEON' });
  await ask('a method of nobody', 'PerformRpc', { room, destination_identity: 'nobody', method: 'm' });
  await ask('a method of no one', 'PerformRpc', { room, method: 'm' });
  await ask('to move into the same room', 'MoveParticipant', { room, identity: 'a', destination_room: room }, await signed({ ...ADMIN, room, destinationRoom: room }));
  await ask('to move without the right', 'MoveParticipant', { room, identity: 'a', destination_room: 'b' });
  await ask('deleting', 'DeleteRoom', { room });
  await ask('deleting again', 'DeleteRoom', { room });
  for (const method of ['ListEgress', 'StopEgress']) seen[method] = await twirp(place, method, {}, await signed({ roomRecord: true }), 'livekit.Egress');
  seen.options = (await fetch(`${place.server.http}/twirp/livekit.RoomService/ListRooms`, {
    method: 'OPTIONS', headers: { origin: 'https://a.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
  })).status;
  return seen;
}

/** Every field of what whoever joins is told first, alone and as the second. @param {Place} place */
export async function welcome({ server }) {
  const ann = await RawClient.join(server, await token('welcome', 'ann', { name: 'Ann', metadata: 'm', attributes: { a: 'b' } }));
  const ben = await RawClient.join(server, await token('welcome', 'ben', { kind: 'agent' }));
  await ann.receives('update');
  await quiet(() => ann.messages.length + ben.messages.length);
  const seen = { ann: ann.messages, ben: ben.messages };
  ben.send({ leave: { reason: 'CLIENT_INITIATED', action: 'DISCONNECT' } });
  await until('ben is gone', () => ben.closed);
  await until('ann hears', () => ann.messages.some(({ kind, value }) => kind === 'update' && value.participants[0].state === 'DISCONNECTED'));
  ann.close();
  return { ...seen, ann: seen.ann.map(forget), ben: seen.ben.map(forget) };
}

/** What comes when it comes, and no number of it says anything. @param {{ kind: string, value: any }} message */
function forget(message) {
  return message.kind === 'answer' ? { kind: 'answer' } : message;
}

/** What signalling answers to requests that cannot be carried out, and to some that can. @param {Place} place */
export async function requests({ server }) {
  const room = 'requests';
  const ann = await RawClient.join(server, await token(room, 'ann', { grants: { canUpdateOwnMetadata: false, canPublishSources: [TrackSource.SOURCE_MICROPHONE] } }));
  const ben = await RawClient.join(server, await token(room, 'ben'));
  await ann.receives('update');
  await quiet(() => ann.messages.length + ben.messages.length);
  /** @type {Record<string, unknown>} */
  const seen = {};
  /** @type {[string, RawClient, object][]} */
  const scripts = [
    ['metadata without the right', ann, { updateMetadata: { metadata: 'x', requestId: 1 } }],
    ['metadata', ben, { updateMetadata: { metadata: 'x', name: 'Ben', attributes: { a: '1' }, requestId: 2 } }],
    ['metadata too large', ben, { updateMetadata: { metadata: 'x'.repeat(600_000), requestId: 3 } }],
    ['a name too long', ben, { updateMetadata: { name: 'x'.repeat(300), requestId: 4 } }],
    ['attributes too large', ben, { updateMetadata: { attributes: { a: 'x'.repeat(70_000) }, requestId: 5 } }],
    ['a source that is not allowed', ann, { addTrack: { cid: 'cam', type: 'VIDEO', source: 'CAMERA', name: 'cam' } }],
    ['a track', ben, { addTrack: { cid: 'mic', type: 'AUDIO', source: 'MICROPHONE', name: 'mic' } }],
    ['the same track again', ben, { addTrack: { cid: 'mic', type: 'AUDIO', source: 'MICROPHONE', name: 'mic' } }],
    ['muting an unknown track', ben, { mute: { sid: 'TR_unknown', muted: true } }],
    ['subscribing to an unknown track', ben, { subscription: { trackSids: ['TR_unknown'], subscribe: true } }],
    ['settings of an unknown track', ben, { trackSetting: { trackSids: ['TR_unknown'], disabled: true } }],
    ['audio features of an unknown track', ben, { updateAudioTrack: { trackSid: 'TR_unknown', features: [] } }],
    ['video of an unknown track', ben, { updateVideoTrack: { trackSid: 'TR_unknown', width: 1, height: 1 } }],
    ['an offer that is none', ben, { offer: { type: 'offer', sdp: 'nonsense', id: 1 } }],
    ['a ping', ben, { ping: '7' }],
  ];
  for (const [what, client, message] of scripts) {
    const before = ann.messages.length + ben.messages.length;
    const answers = await client.asks(message);
    if (ann.messages.length + ben.messages.length > before) await quiet(() => ann.messages.length + ben.messages.length);
    seen[what] = { answers, closed: client.closed ?? null };
    if (client.closed) break;
  }
  ann.close();
  ben.close();
  return seen;
}

/** A call: what each of two is told, in order, from joining to leaving. @param {Place} place */
export async function call({ server }) {
  const room = 'call';
  const rooms = new RoomServiceClient(server.http, KEY, SECRET);
  const ann = await Guest.join(server, room, 'ann', { name: 'Ann' });
  const ben = await Guest.join(server, room, 'ben');
  await ann.hears(RoomEvent.ParticipantConnected, { who: 'ben' });
  const all = () => ann.events.length + ben.events.length;
  const [tone, picture] = [new ToneSource(TONES[0]), new PictureSource(1)];
  const { sid = '' } = await ann.publishTone(tone);
  await ben.hearsTone('ann', TONES[0]);
  await ann.publishPicture(picture);
  await ben.seesPicture('ann', 1);
  await quiet(all);
  const listed = await rooms.listParticipants(room);
  await rooms.mutePublishedTrack(room, 'ann', sid, true);
  await ben.hears(RoomEvent.TrackMuted, { who: 'ann' });
  await ann.me.setAttributes({ mood: 'good' });
  await ann.me.updateName('Anna');
  await ann.me.updateMetadata('tea');
  await ben.hears(RoomEvent.ParticipantMetadataChanged, { who: 'ann' });
  await rooms.updateRoomMetadata(room, 'all');
  await ben.hears(RoomEvent.RoomMetadataChanged);
  await quiet(all);
  const seen = ben.publication('ann', TrackSource.SOURCE_MICROPHONE);
  seen?.setSubscribed(false);
  await ben.hears(RoomEvent.TrackUnsubscribed, { who: 'ann' });
  await ann.me.unpublishTrack(sid);
  await ben.hears(RoomEvent.TrackUnpublished, { who: 'ann' });
  await rooms.updateParticipant(room, 'ann', { permission: { canPublish: false, canSubscribe: true, canPublishData: true } });
  await ben.hears(RoomEvent.TrackUnpublished, { who: 'ann', track: 'picture-1' });
  await quiet(all);
  await rooms.removeParticipant(room, 'ann');
  await ann.hears(RoomEvent.Disconnected);
  await ben.hears(RoomEvent.ParticipantDisconnected);
  await rooms.deleteRoom(room);
  await ben.hears(RoomEvent.Disconnected);
  await Promise.all([tone.stop(), picture.stop()]);
  await Promise.all([ann.leave(), ben.leave()]);
  const people = listed.map((one) => /** @type {any} */ (one.toJson({ emitDefaultValues: true })));
  people.sort((a, b) => a.identity.localeCompare(b.identity));
  for (const one of people) one.tracks.sort((/** @type {any} */ a, /** @type {any} */ b) => a.name.localeCompare(b.name));
  return { ann: told(ann), ben: told(ben), people };
}

/** Data, and procedures, with their errors. @param {Place} place */
export async function data({ server }) {
  const room = 'data';
  const rooms = new RoomServiceClient(server.http, KEY, SECRET);
  const [ann, ben] = await acquainted(server, room);
  ben.me.registerRpcMethod('ok', async ({ payload }) => payload);
  ben.me.registerRpcMethod('fails', async () => {
    throw new RpcError(4000, 'no', 'why');
  });
  await ann.me.performRpc({ destinationIdentity: 'ben', method: 'ok', payload: '1' });
  const failure = (/** @type {Promise<unknown>} */ call) => call.then((value) => ({ value }), ({ code, message, data: more }) => ({ code, message, data: more }));
  const calls = {
    ok: await failure(ann.me.performRpc({ destinationIdentity: 'ben', method: 'ok', payload: 'x' })),
    fails: await failure(ann.me.performRpc({ destinationIdentity: 'ben', method: 'fails', payload: '' })),
    unknown: await failure(ann.me.performRpc({ destinationIdentity: 'ben', method: 'unknown', payload: '' })),
    nobody: await failure(ann.me.performRpc({ destinationIdentity: 'nobody', method: 'x', payload: '', responseTimeout: 1000 })),
  };
  await ann.me.publishData(Buffer.from('one'), { reliable: true, topic: 't' });
  await ann.me.publishData(Buffer.from('two'), { reliable: true, destination_identities: ['ben'] });
  await ann.me.publishData(Buffer.from('to nobody'), { reliable: true, destination_identities: ['nobody'] });
  await rooms.sendData(room, Buffer.from('three'), DataPacket_Kind.RELIABLE, { topic: 's' });
  await ann.me.sendChatMessage('four');
  await ben.receives('three');
  await ben.hears(RoomEvent.ChatMessage);
  await Promise.all([ann.leave(), ben.leave()]);
  return { calls, ann: ann.data, ben: ben.data };
}

/** Losing the way and coming back. @param {Place} place */
export async function returning({ server }) {
  /** @type {Record<string, unknown>} */
  const seen = {};
  for (const [name, scenario] of [
    ['signal', SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT],
    ['node', SimulateScenarioKind.SIMULATE_NODE_FAILURE],
    ['migration', SimulateScenarioKind.SIMULATE_MIGRATION],
    ['full', SimulateScenarioKind.SIMULATE_FULL_RECONNECT],
    ['leave', SimulateScenarioKind.SIMULATE_SERVER_LEAVE],
  ]) {
    const room = `returning-${name}`;
    const [ann, ben] = await acquainted(server, room);
    const tone = new ToneSource(TONES[0]);
    await ann.publishTone(tone);
    await ben.hearsTone('ann', TONES[0]);
    await quiet(() => ann.events.length + ben.events.length);
    await ann.room.simulateScenario(/** @type {SimulateScenarioKind} */ (scenario));
    await (name === 'leave' ? ann.hears(RoomEvent.Disconnected) : ann.hears(RoomEvent.Reconnected));
    await quiet(() => ann.events.length + ben.events.length);
    seen[String(name)] = { ann: told(ann), ben: told(ben) };
    await tone.stop();
    await Promise.all([ann.leave(), ben.leave()]);
  }
  return seen;
}

/** Why somebody is sent away, as both sides hear it. @param {Place} place */
export async function reasons({ server }) {
  /** @type {Record<string, unknown>} */
  const seen = {};
  const rooms = new RoomServiceClient(server.http, KEY, SECRET);
  /** @type {[string, (room: string) => Promise<unknown>][]} */
  const ways = [
    ['removed', (room) => rooms.removeParticipant(room, 'ann')],
    ['room deleted', (room) => rooms.deleteRoom(room)],
    ['another of the same identity', async (room) => RawClient.join(server, await token(room, 'ann'))],
  ];
  for (const [what, send] of ways) {
    const [ann, ben] = await acquainted(server, `reasons-${what.replaceAll(' ', '-')}`);
    await send(String(ann.room.name));
    await ann.hears(RoomEvent.Disconnected);
    await quiet(() => ann.events.length + ben.events.length);
    seen[what] = { ann: told(ann), ben: told(ben) };
    await Promise.all([ann.leave(), ben.leave()]);
  }
  return seen;
}

/** What applications are told of a call. @param {Place} place */
export async function webhooks({ server, hook }) {
  const receiver = new WebhookReceiver(KEY, SECRET);
  /** @type {any[]} */
  const events = [];
  const application = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    const event = await receiver.receive(body, request.headers.authorization);
    if (event.room?.name === 'webhooks') events.push({ type: request.headers['content-type'], ...JSON.parse(body) });
    response.end();
  });
  application.listen(hook, '127.0.0.1');
  await once(application, 'listening');
  const heard = (/** @type {string} */ event) => until(event, () => events.some((one) => one.event === event), () => events.map((one) => one.event));
  const ann = await Guest.join(server, 'webhooks', 'ann', { name: 'Ann', metadata: 'm' });
  const tone = new ToneSource(TONES[0]);
  const { sid = '' } = await ann.publishTone(tone);
  await heard('track_published');
  await ann.me.unpublishTrack(sid);
  await heard('track_unpublished');
  await tone.stop();
  await ann.leave();
  await heard('participant_left');
  await new RoomServiceClient(server.http, KEY, SECRET).deleteRoom('webhooks');
  await heard('room_finished');
  application.close();
  return { events };
}
