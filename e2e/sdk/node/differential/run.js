import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { dispose } from '@livekit/rtc-node';
import { KEY, Server, freeTcp } from '../stage/server.js';
import { KNOWN } from './known.js';
import { differences, normalised } from './observe.js';
import * as scripts from './scripts.js';

/*
 * Runs the same scripts against LiveKit and against Roomful and compares what their clients observed, field by field:
 * node --experimental-websocket differential/run.js --livekit <program> [--report <directory>] [script …]
 */
const { values, positionals } = parseArgs({
  options: { livekit: { type: 'string' }, report: { type: 'string', default: '../../../target/reports/differential' } },
  allowPositionals: true,
});
const chosen = Object.entries(scripts).filter(([name]) => positionals.length === 0 || positionals.includes(name));

/** Scripts that came to no end. @type {string[]} */
const failed = [];

/** @param {string} [program] */
async function observe(program) {
  const hook = await freeTcp();
  const server = await Server.start(
    { webhook: { api_key: KEY, urls: [`http://127.0.0.1:${hook}/hook`] }, room: { enable_remote_unmute: true } },
    program,
  );
  /** @type {Record<string, unknown>} */
  const seen = {};
  for (const [name, script] of chosen) {
    const started = performance.now();
    const another = (/** @type {Record<string, unknown>} */ settings) => Server.start(settings, program);
    seen[name] = normalised(await script({ server, hook, another }).catch((error) => {
      // Two that fail alike would look like two that behave alike.
      failed.push(`${name}: ${error}`);
      return { failed: String(error) };
    }));
    console.log(`  ${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
  }
  await server.stop();
  return seen;
}

console.log('LiveKit');
const livekit = await observe(values.livekit);
console.log('Roomful');
const roomful = await observe();
await dispose();
mkdirSync(values.report, { recursive: true });
for (const [name, seen] of Object.entries({ livekit, roomful })) {
  writeFileSync(`${values.report}/${name}.json`, `${JSON.stringify(seen, null, 2)}\n`);
}

const found = differences(livekit, roomful);
let unexplained = 0;
for (const { path, livekit: theirs, roomful: ours } of found) {
  const known = KNOWN.find((one) => one.path.test(path));
  if (!known) unexplained += 1;
  console.log(`${known ? 'meant   ' : 'NOT MEANT'} ${path}`);
  console.log(`  LiveKit: ${short(theirs)}`);
  console.log(`  Roomful: ${short(ours)}`);
  if (known) console.log(`  because: ${known.why}`);
}
for (const { path, why } of KNOWN.filter((one) => !found.some((difference) => one.path.test(difference.path)))) {
  if (positionals.length === 0) console.log(`gone: ${path} (${why})`);
}
for (const script of failed) console.log(`FAILED ${script}`);
console.log(`${found.length} differences, ${unexplained} of them not meant; everything observed is in ${values.report}`);
process.exit(unexplained === 0 && failed.length === 0 ? 0 : 1);

/** @param {unknown} value */
function short(value) {
  const text = value === undefined ? 'nothing' : JSON.stringify(value);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
