import { fileURLToPath } from 'node:url';
import { allMeet } from '../stage/participant';
import { test } from '../stage/test';

const PICTURE = fileURLToPath(new URL('../../docs/images/call.png', import.meta.url));

test('the picture of a real call for the README', async ({ person }) => {
  const people = [];
  for (const name of ['Ann', 'Ben', 'Cleo', 'Dan']) people.push(await person(name));
  for (const each of people) await each.join('Garden party');
  await allMeet(people);
  await people[0]!.page.mouse.move(640, 10);
  await people[0]!.page.screenshot({ path: PICTURE, animations: 'disabled' });
});
