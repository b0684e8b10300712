import { launchBehindFirewall } from '../stage/browsers';
import { allJoin, allMeet, type Participant } from '../stage/participant';
import { expect, test } from '../stage/test';

/** Asserts by what the media of everyone here travels. */
async function travelBy(protocol: 'tcp' | 'udp', people: Participant[]): Promise<void> {
  for (const each of people) {
    const travels = () => each.page.evaluate(() => window.roomfulProbe.paths());
    await expect.poll(travels, `how ${each.name}'s media travels`).toEqual([expect.stringMatching(`/${protocol}$`)]);
  }
}

test('someone whose firewall lets no UDP pass meets the others over TCP', async ({ person, room }) => {
  const behind = await launchBehindFirewall();
  try {
    const ann = await person('Ann');
    const ben = await person('Ben', { browser: behind });
    await allJoin(room, [ann, ben]);
    await allMeet([ann, ben]);
    await travelBy('udp', [ann]);
    await travelBy('tcp', [ben]);
    await ben.leaveButton.click();
    await ann.misses(ben);
    await ben.button('Rejoin').click();
    await allMeet([ann, ben]);
  } finally {
    await behind.close();
  }
});

for (const engine of ['chromium', 'firefox'] as const) {
  test(`where only TCP is offered everyone meets over it (${engine})`, async ({ person, room, serve }) => {
    const server = await serve({ LIVEKIT_CONFIG: 'rtc: {force_tcp: true}' });
    const names = ['Ann', 'Ben', 'Cleo'];
    const people = await Promise.all(names.map(async (name) => person(name, { engine, server })));
    await allJoin(room, people);
    await allMeet(people);
    await travelBy('tcp', people);
  });
}
