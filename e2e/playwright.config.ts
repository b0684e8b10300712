import { defineConfig } from '@playwright/test';

export default defineConfig({
  // One worker: three or four browsers in a call are what two cores carry.
  workers: 1,
  fullyParallel: false,
  // A test that passes on the second try has found something.
  retries: 0,
  forbidOnly: true,
  timeout: 90_000,
  expect: { timeout: 15_000 },
  globalSetup: './stage/audio-sink.ts',
  outputDir: 'test-results',
  reporter: [['list'], ['json', { outputFile: 'report/results.json' }]],
  projects: [
    { name: 'stories', testDir: 'specs' },
    { name: 'bench', testDir: 'bench', timeout: 600_000 },
    { name: 'shots', testDir: 'shots' },
  ],
});
