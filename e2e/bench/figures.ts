import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';

const FILE = fileURLToPath(new URL('../report/figures.json', import.meta.url));

/** One figure: a name, its unit, and what each run gave. */
export interface Figure {
  name: string;
  unit: string;
  runs: number[];
}

/** The value below which the given share of the samples lies (nearest rank). */
export function percentile(samples: readonly number[], share: number): number {
  if (samples.length === 0) throw new Error('no samples to take a percentile of');
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))]!;
}

/** Prints figures as a table and puts them into the report, in place of earlier ones of the same name. */
export function publish(figures: readonly Figure[]): void {
  const rows = figures.map(({ name, unit, runs }) => {
    const [low, middle, high] = [percentile(runs, 0), percentile(runs, 0.5), percentile(runs, 1)].map(round);
    return `| ${name} | ${middle} ${unit} | ${low}–${high} | ${runs.length} |`;
  });
  console.log(['| figure | median | range | runs |', '|---|---|---|---|', ...rows].join('\n'));
  const kept = earlier().filter(({ name }) => figures.every((figure) => figure.name !== name));
  const machine = { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length };
  mkdirSync(fileURLToPath(new URL('../report', import.meta.url)), { recursive: true });
  writeFileSync(FILE, `${JSON.stringify({ machine, figures: [...kept, ...figures] }, null, 2)}\n`);
}

function earlier(): Figure[] {
  try {
    return (JSON.parse(readFileSync(FILE, 'utf8')) as { figures: Figure[] }).figures;
  } catch {
    return [];
  }
}

function round(value: number): number {
  return value < 10 ? Math.round(value * 100) / 100 : Math.round(value);
}
