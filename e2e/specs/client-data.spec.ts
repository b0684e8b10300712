import type { Engine } from '../stage/browsers';
import type { Guest } from '../stage/guest';
import { expect, test } from '../stage/guests';

// Everything that livekit-client sends besides media, from one browser to the other, both ways.

const PAIRS: [Engine, Engine][] = [['chromium', 'firefox'], ['firefox', 'chromium']];

for (const [here, there] of PAIRS) {
  test(`${here} sends messages to all and to some, in order`, async ({ guest }) => {
    const [ann, ben, cleo] = [await guest('ann', { engine: here }), await guest('ben', { engine: there }), await guest('cleo')];
    for (let number = 0; number < 20; number += 1) await ann.say(`number ${number}`);
    await ann.say('for ben', { reliable: true, destinationIdentities: ['ben'], topic: 'secret' });
    await ann.say('at once', { reliable: false });
    await ann.say('the last');
    for (const each of [ben, cleo]) {
      await each.isTold('dataReceived', ['the last', 'ann']);
      await each.isTold('dataReceived', ['at once', 'ann']);
    }
    const numbers = Array.from({ length: 20 }, (_, number) => `number ${number}`);
    expect(await texts(cleo)).toEqual([...numbers, 'the last']);
    expect(await texts(ben)).toEqual([...numbers, 'for ben', 'the last']);
    await ben.isTold('dataReceived', ['for ben', 'ann', 0, 'secret']);
  });

  test(`${here} calls procedures of ${there}, which answers, refuses or is too slow`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there })];
    await ben.page.evaluate(() => {
      window.room.registerRpcMethod('echo', async ({ payload, callerIdentity }) => `${callerIdentity}: ${payload}`);
      window.room.registerRpcMethod('refuse', async () => {
        throw new window.LivekitClient.RpcError(1707, 'not today', 'ask again');
      });
      window.room.registerRpcMethod('break', async () => {
        throw new Error('broken');
      });
      window.room.registerRpcMethod('dawdle', () => new Promise<string>(() => {}));
    });
    expect(await call(ann, 'ben', 'echo', 'hello')).toEqual({ answer: 'ann: hello' });
    const long = 'long '.repeat(2900);
    expect(await call(ann, 'ben', 'echo', long)).toEqual({ answer: `ann: ${long}` });
    expect(await call(ann, 'ben', 'refuse', '')).toEqual({ code: 1707, message: 'not today', data: 'ask again' });
    expect(await call(ann, 'ben', 'break', '')).toMatchObject({ code: 1500 });
    expect(await call(ann, 'ben', 'unknown', '')).toMatchObject({ code: 1400 });
    expect(await call(ann, 'ben', 'dawdle', '')).toMatchObject({ code: 1502 });
  });

  test(`long texts and bytes of ${here} arrive whole at ${there}, as they are written`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there })];
    const arrived = ben.page.evaluate(async () => {
      const text = new Promise<unknown>((resolve) =>
        window.room.registerTextStreamHandler('notes', async (reader, from) => {
          resolve({ from: from.identity, text: await reader.readAll(), attributes: reader.info.attributes });
        }),
      );
      const bytes = new Promise<unknown>((resolve) =>
        window.room.registerByteStreamHandler('files', async (reader, from) => {
          const chunks = await reader.readAll();
          const sum = chunks.flatMap((chunk) => [...chunk]).reduce((total, byte, at) => (total + byte * (at % 251)) % 1_000_003, 0);
          resolve({ from: from.identity, name: reader.info.name, size: reader.info.size, sum });
        }),
      );
      return Promise.all([text, bytes]);
    });
    // The handlers are there when the page has answered once more.
    await ben.page.evaluate(() => true);
    const sent = await ann.page.evaluate(async () => {
      const { localParticipant } = window.room;
      const writer = await localParticipant.streamText({ topic: 'notes', attributes: { about: 'chapters' } });
      for (let chapter = 0; chapter < 30; chapter += 1) await writer.write(`chapter ${chapter}: ${'words and wörds '.repeat(400)}`);
      await writer.close();
      const bytes = Uint8Array.from({ length: 300_000 }, (_, at) => (at * 7) % 256);
      await localParticipant.sendFile(new File([bytes], 'numbers.bin'), { topic: 'files' });
      return [...bytes].reduce((total, byte, at) => (total + byte * (at % 251)) % 1_000_003, 0);
    });
    const text = Array.from({ length: 30 }, (_, chapter) => `chapter ${chapter}: ${'words and wörds '.repeat(400)}`).join('');
    expect(await arrived).toEqual([
      { from: 'ann', text, attributes: { about: 'chapters' } },
      { from: 'ann', name: 'numbers.bin', size: 300_000, sum: sent },
    ]);
  });

  test(`chat and telephone tones of ${here} reach ${there}`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there })];
    await ann.page.evaluate(async () => {
      const { localParticipant } = window.room;
      const message = await localParticipant.sendChatMessage('helo');
      await localParticipant.editChatMessage('hello', message);
      await localParticipant.publishDtmf(5, '5');
    });
    await expect.poll(async () => (await ben.told('chatMessage')).map(([message]) => (message as { message: string }).message)).toEqual(['helo', 'hello']);
    await expect.poll(async () => (await ben.told('sipDTMFReceived')).map(([tone]) => (tone as { digit: string }).digit)).toEqual(['5']);
  });

  test(`frames of a data track of ${here} arrive whole at ${there}`, async ({ guest }) => {
    const [ann, ben] = [await guest('ann', { engine: here }), await guest('ben', { engine: there })];
    const arrived = ben.page.evaluate(
      () =>
        new Promise<number[]>((resolve) => {
          window.room.once('dataTrackPublished', async (track) => {
            const sizes: number[] = [];
            for await (const frame of track.subscribe()) {
              sizes.push(frame.payload.every((byte) => byte === frame.payload.length % 256) ? frame.payload.length : -1);
              if (sizes.length === 3) return resolve(sizes);
            }
          });
        }),
    );
    await ann.page.evaluate(async () => {
      const track = await window.room.localParticipant.publishDataTrack({ name: 'positions' });
      const sizes = [10, 1000, 40_000];
      const send = () => sizes.forEach((size) => void track.tryPush({ payload: new Uint8Array(size).fill(size % 256) }));
      // Frames are lost before somebody has subscribed, and are not sent again.
      setInterval(send, 500);
    });
    const sizes = (await arrived).sort((one, two) => one - two);
    expect(sizes).toEqual([10, 1000, 40_000]);
  });
}

test('whoever may not send data sends none', async ({ guest }) => {
  const [ann, ben] = [await guest('ann', { grants: { canPublishData: false } }), await guest('ben')];
  await ann.say('unheard').catch(() => undefined);
  await ben.say('heard');
  await ann.isTold('dataReceived', ['heard', 'ben']);
  expect(await ben.told('dataReceived')).toEqual([]);
});

/** The reliable texts a guest was sent, in order. */
async function texts(guest: Guest): Promise<unknown[]> {
  return (await guest.told('dataReceived')).filter(([, , kind]) => kind === 0).map(([text]) => text);
}

/** Calls a procedure; resolves to its answer or its error. */
function call(guest: Guest, destinationIdentity: string, method: string, payload: string): Promise<unknown> {
  return guest.page.evaluate(
    async (wanted) => {
      try {
        return { answer: await window.room.localParticipant.performRpc({ ...wanted, responseTimeout: 3000 }) };
      } catch (error) {
        const { code, message, data } = error as { code: number; message: string; data?: string };
        return { code, message, data };
      }
    },
    { destinationIdentity, method, payload },
  );
}
