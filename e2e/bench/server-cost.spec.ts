import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { allMeet, type Participant } from '../stage/participant';
import { test } from '../stage/test';
import { publish } from './figures';

const RUNS = 5;
const RUN_MILLISECONDS = 20_000;

test('processor time of the server per forwarded packet, three participants', async ({ person, room, serve }) => {
  const server = await serve();
  const people: Participant[] = [];
  for (const name of ['Ann', 'Ben', 'Cleo']) people.push(await (await person(name, { server })).join(room));
  await allMeet(people);
  const cost: number[] = [];
  const rate: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    const before = { packets: await received(people), busy: busyMicroseconds(server.pid), at: Date.now() };
    // The one wait for a length of time: a rate is measured over one.
    await new Promise((resolve) => setTimeout(resolve, RUN_MILLISECONDS));
    const packets = (await received(people)) - before.packets;
    const seconds = (Date.now() - before.at) / 1000;
    cost.push((busyMicroseconds(server.pid) - before.busy) / packets);
    rate.push(packets / seconds);
  }
  publish([
    { name: 'server processor time per forwarded packet, 3 participants', unit: 'µs', runs: cost },
    { name: 'packets forwarded in that call', unit: '/s', runs: rate },
  ]);
});

/** Packets that reached the pages, audio and video: what the server forwarded and nobody lost. */
async function received(people: Participant[]): Promise<number> {
  const streams = await Promise.all(people.map(({ page }) => page.evaluate(() => window.roomfulProbe.streams())));
  const inbound = streams.flat().filter((stream) => stream.direction === 'inbound');
  return inbound.reduce((sum, stream) => sum + stream.packets, 0);
}

/** User and system time of a process so far, all threads (fields 14 and 15 of /proc/pid/stat). */
function busyMicroseconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in parentheses may hold spaces; field 3 comes after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1_000_000) / ticksPerSecond();
}

function ticksPerSecond(): number {
  return Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
}
