import type { Engine } from '../stage/browsers';
import { expect, test } from '../stage/guests';

// End-to-end encryption as livekit-client does it: the server carries what it cannot read.

const PAIRS: [Engine, Engine][] = [['chromium', 'firefox'], ['firefox', 'chromium']];

for (const [here, there] of PAIRS) {
  test(`${here} and ${there} with the same key see and hear each other, and read what they write`, async ({ guest }) => {
    const passphrase = 'a word between friends';
    const [ann, ben] = [await guest('ann', { engine: here, passphrase }), await guest('ben', { engine: there, passphrase })];
    for (const each of [ann, ben]) await each.turnOn();
    await ann.meets([ben]);
    await ben.meets([ann]);
    await ben.isTold('participantEncryptionStatusChanged', [true, 'ann']);
    await ann.say('between us');
    await ben.isTold('dataReceived', ['between us', 'ann']);
    const encrypted = () => ben.page.evaluate(() => [...(window.room.remoteParticipants.get('ann')?.trackPublications.values() ?? [])].map((one) => one.isEncrypted));
    expect(await encrypted()).toEqual([true, true]);
  });
}

test('whoever has another key, or none, sees, hears and reads nothing', async ({ guest }) => {
  const ann = await guest('ann', { passphrase: 'a word between friends' });
  const cleo = await guest('cleo', { passphrase: 'a word between friends' });
  const mallory = await guest('mallory', { passphrase: 'another word' });
  const nosy = await guest('nosy');
  await ann.turnOn();
  await cleo.meets([ann]);
  for (const each of [mallory, nosy]) {
    await expect(each.video(ann)).toHaveCount(1);
    await each.seesNothingNewOf(ann);
    // Whoever decrypts hears the tone alone. Without a key, what cannot be read is played as noise, which holds every tone.
    const heard = await each.page.evaluate(() => window.roomfulProbe.hears());
    expect(heard).not.toEqual([ann.painter]);
  }
  await ann.say('between us');
  await cleo.isTold('dataReceived', ['between us', 'ann']);
  for (const each of [mallory, nosy]) expect((await each.told('dataReceived')).map(([text]) => text)).not.toContain('between us');
});
