import type { Access } from '../in-page/devices';
import { allMeet } from '../stage/participant';
import { expect, test } from '../stage/test';

for (const engine of ['chromium', 'firefox'] as const) {
  test(`muting stops the tone and unmuting brings it back (${engine})`, async ({ person, room }) => {
    const ann = await (await person('Ann', { engine })).join(room);
    const ben = await (await person('Ben')).join(room);
    await allMeet([ann, ben]);
    await ann.button('Mute microphone').click();
    await expect.poll(() => ben.hears()).toEqual([]);
    await expect(ben.tile(ann).getByLabel('Muted', { exact: true })).toBeVisible();
    await ben.sees(ann);
    await ann.button('Unmute microphone').click();
    await expect.poll(() => ben.hears()).toEqual([ann.painter]);
    await expect(ben.tile(ann).getByLabel('Muted', { exact: true })).toBeHidden();
  });

  test(`turning the camera off puts its light out, and on again shows the picture (${engine})`, async ({ person, room }) => {
    const ann = await (await person('Ann', { engine })).join(room);
    const ben = await (await person('Ben')).join(room);
    await allMeet([ann, ben]);
    await ann.button('Turn camera off').click();
    await expect.poll(() => ann.live('video'), 'the light of the camera').toBe(0);
    await ben.seesNoPictureOf(ann);
    await expect(ben.tile(ann)).toBeVisible();
    await expect.poll(() => ben.hears()).toEqual([ann.painter]);
    await ann.button('Turn camera on').click();
    await ben.sees(ann);
    await ann.sees(ann);
    expect(await ann.live('video')).toBeGreaterThan(0);
  });
}

test('leaving turns every device off', async ({ person, room }) => {
  const ann = await (await person('Ann')).join(room);
  await ann.sees(ann);
  await ann.leaveButton.click();
  await expect.poll(() => ann.live('video')).toBe(0);
  await expect.poll(() => ann.live('audio')).toBe(0);
});

test('what was turned off in the lobby stays off in the call', async ({ person, room }) => {
  const ann = await person('Ann');
  await ann.open(room);
  await ann.button('Turn camera off').click();
  await ann.button('Mute microphone').click();
  await expect.poll(() => ann.live('video')).toBe(0);
  await ann.nameBox.fill('Ann');
  await ann.joinButton.click();
  await expect(ann.button('Unmute microphone')).toBeVisible();
  await expect(ann.button('Turn camera on')).toBeVisible();
  const ben = await (await person('Ben')).join(room);
  await ann.sees(ben);
  expect(await ben.hears()).toEqual([]);
  await ben.seesNoPictureOf(ann);
});

for (const access of ['refused', 'missing'] satisfies Access[]) {
  test(`someone whose devices are ${access} is told so and still watches and listens`, async ({ person, room }) => {
    const ann = await (await person('Ann')).join(room);
    const ben = await person('Ben', { camera: access, microphone: access });
    await ben.open(room);
    await expect(ben.page.getByText(/camera and microphone/i).first()).toBeVisible();
    await expect(ben.page.getByText(access === 'refused' ? /blocked|allow/i : /not found|no camera|plug/i).first()).toBeVisible();
    await ben.join(room);
    await ben.sees(ann);
    await expect.poll(() => ben.hears()).toEqual([ann.painter]);
    await expect(ann.tile(ben)).toBeVisible();
    expect(await ann.hears()).toEqual([]);
  });
}

test('with only the microphone refused, the camera is sent', async ({ person, room }) => {
  const ann = await (await person('Ann')).join(room);
  const ben = await person('Ben', { microphone: 'refused' });
  await ben.open(room);
  await expect(ben.page.getByText(/microphone .*(blocked|refused)/i).first()).toBeVisible();
  await ben.join(room);
  await ann.sees(ben);
  expect(await ann.hears()).toEqual([]);
});

test('a page over plain HTTP from another machine says why it has no camera, and lets the person in', async ({ person, room, server }) => {
  const ann = await (await person('Ann')).join(room);
  const ben = await person('Ben', { origin: `http://lan.test:${server.port}` });
  await ben.open(room);
  expect(await ben.page.evaluate(() => window.isSecureContext)).toBe(false);
  await expect(ben.page.getByText(/HTTPS/).first()).toBeVisible();
  await ben.join(room);
  await ben.sees(ann);
  await expect.poll(() => ben.hears()).toEqual([ann.painter]);
});
