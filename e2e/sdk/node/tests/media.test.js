import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RoomEvent, TrackSource, VideoCodec } from '@livekit/rtc-node';
import { PictureSource } from '../stage/picture.js';
import { setting } from '../stage/setting.js';
import { TONES, ToneSource } from '../stage/tone.js';
import { until } from '../stage/wait.js';

const stage = setting(() => ({ room: { enable_remote_unmute: true } }));

/** Over so many peer connections, each of three. @type {[string, (1 | 2)[]][]} */
const EACH_OVER = [
  ['one peer connection', [1, 1, 1]],
  ['two peer connections', [2, 2, 2]],
  ['one or two', [1, 2, 1]],
];

for (const [story, connections] of EACH_OVER) {
  test(`three people over ${story} hear and see exactly the others`, async () => {
    const names = ['ann', 'ben', 'cleo'];
    const room = stage.room();
    const guests = await Promise.all(names.map((name, at) => stage.join(room, name, { peerConnections: connections[at] })));
    const tones = names.map((_, at) => stage.keep(new ToneSource(TONES[at])));
    const pictures = names.map((_, at) => stage.keep(new PictureSource(at + 1)));
    await Promise.all(guests.flatMap((guest, at) => [guest.publishTone(tones[at]), guest.publishPicture(pictures[at])]));
    for (const [at, guest] of guests.entries()) {
      for (const other of names.keys()) {
        if (other === at) continue;
        const tone = await guest.hearsTone(names[other], TONES[other]);
        const picture = await guest.seesPicture(names[other], other + 1);
        assert.deepEqual([...tone.heard.keys()], [TONES[other]], 'one tone, and no other');
        assert.deepEqual([...picture.seen.keys()], [other + 1], 'pictures of one owner');
        assert.equal(picture.backwards, 0);
      }
      assert.equal(guest.readers.size, 4, 'nobody receives their own');
    }
  });
}

for (const [name, codec, mime] of [
  ['H.264', VideoCodec.H264, 'video/H264'],
  ['VP9', VideoCodec.VP9, 'video/VP9'],
  ['AV1', VideoCodec.AV1, 'video/AV1'],
]) {
  test(`pictures in ${name} arrive`, async () => {
    const room = stage.room();
    const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
    const picture = stage.keep(new PictureSource(7));
    await ann.publishPicture(picture, { videoCodec: /** @type {VideoCodec} */ (codec) });
    await ben.seesPicture('ann', 7);
    const told = ben.publication('ann', TrackSource.SOURCE_CAMERA);
    assert.equal(told?.mimeType?.toLowerCase(), String(mime).toLowerCase());
    });
}

test('of three layers the largest arrives', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
  const picture = stage.keep(new PictureSource(9, { width: 1280, height: 720 }));
  await ann.publishPicture(picture, { simulcast: true });
  const reader = await ben.seesPicture('ann', 9);
  await until('the largest layer', () => reader.width === 1280, () => reader.width);
  const told = ben.publication('ann', TrackSource.SOURCE_CAMERA);
  assert.deepEqual([told?.simulcasted, told?.width, told?.height], [true, 1280, 720]);
});

test('what a server application mutes is silent, and is heard again afterwards', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
  const { sid = '' } = await ann.publishTone(stage.keep(new ToneSource(TONES[0])));
  const reader = await ben.hearsTone('ann', TONES[0]);
  await stage.api.mutePublishedTrack(room, 'ann', sid, true);
  for (const guest of [ann, ben]) await guest.hears(RoomEvent.TrackMuted, { who: 'ann', sid });
  await until('silence', () => reader.silent >= 3, () => reader.silent);
  reader.forget();
  await stage.api.mutePublishedTrack(room, 'ann', sid, false);
  for (const guest of [ann, ben]) await guest.hears(RoomEvent.TrackUnmuted, { who: 'ann', sid });
  await ben.hearsTone('ann', TONES[0]);
});

test('subscriptions are made and ended by whoever receives', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben', { autoSubscribe: false })]);
  const [tone, picture] = [stage.keep(new ToneSource(TONES[1])), stage.keep(new PictureSource(3))];
  await Promise.all([ann.publishTone(tone), ann.publishPicture(picture)]);
  const heard = await until('a microphone', () => ben.publication('ann', TrackSource.SOURCE_MICROPHONE));
  const seen = await until('a camera', () => ben.publication('ann', TrackSource.SOURCE_CAMERA));
  assert.equal(ben.readers.size, 0, 'nothing comes unasked');
  seen.setSubscribed(true);
  await ben.seesPicture('ann', 3);
  assert.deepEqual(ben.told(RoomEvent.TrackSubscribed).map(({ track }) => track), ['picture-3'], 'only what was asked for');
  heard.setSubscribed(true);
  await ben.hearsTone('ann', TONES[1]);
  await ann.hears(RoomEvent.LocalTrackSubscribed, { track: 'tone-620' });
  seen.setSubscribed(false);
  await ben.hears(RoomEvent.TrackUnsubscribed, { who: 'ann', track: 'picture-3' });
  ben.readers.clear();
  seen.setSubscribed(true);
  await ben.seesPicture('ann', 3);
});

test('what is unpublished ends for the others, and the next track comes in its place', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
  const [first, second] = [stage.keep(new ToneSource(TONES[2])), stage.keep(new ToneSource(TONES[3]))];
  const { sid = '' } = await ann.publishTone(first);
  await ben.hearsTone('ann', TONES[2]);
  await ann.me.unpublishTrack(sid);
  await ben.hears(RoomEvent.TrackUnpublished, { who: 'ann', sid });
  await ben.hears(RoomEvent.TrackUnsubscribed, { who: 'ann', sid });
  await ann.publishTone(second);
  const reader = await ben.hearsTone('ann', TONES[3]);
  assert.deepEqual([...reader.heard.keys()], [TONES[3]]);
});

test('whoever makes sound is told to be speaking', async () => {
  const room = stage.room();
  const [ann, ben] = await Promise.all([stage.join(room, 'ann'), stage.join(room, 'ben')]);
  const tone = stage.keep(new ToneSource(TONES[0]));
  await ann.publishTone(tone);
  const speaks = () => ben.told(RoomEvent.ActiveSpeakersChanged).some(({ speakers }) => String(speakers) === 'ann');
  await until('ann is told to be speaking', speaks, () => ben.events);
});
