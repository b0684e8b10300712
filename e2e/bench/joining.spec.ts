import { ENGINES } from '../stage/browsers';
import { expect, test } from '../stage/test';
import { publish } from './figures';

const RUNS = 9;

for (const engine of ENGINES) {
  test(`from the press of Join to the first frames: ${engine}`, async ({ person, room }) => {
    const ann = await (await person('Ann', { engine })).join(room);
    await ann.sees(ann);
    const seeing: number[] = [];
    const seen: number[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      const ben = await person(`Ben ${run}`, { engine });
      await ben.open(room);
      await ben.nameBox.fill(ben.name);
      // The preview runs before anyone presses Join.
      await expect.poll(() => ben.live('video')).toBeGreaterThan(0);
      await expect.poll(async () => ben.page.evaluate(() => performance.getEntriesByType('resource').length)).toBeGreaterThan(0);
      await ben.page.waitForLoadState('networkidle');
      await ben.joinButton.click();
      const first = (at: typeof ann, of: typeof ann) =>
        at.page.evaluate((painter) => window.roomfulProbe.arrivals().firstFrame[painter] ?? 0, String(of.painter));
      await expect.poll(() => first(ben, ann), { intervals: [500] }).toBeGreaterThan(0);
      await expect.poll(() => first(ann, ben), { intervals: [500] }).toBeGreaterThan(0);
      const pressed = await ben.page.evaluate(() => window.roomfulProbe.arrivals().pressed);
      seeing.push((await first(ben, ann)) - pressed);
      seen.push((await first(ann, ben)) - pressed);
      await ben.leaveButton.click();
      await ann.misses(ben);
      await ben.page.close();
    }
    publish([
      { name: `Join pressed to first remote frame, ${engine}`, unit: 'ms', runs: seeing },
      { name: `Join pressed to being seen by the others, ${engine}`, unit: 'ms', runs: seen },
    ]);
  });
}
