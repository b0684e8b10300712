import { allMeet } from '../stage/participant';
import { expect, test } from '../stage/test';

test('home asks for room and name, both really required, and leads into the call', async ({ person, room }) => {
  const ann = await person('Ann');
  await ann.page.goto(`${ann.origin}/`);
  await expect(ann.page.getByRole('heading', { level: 1 })).toBeVisible();
  for (const [roomName, name] of [['', ''], [room, ''], ['', 'Ann'], [room, '   '], ['   ', 'Ann']] as const) {
    await ann.roomBox.fill(roomName);
    await ann.nameBox.fill(name);
    if (await ann.joinButton.isEnabled()) await ann.joinButton.click();
    await expect(ann.leaveButton).toHaveCount(0);
    await expect(ann.roomBox).toBeVisible();
  }
  await ann.roomBox.fill(room);
  await ann.nameBox.fill('Ann');
  await ann.joinButton.click();
  await expect(ann.leaveButton).toBeVisible();
  await expect(ann.page).toHaveURL(`${ann.origin}/room/${encodeURIComponent(room)}`);
  await expect(ann.page).toHaveTitle(new RegExp(room));
  await ann.sees(ann);
});

test('an invitation link fills in the room', async ({ person, room }) => {
  const ann = await (await person('Ann')).open(room);
  await expect(ann.roomBox).toHaveValue(room);
  await expect(ann.nameBox).toHaveValue('');
});

test('a room name of any script and sign is the same room for everyone', async ({ person, room }) => {
  const odd = `${room} ☕ 50% / straße #1?`;
  const ann = await (await person('Ann')).join(odd);
  const ben = await person('Ben');
  await ben.page.goto(ann.page.url());
  await expect(ben.roomBox).toHaveValue(odd);
  await ben.nameBox.fill('Ben');
  await ben.joinButton.click();
  await allMeet([ann, ben]);
});

test('the invitation is copied with a confirmation', async ({ person, room }) => {
  const ann = await person('Ann', { context: { permissions: ['clipboard-read', 'clipboard-write'] } });
  await ann.join(room);
  await ann.button('Copy invite link').click();
  await expect(ann.page.getByText(/copied/i).first()).toBeVisible();
  expect(await ann.page.evaluate(() => navigator.clipboard.readText())).toBe(`${ann.origin}/room/${encodeURIComponent(room)}`);
});

test('a name that is a script is shown as text', async ({ person, room }) => {
  const trap = '<img src=x onerror="window.roomfulProbe.trapped=true">';
  const ann = await (await person('Ann')).join(room);
  const eve = await person(trap);
  await eve.join(room);
  await expect(ann.tile(trap)).toBeVisible();
  await expect(ann.people.getByText(trap)).toBeVisible();
  await ann.sees(eve);
  for (const each of [ann, eve]) {
    await expect(each.page.locator('img[src="x"]')).toHaveCount(0);
    expect(await each.page.evaluate(() => window.roomfulProbe.trapped)).toBe(false);
  }
});

test('the list of people marks oneself', async ({ person, room }) => {
  const ann = await (await person('Ann')).join(room);
  await (await person('Ben')).join(room);
  await expect(ann.people.getByRole('listitem')).toHaveCount(2);
  await expect(ann.people.getByRole('listitem').first()).toContainText(/Ann.*you/i);
  await expect(ann.people.getByRole('listitem').last()).toContainText('Ben');
});

test('an address that leads nowhere says so, with the status of it', async ({ person, server }) => {
  const ann = await person('Ann');
  const answer = await ann.page.goto(`${server.url}/no/such/page`);
  expect(answer?.status()).toBe(404);
  await expect(ann.page.getByRole('heading', { level: 1 })).toBeVisible();
  await ann.page.getByRole('link', { name: /home/i }).click();
  await expect(ann.roomBox).toBeVisible();
});

test('the health check answers, and the version is visible somewhere quiet', async ({ person, server }) => {
  expect((await fetch(`${server.url}/healthcheck`)).status).toBe(200);
  const ann = await person('Ann');
  await ann.page.goto(server.url);
  await expect(ann.page.getByText(/\b\d+\.\d+\.\d+\b/).first()).toBeVisible();
});

test('a call can be joined, muted and left with the keyboard alone', async ({ person, room }) => {
  const ann = await person('Ann');
  const { page } = ann;
  await ann.open(room);
  const reach = async (target: ReturnType<typeof ann.button>) => {
    for (let presses = 0; presses < 40; presses += 1) {
      if (await target.evaluate((element) => element === document.activeElement)) return;
      await page.keyboard.press('Tab');
    }
    throw new Error('forty presses of Tab did not reach it');
  };
  await reach(ann.nameBox);
  await page.keyboard.type('Ann');
  await page.keyboard.press('Enter');
  await expect(ann.leaveButton).toBeVisible();
  await reach(ann.button('Mute microphone'));
  await page.keyboard.press('Enter');
  await expect(ann.button('Unmute microphone')).toBeVisible();
  await reach(ann.leaveButton);
  await page.keyboard.press('Enter');
  await expect(ann.button('Rejoin')).toBeVisible();
});

test('keys switch the devices, but not while typing', async ({ person, room }) => {
  const ann = await person('Ann');
  await ann.open(room);
  await ann.nameBox.pressSequentially('mvmv');
  await expect(ann.button('Mute microphone')).toBeVisible();
  await expect(ann.button('Turn camera off')).toBeVisible();
  await ann.nameBox.fill('Ann');
  await ann.joinButton.click();
  await expect(ann.leaveButton).toBeVisible();
  await ann.page.locator('body').press('m');
  await expect(ann.button('Unmute microphone')).toBeVisible();
  await ann.page.locator('body').press('v');
  await expect(ann.button('Turn camera on')).toBeVisible();
  await ann.page.locator('body').press('Control+d');
  await expect(ann.button('Mute microphone')).toBeVisible();
  await ann.page.locator('body').press('Control+e');
  await expect(ann.button('Turn camera off')).toBeVisible();
});
