import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect, test } from '../stage/test';

async function expectNoViolations(page: Page, where: string): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(' | ')}`);
  expect(told, where).toEqual([]);
}

for (const colorScheme of ['light', 'dark'] as const) {
  for (const viewport of [{ width: 1280, height: 720 }, { width: 390, height: 844 }]) {
    test(`axe finds nothing on any page (${colorScheme}, ${viewport.width} wide)`, async ({ person, room }) => {
      const context = { colorScheme, viewport, reducedMotion: 'reduce' } as const;
      const ann = await person('Ann', { context });
      await ann.page.goto(`${ann.origin}/`);
      await expect(ann.joinButton).toBeVisible();
      await expectNoViolations(ann.page, 'home');
      await ann.join(room);
      const ben = await (await person('Ben', { camera: 'missing', microphone: 'missing' })).join(room);
      await expect(ann.tile(ben)).toBeVisible();
      await expectNoViolations(ann.page, 'call');
      await ann.leaveButton.click();
      await expect(ann.button('Rejoin')).toBeVisible();
      await expectNoViolations(ann.page, 'leave');
      await ann.page.goto(`${ann.origin}/no/such/page`);
      await expect(ann.page.getByRole('link', { name: /home/i }).first()).toBeVisible();
      await expectNoViolations(ann.page, '404');
    });
  }
}

test('nothing overflows on a phone', async ({ person, room }) => {
  const ann = await person('Ann', { context: { viewport: { width: 360, height: 740 } } });
  const overflow = () => ann.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await ann.page.goto(`${ann.origin}/`);
  await expect(ann.joinButton).toBeVisible();
  expect(await overflow()).toBeLessThanOrEqual(0);
  await ann.join(room);
  expect(await overflow()).toBeLessThanOrEqual(0);
});
