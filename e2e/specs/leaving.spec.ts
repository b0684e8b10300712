import { allJoin, allMeet } from '../stage/participant';
import { expect, test } from '../stage/test';

test('someone who leaves takes tile, name and tone along', async ({ person, room }) => {
  const [ann, ben, cleo] = [await person('Ann'), await person('Ben'), await person('Cleo')];
  await allJoin(room, [ann, ben, cleo]);
  await allMeet([ann, ben, cleo]);
  await ben.leaveButton.click();
  await expect(ben.button('Rejoin')).toBeVisible();
  for (const left of [ann, cleo]) await left.misses(ben);
  await allMeet([ann, cleo]);
});

for (const engine of ['chromium', 'firefox'] as const) {
  test(`someone who closes the tab is gone from the others (${engine})`, async ({ person, room }) => {
    const ann = await (await person('Ann')).join(room);
    const ben = await (await person('Ben', { engine })).join(room);
    await ann.sees(ben);
    await ben.page.close({ runBeforeUnload: false });
    await ann.misses(ben);
  });
}

test('Rejoin leads back into the same call', async ({ person, room }) => {
  const ann = await (await person('Ann')).join(room);
  const ben = await (await person('Ben')).join(room);
  await ben.leaveButton.click();
  await ann.misses(ben);
  await ben.button('Rejoin').click();
  await allMeet([ann, ben]);
});

test('the leave page leads home', async ({ person, room }) => {
  const ann = await (await person('Ann')).join(room);
  await ann.leaveButton.click();
  await ann.page.getByRole('link', { name: 'Home', exact: true }).click();
  await expect(ann.roomBox).toBeVisible();
  await expect(ann.page).toHaveURL(`${ann.origin}/`);
});

test('a reload brings back the form with room and name, and joins anew in place of the old self', async ({ person, room }) => {
  const ann = await (await person('Ann')).join(room);
  const ben = await (await person('Ben')).join(room);
  await allMeet([ann, ben]);
  await ben.page.reload();
  await expect(ben.roomBox).toHaveValue(room);
  await expect(ben.nameBox).toHaveValue('Ben');
  await ben.joinButton.click();
  await allMeet([ann, ben]);
  await expect(ann.people.getByRole('listitem')).toHaveCount(2);
});

for (const engine of ['chromium', 'firefox'] as const) {
  test(`people who come one after another into the place of one who left are each seen and heard (${engine})`, async ({ person, room }) => {
    const ann = await (await person('Ann', { engine })).join(room);
    for (const name of ['Ben', 'Cleo', 'Dan']) {
      const guest = await (await person(name)).join(room);
      await allMeet([ann, guest]);
      await guest.leaveButton.click();
      await ann.misses(guest);
    }
  });
}

test('a room ends when it is empty, and the same name opens a new one', async ({ person, room, server }) => {
  const ann = await (await person('Ann')).join(room);
  const ended = () => server.log.match(/room (ended|closed)/gi)?.length ?? 0;
  const before = ended();
  await ann.leaveButton.click();
  await expect.poll(ended, { message: 'rooms the server says have ended', timeout: 40_000 }).toBeGreaterThan(before);
  await ann.button('Rejoin').click();
  const ben = await (await person('Ben')).join(room);
  await allMeet([ann, ben]);
});
