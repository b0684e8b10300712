import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { MOST_NOTICES, Notices, PROBLEM_MS, QUIET_MS } from './notices.svelte';

const titles = (notices: Notices): string[] => notices.shown.map(({ title }) => title);

describe('Notices', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  test('a confirmation goes by itself, a problem stays longer', () => {
    const notices = new Notices();
    notices.tell({ tone: 'quiet', title: 'Copied', text: '' });
    notices.tell({ tone: 'problem', title: 'No camera', text: '' });
    vi.advanceTimersByTime(QUIET_MS);
    expect(titles(notices)).toEqual(['No camera']);
    vi.advanceTimersByTime(PROBLEM_MS);
    expect(titles(notices)).toEqual([]);
  });

  test('the same notice again starts its time anew and is shown once', () => {
    const notices = new Notices();
    notices.tell({ tone: 'quiet', title: 'Copied', text: '' });
    vi.advanceTimersByTime(QUIET_MS - 1);
    notices.tell({ tone: 'quiet', title: 'Copied', text: '' });
    vi.advanceTimersByTime(QUIET_MS - 1);
    expect(titles(notices)).toEqual(['Copied']);
  });

  test('the oldest gives way when there are too many', () => {
    const notices = new Notices();
    for (let index = 0; index <= MOST_NOTICES; index += 1) {
      notices.tell({ tone: 'problem', title: String(index), text: '' });
    }
    expect(titles(notices)).toEqual(['1', '2', '3']);
  });
});
