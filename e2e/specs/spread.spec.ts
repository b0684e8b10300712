import { allJoin, allMeet } from '../stage/participant';
import { expect, test } from '../stage/test';

test('a room over two workers is one room for those in it', async ({ person, room, serve }) => {
  const server = await serve({ LIVEKIT_CONFIG: 'workers: 2\nroom: {spread_above: 1}' });
  const ann = await person('Ann', { server });
  const ben = await person('Ben', { server, engine: 'firefox' });
  const cleo = await person('Cleo', { server });
  const people = [ann, ben, cleo];
  await allJoin(room, people);
  await allMeet(people);
  const ports = await Promise.all(people.map((each) => each.page.evaluate(() => window.roomfulProbe.serverPorts())));
  expect(new Set(ports.flat()).size, 'workers that carry media, each at a port of its own').toBe(2);

  await ben.leaveButton.click();
  await ann.misses(ben);
  await cleo.misses(ben);
  await ben.button('Rejoin').click();
  await allMeet(people);
});
