import { ENGINES } from '../stage/browsers';
import { allMeet } from '../stage/participant';
import { test } from '../stage/test';
import { percentile, publish } from './figures';

const RUNS = 5;
/** Ten seconds of a stream per run. */
const FRAMES = 150;

for (const engine of ENGINES) {
  test(`from the painter's canvas to the other page's screen: ${engine}`, async ({ person, room }) => {
    const ann = await (await person('Ann', { engine })).join(room);
    const ben = await (await person('Ben', { engine })).join(room);
    await allMeet([ann, ben]);
    const runs: number[][] = [];
    for (let run = 0; run < RUNS; run += 1) runs.push((await ben.read(ann, FRAMES, 60_000)).ages);
    publish([
      { name: `glass to glass, ${engine}, p50`, unit: 'ms', runs: runs.map((ages) => percentile(ages, 0.5)) },
      { name: `glass to glass, ${engine}, p95`, unit: 'ms', runs: runs.map((ages) => percentile(ages, 0.95)) },
    ]);
  });
}
