import { createSocket } from 'node:dgram';
import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { allMeet, type Participant } from '../stage/participant';
import type { Server } from '../stage/server';
import { expect, test } from '../stage/test';

/** One signalling socket of the page's own, opened with a valid token of the room, that then misbehaves. */
async function misbehave(at: Participant, room: string, kind: 'garbage' | 'huge' | 'text' | 'bad-sdp' | 'unknown'): Promise<string> {
  return at.page.evaluate(
    async ({ roomName, misdeed }) => {
      const answer = await fetch('/api/token', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ room_name: roomName, participant_name: 'Mallory', participant_identity: `mallory-${misdeed}` }),
      });
      const { participant_token: token } = (await answer.json()) as { participant_token: string };
      // The smallest WrappedJoinRequest: no compression, an empty JoinRequest.
      const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/rtc/v1?access_token=${token}&join_request=EgA`);
      socket.binaryType = 'arraybuffer';
      const closed = new Promise<string>((resolve) => (socket.onclose = ({ code, reason }) => resolve(`${code} ${reason}`)));
      await new Promise((resolve) => {
        socket.onopen = resolve;
        socket.onclose = ({ code, reason }) => resolve(`${code} ${reason}`);
      });
      const misdeeds: Record<string, (string | Uint8Array<ArrayBuffer>)[]> = {
        garbage: [crypto.getRandomValues(new Uint8Array(512)), new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff])],
        huge: [new Uint8Array(8 * 1024 * 1024)],
        text: ['{', 'null', '{"offer": 7}', '\u0000'],
        'bad-sdp': [JSON.stringify({ offer: { type: 'offer', sdp: 'v=0\r\nthis is no session\r\n', id: 1 } })],
        // Field 999 of a SignalRequest, which nobody has defined.
        unknown: [new Uint8Array([0xba, 0x3e, 0x01, 0x00])],
      };
      for (const frame of misdeeds[misdeed] ?? []) socket.send(frame);
      if (socket.readyState === WebSocket.OPEN) socket.onclose = null;
      const late = new Promise<string>((resolve) => setTimeout(() => resolve('open'), 3000));
      const ended = new Promise<string>((resolve) => {
        socket.addEventListener('close', ({ code, reason }) => resolve(`${code} ${reason}`));
      });
      const end = await Promise.race([closed, ended, late]);
      socket.close();
      return end;
    },
    { roomName: room, misdeed: kind },
  );
}

async function garbageDatagrams(server: Server, count: number): Promise<void> {
  const socket = createSocket('udp4');
  const workers = availableParallelism();
  const kinds = [
    () => Buffer.alloc(0),
    () => randomBytes(1),
    () => randomBytes(1200),
    // First bytes of STUN, DTLS, RTP and RTCP, and then noise.
    () => Buffer.concat([Buffer.from([0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42]), randomBytes(20)]),
    () => Buffer.concat([Buffer.from([22, 254, 253]), randomBytes(60)]),
    () => Buffer.concat([Buffer.from([0x80, 96]), randomBytes(40)]),
    () => Buffer.concat([Buffer.from([0x81, 206]), randomBytes(10)]),
    () => randomBytes(1472),
  ];
  const sent = Array.from({ length: count }, (_, at) => {
    const datagram = kinds[at % kinds.length]!();
    return new Promise<void>((resolve) => socket.send(datagram, server.mediaPort + (at % workers), '127.0.0.1', () => resolve()));
  });
  await Promise.all(sent);
  socket.close();
}

test('bad frames are answered to the one who sent them while the call goes on', async ({ person, room, server }) => {
  const ann = await (await person('Ann')).join(room);
  const ben = await (await person('Ben')).join(room);
  await allMeet([ann, ben]);
  expect(await misbehave(ann, room, 'garbage')).toMatch(/^10(02|03|07|08) .+/);
  expect(await misbehave(ann, room, 'text')).toMatch(/^10(02|03|07|08) .+/);
  expect(await misbehave(ann, room, 'huge')).toMatch(/^1009/);
  await misbehave(ann, room, 'bad-sdp');
  expect(await misbehave(ann, room, 'unknown')).toBe('open');
  await expect(ann.tile('Mallory')).toHaveCount(0, { timeout: 25_000 });
  await allMeet([ann, ben]);
  expect(server.log).not.toMatch(/panicked/);
});

test('garbage datagrams at the media ports change nothing', async ({ person, room, server }) => {
  const ann = await (await person('Ann')).join(room);
  const ben = await (await person('Ben')).join(room);
  await allMeet([ann, ben]);
  const flood = garbageDatagrams(server, 5000);
  await allMeet([ann, ben]);
  await flood;
  await allMeet([ann, ben]);
  expect(server.log).not.toMatch(/panicked/);
});

test('bad token requests are refused with an error that names the culprit', async ({ server }) => {
  const ask = async (body: string) => {
    const answer = await fetch(`${server.url}/api/token`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    return { status: answer.status, text: await answer.text() };
  };
  for (const body of ['', '{', '[]', '{"room_name": 7}', '{"participant_name": "Ann"}', JSON.stringify({ room_name: 'x'.repeat(100_000), participant_name: 'Ann' })]) {
    const { status, text } = await ask(body);
    expect(status, body.slice(0, 40)).toBeGreaterThanOrEqual(400);
    expect(status, body.slice(0, 40)).toBeLessThan(500);
    const error = (JSON.parse(text) as { error: { code: string; message: string } }).error;
    expect(error.message.length, text).toBeGreaterThan(10);
  }
});
