import { allJoin, allMeet } from '../stage/participant';
import { expect, test } from '../stage/test';

for (const engine of ['chromium', 'firefox'] as const) {
  test(`three ${engine} pages see and hear exactly each other`, async ({ person, room }) => {
    const names = ['Ann', 'Ben', 'Cleo'];
    const people = await Promise.all(names.map(async (name) => person(name, { engine })));
    await allJoin(room, people);
    await allMeet(people);
  });
}

test('Chromium and Firefox meet in one room', async ({ person, room }) => {
  const people = [
    await person('Ann', { engine: 'chromium' }),
    await person('Ben', { engine: 'firefox' }),
    await person('Cleo', { engine: 'chromium' }),
  ];
  await allJoin(room, people);
  await allMeet(people);
});

test('four people who press Join in the same moment all meet', async ({ person, room }) => {
  const people = await Promise.all(['Ann', 'Ben', 'Cleo', 'Dan'].map(async (name) => person(name)));
  for (const each of people) {
    await each.open(room);
    await each.nameBox.fill(each.name);
  }
  await Promise.all(people.map((each) => each.joinButton.click()));
  await allMeet(people);
});

test('two rooms at once stay apart', async ({ person, room }) => {
  const here = [await person('Ann'), await person('Ben')];
  const there = [await person('Cleo'), await person('Dan')];
  await allJoin(room, here);
  await allJoin(`${room} next door`, there);
  await allMeet(here);
  await allMeet(there);
  await expect(here[0]!.people.getByRole('listitem')).toHaveCount(2);
});

test('two people of the same name have a tile each', async ({ person, room }) => {
  const ann = await (await person('Ann')).join(room);
  const first = await (await person('Sam')).join(room);
  const second = await (await person('Sam')).join(room);
  await expect(ann.tile('Sam')).toHaveCount(2);
  await expect.poll(() => ann.hears()).toEqual([first.painter, second.painter]);
});

test('the call uses the codecs both sides negotiated, and really decodes them', async ({ person, room }) => {
  const ann = await (await person('Ann')).join(room);
  const ben = await (await person('Ben', { engine: 'firefox' })).join(room);
  await allMeet([ann, ben]);
  for (const each of [ann, ben]) {
    const streams = await each.page.evaluate(() => window.roomfulProbe.streams());
    const inbound = streams.filter((stream) => stream.direction === 'inbound' && stream.packets > 0);
    expect(inbound.map((stream) => stream.kind).sort()).toEqual(['audio', 'video']);
    for (const { kind, codec } of inbound) {
      expect(codec).toMatch(kind === 'audio' ? /^audio\/(opus|red)$/ : /^video\/(VP8|VP9|H264|AV1)$/);
    }
  }
});

test('who is talking is visible', async ({ person, room }) => {
  const ann = await (await person('Ann')).join(room);
  const ben = await (await person('Ben')).join(room);
  await allMeet([ann, ben]);
  // A steady tone is speech to a voice detector.
  await expect(ann.tile(ben).getByText('speaking', { exact: false })).toBeAttached();
  await ben.button('Mute microphone').click();
  await expect(ann.tile(ben).getByText('speaking', { exact: false })).not.toBeAttached();
});
