import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DataPacketKind, RoomEvent, RpcError } from '@livekit/rtc-node';
import { setting } from '../stage/setting.js';
import { until } from '../stage/wait.js';

const stage = setting();
const bytes = (/** @type {string} */ text) => Buffer.from(text);

/** Three who know each other. */
async function three() {
  const room = stage.room();
  const guests = await Promise.all(['ann', 'ben', 'cleo'].map((name) => stage.join(room, name)));
  for (const guest of guests) await until('all are there', () => guest.others.length === 2, () => guest.others);
  return guests;
}

test('reliable messages reach everyone else, in order', async () => {
  const [ann, ben, cleo] = await three();
  const texts = Array.from({ length: 200 }, (_, at) => `message ${at}`);
  for (const text of texts) await ann.me.publishData(bytes(text), { reliable: true, topic: 'talk' });
  for (const guest of [ben, cleo]) {
    await guest.receives('message 199');
    assert.deepEqual(guest.data.map(({ text }) => text), texts);
    assert.deepEqual(guest.data[0], { text: 'message 0', from: 'ann', topic: 'talk', kind: DataPacketKind.KIND_RELIABLE });
  }
  assert.equal(ann.data.length, 0, 'nobody hears themselves');
});

test('lossy messages arrive, too', async () => {
  const [ann, ben] = await three();
  await until('one of them arrives', async () => {
    await ann.me.publishData(bytes('now'), { reliable: false });
    return ben.data.find(({ text, kind }) => text === 'now' && kind === DataPacketKind.KIND_LOSSY);
  });
});

test('a message for one reaches nobody else', async () => {
  const [ann, ben, cleo] = await three();
  await ann.me.publishData(bytes('for cleo'), { reliable: true, destination_identities: ['cleo'] });
  await ann.me.publishData(bytes('for all'), { reliable: true });
  await Promise.all([ben.receives('for all'), cleo.receives('for all')]);
  assert.deepEqual(cleo.data.map(({ text }) => text), ['for cleo', 'for all']);
  assert.deepEqual(ben.data.map(({ text }) => text), ['for all']);
});

test('whoever may not send data sends none', async () => {
  const room = stage.room();
  const ann = await stage.join(room, 'ann', { grants: { canPublishData: false } });
  const ben = await stage.join(room, 'ben');
  const cleo = await stage.join(room, 'cleo');
  await until('all are there', () => ben.others.length === 2 && cleo.others.length === 2);
  await ann.me.publishData(bytes('forbidden'), { reliable: true }).catch(() => undefined);
  await cleo.me.publishData(bytes('allowed'), { reliable: true });
  await ben.receives('allowed');
  assert.deepEqual(ben.data.map(({ text }) => text), ['allowed']);
});

test('a procedure of another is called, and gives its result or its error', async () => {
  const [ann, ben] = await three();
  ben.me.registerRpcMethod('double', async ({ payload, callerIdentity }) => `${callerIdentity}: ${Number(payload) * 2}`);
  ben.me.registerRpcMethod('fail', async () => {
    throw new RpcError(4242, 'out of tea', 'kettle');
  });
  const call = (/** @type {string} */ method, /** @type {string} */ payload, to = 'ben') =>
    ann.me.performRpc({ destinationIdentity: to, method, payload });
  assert.equal(await call('double', '21'), 'ann: 42');
  await assert.rejects(call('fail', ''), { code: 4242, message: 'out of tea', data: 'kettle' });
  await assert.rejects(call('unknown', ''), { code: RpcError.ErrorCode.UNSUPPORTED_METHOD });
  const long = 'x'.repeat(100_000);
  ben.me.registerRpcMethod('echo', async ({ payload }) => payload);
  assert.equal(await call('echo', long), long, 'longer than one message');
});

test('a procedure that takes too long ends with an error', async () => {
  const [ann, ben] = await three();
  ben.me.registerRpcMethod('never', () => new Promise(() => undefined));
  await assert.rejects(
    ann.me.performRpc({ destinationIdentity: 'ben', method: 'never', payload: '', responseTimeout: 1500 }),
    { code: RpcError.ErrorCode.RESPONSE_TIMEOUT },
  );
});

test('a long text arrives whole, with what is said of it', async () => {
  const [ann, ben] = await three();
  const text = 'Größe ☕ '.repeat(10_000);
  const received = new Promise((resolve) => {
    ben.room.registerTextStreamHandler('story', async (reader, { identity }) => {
      resolve({ text: await reader.readAll(), identity, topic: reader.info.topic, attributes: reader.info.attributes });
    });
  });
  await ann.me.sendText(text, { topic: 'story', attributes: { lang: 'de' } });
  assert.deepEqual(await received, { text, identity: 'ann', topic: 'story', attributes: { lang: 'de' } });
});

test('bytes written bit by bit arrive whole, at those they are for', async () => {
  const [ann, ben, cleo] = await three();
  const received = new Promise((resolve) => {
    ben.room.registerByteStreamHandler('file', async (reader) => resolve(Buffer.concat(await reader.readAll())));
  });
  let leaked = false;
  cleo.room.registerByteStreamHandler('file', () => void (leaked = true));
  const writer = await ann.me.streamBytes({ topic: 'file', name: 'a.bin', destinationIdentities: ['ben'] });
  const parts = [0, 1, 2, 3].map((at) => Buffer.alloc(40_000, at));
  for (const part of parts) await writer.write(part);
  await writer.close();
  assert.ok(Buffer.concat(parts).equals(/** @type {Buffer} */ (await received)));
  await ann.me.publishData(bytes('after'), { reliable: true });
  await cleo.receives('after');
  assert.equal(leaked, false);
});

test('chat and tones of a telephone pass', async () => {
  const [ann, ben] = await three();
  const { id } = await ann.me.sendChatMessage('hello');
  await ben.hears(RoomEvent.ChatMessage, { who: 'ann', message: 'hello', id });
  await ann.me.publishDtmf(5, '5');
  await ben.hears(RoomEvent.DtmfReceived, { who: 'ann', code: 5, digit: '5' });
});
