import { expect, type Locator, type Page } from '@playwright/test';
import type { Reading } from '../in-page/reader';
import { read, showsPainter, standsStill } from './pictures';

/** One person at one page: what they do, and what they really see and hear. */
export class Participant {
  constructor(
    readonly page: Page,
    readonly name: string,
    /** The number in this person's frames and tone. */
    readonly painter: number,
    readonly origin: string,
  ) {}

  /** Opens the invitation link, gives the name and joins. */
  async join(room: string): Promise<this> {
    await this.open(room);
    await this.nameBox.fill(this.name);
    await this.joinButton.click();
    await expect(this.leaveButton).toBeVisible();
    return this;
  }

  async open(room: string): Promise<this> {
    await this.page.goto(`${this.origin}/room/${encodeURIComponent(room)}`);
    return this;
  }

  get roomBox(): Locator {
    return this.page.getByRole('textbox', { name: 'Room name', exact: true });
  }

  get nameBox(): Locator {
    return this.page.getByRole('textbox', { name: 'Your name', exact: true });
  }

  get joinButton(): Locator {
    return this.button('Join');
  }

  get leaveButton(): Locator {
    return this.button('Leave');
  }

  button(name: string): Locator {
    return this.page.getByRole('button', { name, exact: true });
  }

  /** The tile of someone by name, or one's own. */
  tile(of: string | Participant = this): Locator {
    return this.page.getByRole('group', { name: this.label(of), exact: true });
  }

  video(of: string | Participant = this): Locator {
    return this.tile(of).locator('video');
  }

  /** Reads someone's tile for a moment; nothing is read when the tile has no video. */
  read(of: string | Participant = this, frames?: number, milliseconds?: number): Promise<Reading> {
    return read(this.video(of), frames, milliseconds);
  }

  /** The painters whose tones come out of this page. */
  hears(): Promise<number[]> {
    return this.page.evaluate(() => window.roomfulProbe.hears());
  }

  /** How many of this page's own device tracks are live: 0 means the light is off. */
  live(kind: 'audio' | 'video'): Promise<number> {
    return this.page.evaluate((wanted) => window.roomfulProbe.liveTracks(wanted), kind);
  }

  /** Asserts that this person sees and hears exactly these others (and themselves, silently). */
  async meets(others: Participant[]): Promise<void> {
    for (const other of others) await expect(this.tile(other), `${this.name} has a tile for ${other.name}`).toBeVisible();
    await expect(this.page.getByRole('group').filter({ has: this.page.locator('video') })).toHaveCount(others.length + 1);
    for (const other of [...others, this]) await this.sees(other);
    await expect.poll(() => this.hears(), `tones ${this.name} hears`).toEqual(others.map((other) => other.painter).sort(ascending));
  }

  /** Asserts that someone's tile shows what they paint, and nothing else. */
  async sees(other: Participant): Promise<void> {
    await showsPainter(this.video(other), other.painter, `${this.name} sees ${other.name}`);
  }

  /** Asserts that someone's picture has stopped: their tile shows no video, or one without new frames. */
  async seesNoPictureOf(other: Participant): Promise<void> {
    await standsStill(this.video(other), `${this.name} sees no picture of ${other.name}`);
  }

  /** Asserts that someone is gone: tile, name in the list, and tone. */
  async misses(other: Participant): Promise<void> {
    await expect(this.tile(other), `${this.name} has no tile for ${other.name}`).toHaveCount(0, { timeout: 20_000 });
    await expect(this.people.getByText(other.name)).toHaveCount(0);
    await expect.poll(() => this.hears(), `${this.name} no longer hears ${other.name}`).not.toContain(other.painter);
  }

  get people(): Locator {
    return this.page.getByRole('list', { name: 'People', exact: true });
  }

  private label(of: string | Participant): string {
    if (of === this) return `${this.name} (you)`;
    return typeof of === 'string' ? of : of.name;
  }
}

/** Everyone goes to the room, each at their own pace. */
export async function allJoin(room: string, participants: Participant[]): Promise<void> {
  await Promise.all(participants.map((participant) => participant.join(room)));
}

/** Asserts that everyone sees and hears exactly everyone else. */
export async function allMeet(participants: Participant[]): Promise<void> {
  // Each page reads one tile at a time, but the pages need not wait for each other.
  await Promise.all(
    participants.map((participant) => participant.meets(participants.filter((other) => other !== participant))),
  );
}

function ascending(a: number, b: number): number {
  return a - b;
}
