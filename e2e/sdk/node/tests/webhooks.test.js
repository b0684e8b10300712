import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { WebhookReceiver } from 'livekit-server-sdk';
import { KEY, SECRET, freeTcp } from '../stage/server.js';
import { setting } from '../stage/setting.js';
import { TONES, ToneSource } from '../stage/tone.js';
import { until } from '../stage/wait.js';

const port = await freeTcp();
const stage = setting(() => ({ webhook: { api_key: KEY, urls: [`http://127.0.0.1:${port}/hook`] } }));

test('an application is told what happens, signed and in order', async () => {
  const receiver = new WebhookReceiver(KEY, SECRET);
  /** @type {import('livekit-server-sdk').WebhookEvent[]} */
  const told = [];
  /** @type {unknown[]} */
  const refused = [];
  const application = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    try {
      told.push(await receiver.receive(body, request.headers.authorization));
      await assert.rejects(receiver.receive(`${body} `, request.headers.authorization), 'a changed body is refused');
    } catch (error) {
      refused.push(error);
    }
    response.end();
  });
  await new Promise((resolve) => application.listen(port, '127.0.0.1', () => resolve(undefined)));
  const room = stage.room();
  const ann = await stage.join(room, 'ann', { metadata: 'tea' });
  const { sid = '' } = await ann.publishTone(stage.keep(new ToneSource(TONES[0])));
  const heard = (/** @type {string} */ event) => until(event, () => told.find((one) => one.event === event), () => told.map((one) => one.event));
  await heard('track_published');
  await ann.me.unpublishTrack(sid);
  await heard('track_unpublished');
  await ann.leave();
  await heard('participant_left');
  await stage.api.deleteRoom(room);
  const finished = await heard('room_finished');
  application.close();
  assert.deepEqual(refused, []);
  assert.deepEqual(told.map(({ event }) => event), [
    'room_started', 'participant_joined', 'track_published', 'track_unpublished', 'participant_left', 'room_finished',
  ]);
  assert.equal(new Set(told.map(({ id }) => id)).size, told.length, 'each has an id of its own');
  assert.ok(told.every((one) => one.room?.name === room && one.createdAt > 0n));
  const joined = told[1].participant;
  assert.deepEqual([joined?.identity, joined?.metadata, joined?.sid], ['ann', 'tea', told[4].participant?.sid]);
  assert.deepEqual([told[2].track?.sid, told[3].track?.sid], [sid, sid]);
  assert.equal(finished.room?.sid, told[0].room?.sid);
});
