import { describe, expect, test } from 'vitest';

import { roomPath, routeOf } from './route';

describe('routeOf', () => {
  test('the root is an empty lobby', () => {
    expect(routeOf('/')).toEqual({ page: 'lobby', room: '' });
  });

  test.each(['stand-up', 'a/b', 'Überraschung 🎉', '100%', '<img src=x>', '..', '?#'])(
    'every room name survives its own link: %s',
    (room) => {
      expect(routeOf(roomPath(room))).toEqual({ page: 'lobby', room });
    },
  );

  test.each(['/rooms', '/room/', '/room/a/b', '/room/%E0%A4%A'])('%s is no page', (path) => {
    expect(routeOf(path)).toEqual({ page: 'missing' });
  });
});
