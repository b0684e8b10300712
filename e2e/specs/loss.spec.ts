import { launchApart } from '../stage/browsers';
import { allJoin, allMeet, type Participant } from '../stage/participant';
import { expect, test } from '../stage/test';

/** From the loss to the mark, and from the loss to the tile's end: what people are promised. */
const MARKED = 3000;
const GONE = 20_000;

function reconnecting(at: Participant, of: Participant) {
  return at.tile(of).getByText(/reconnecting/i);
}

// SIGKILL closes a browser's sockets, as a crash does; SIGSTOP leaves them open and silent, as a dead battery does.
for (const { signal, story } of [
  { signal: 'SIGKILL', story: 'killed' },
  { signal: 'SIGSTOP', story: 'stopped' },
] as const) {
  test(`someone whose browser is ${story} is marked within 3 s and gone within 20 s`, async ({ person, room }) => {
    const apart = await launchApart();
    try {
      const [ann, ben] = [await person('Ann'), await person('Ben')];
      const lost = await person('Lou', { browser: apart.browser });
      await allJoin(room, [ann, ben, lost]);
      await allMeet([ann, ben, lost]);
      apart.signal(signal);
      const since = Date.now();
      for (const left of [ann, ben]) {
        // Gone at once is as good as marked.
        const marked = reconnecting(left, lost);
        await expect
          .poll(async () => (await marked.isVisible()) || (await left.tile(lost).count()) === 0, {
            timeout: Math.max(1, since + MARKED - Date.now()),
            intervals: [50],
            message: `${left.name} sees that ${lost.name} is lost`,
          })
          .toBe(true);
      }
      for (const left of [ann, ben]) {
        await expect(left.tile(lost)).toHaveCount(0, { timeout: Math.max(1, since + GONE - Date.now()) });
      }
      await allMeet([ann, ben]);
    } finally {
      await apart.end();
    }
  });
}

test('someone who comes back within the grace is not marked any more', async ({ person, room }) => {
  const apart = await launchApart();
  try {
    const ann = await (await person('Ann')).join(room);
    const away = await (await person('Lou', { browser: apart.browser })).join(room);
    await allMeet([ann, away]);
    apart.signal('SIGSTOP');
    await expect(reconnecting(ann, away)).toBeVisible();
    apart.signal('SIGCONT');
    await expect(reconnecting(ann, away)).toBeHidden();
    await allMeet([ann, away]);
  } finally {
    await apart.end();
  }
});

test('a server that is told to stop says so to everyone, and what to do', async ({ person, room, serve }) => {
  const server = await serve();
  const ann = await (await person('Ann', { server })).join(room);
  const ben = await (await person('Ben', { server })).join(room);
  await allMeet([ann, ben]);
  const code = await server.stop();
  expect(code, server.log).toBe(0);
  for (const each of [ann, ben]) {
    await expect(each.page.getByText(/server/i).first()).toBeVisible();
    await expect(each.button('Rejoin')).toBeVisible();
    await expect.poll(() => each.live('video')).toBe(0);
  }
});

test('one whose server vanishes is told within seconds that the connection is lost', async ({ person, room, serve }) => {
  const server = await serve();
  const ann = await (await person('Ann', { server })).join(room);
  await ann.sees(ann);
  server.kill();
  await expect(ann.page.getByText(/reconnect|connection/i).first()).toBeVisible({ timeout: MARKED });
});

test('someone offline for a moment finds the call going on', async ({ person, room }) => {
  const ann = await (await person('Ann')).join(room);
  const ben = await (await person('Ben')).join(room);
  await allMeet([ann, ben]);
  await ben.page.context().setOffline(true);
  await ben.page.context().setOffline(false);
  await allMeet([ann, ben]);
});
