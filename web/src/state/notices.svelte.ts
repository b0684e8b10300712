/** Short messages that come and go without taking the focus. */

export interface Notice {
  readonly tone: 'quiet' | 'problem';
  readonly title: string;
  readonly text: string;
}

export interface ShownNotice extends Notice {
  readonly id: number;
}

/** How long a confirmation stays, in milliseconds: long enough to read four words, short enough not to pile up. */
export const QUIET_MS = 3_000;

/** How long a problem stays, in milliseconds: it has a remedy to read, and can be closed earlier. */
export const PROBLEM_MS = 15_000;

/** More at once would cover the call; the oldest gives way. */
export const MOST_NOTICES = 3;

export class Notices {
  shown: readonly ShownNotice[] = $state.raw([]);
  #nextId = 0;

  /** Shows a notice and takes it away in time; the same title replaces its earlier self. */
  tell(notice: Notice): void {
    const id = this.#nextId++;
    const others = this.shown.filter(({ title }) => title !== notice.title);
    this.shown = [...others, { ...notice, id }].slice(-MOST_NOTICES);
    setTimeout(() => this.close(id), notice.tone === 'problem' ? PROBLEM_MS : QUIET_MS);
  }

  /** Takes one away; one that is already gone is fine. */
  close(id: number): void {
    this.shown = this.shown.filter((notice) => notice.id !== id);
  }

  clear(): void {
    this.shown = [];
  }
}
