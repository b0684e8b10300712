import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AccessToken, RoomAgentDispatch, RoomConfiguration, TwirpError } from 'livekit-server-sdk';
import { Guest } from '../stage/guest.js';
import { PictureSource } from '../stage/picture.js';
import { KEY, SECRET } from '../stage/server.js';
import { setting } from '../stage/setting.js';
import { TONES, ToneSource } from '../stage/tone.js';

const STAGE = { empty_timeout: 60, departure_timeout: 5, max_participants: 2, metadata: 'a stage', agents: [{ agent_name: 'prompter' }] };
const stage = setting(() => ({ room: { room_configurations: { stage: STAGE } } }));

test('a room is made as a preset says, and as the request says where both do', async () => {
  const made = await stage.api.createRoom({ name: stage.room(), roomPreset: 'stage', emptyTimeout: 7 });
  assert.deepEqual([made.emptyTimeout, made.departureTimeout, made.maxParticipants, made.metadata], [7, 5, 2, 'a stage']);
  await assert.rejects(stage.api.createRoom({ name: stage.room(), roomPreset: 'stag' }), (error) => {
    assert.ok(error instanceof TwirpError);
    assert.equal(error.code, 'invalid_argument');
    return true;
  });
});

test('a token says by which preset its room begins', async () => {
  const room = stage.room();
  const token = new AccessToken(KEY, SECRET, { identity: 'ann' });
  token.addGrant({ roomJoin: true, room });
  token.roomPreset = 'stage';
  token.roomConfig = new RoomConfiguration({ maxParticipants: 3, agents: [new RoomAgentDispatch({ agentName: 'mine' })] });
  const ann = new Guest('ann');
  await ann.connect(stage.server, await token.toJwt());
  const [begun] = await stage.api.listRooms([room]);
  assert.deepEqual([begun.maxParticipants, begun.departureTimeout, begun.metadata], [3, 5, 'a stage']);
  await ann.leave();
});

test('in a room whose pictures are held back and played in step with the sound both are received', async () => {
  const room = stage.room();
  await stage.api.createRoom({ name: room, minPlayoutDelay: 100, maxPlayoutDelay: 300, syncStreams: true });
  const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
  await ann.publishTone(stage.keep(new ToneSource(TONES[0])));
  await ann.publishPicture(stage.keep(new PictureSource(4)));
  await ben.hearsTone('ann', TONES[0]);
  await ben.seesPicture('ann', 4);
});
