import { ConnectionError, ConnectionErrorReason, DisconnectReason } from 'livekit-client';
import { describe, expect, test } from 'vitest';

import { EngineLoadError, endingOfDisconnect, endingOfError } from '../room/ending';
import { TokenError } from '../room/token';
import { describeDevice, describeDevices, describeEnding } from './failure';

const names = {
  connection: (reason: number): string | undefined => ConnectionErrorReason[reason],
  disconnect: (reason: number): string | undefined => DisconnectReason[reason],
};

/** What `Room.connect` rejects with: a generic error on which only the number is corrected. */
function rewritten(reason: ConnectionErrorReason, status: number): ConnectionError {
  const error = ConnectionError.serverUnreachable('could not establish signal connection: invalid token');
  return Object.assign(error, { reason, status });
}

describe('describeEnding', () => {
  test.each([
    ['the token server is down', new TokenError({ kind: 'unreachable' }), 'token-unreachable'],
    [
      'the token server says no',
      new TokenError({ kind: 'refused', status: 400, code: 'invalid_name', message: 'too long' }),
      'token-refused',
    ],
    ['the token server is something else', new TokenError({ kind: 'malformed' }), 'token-malformed'],
    ['the engine does not load', new EngineLoadError(), 'engine-unavailable'],
    [
      'the signalling server refuses the token',
      ConnectionError.notAllowed('invalid token', 401),
      'not-allowed',
    ],
    [
      'the refusal comes up through Room.connect',
      rewritten(ConnectionErrorReason.NotAllowed, 401),
      'not-allowed',
    ],
    ['the room does not exist', ConnectionError.notAllowed('no room', 404), 'room-missing'],
    ['no signalling server answers', ConnectionError.serverUnreachable('failed'), 'signal-unreachable'],
    ['the WebSocket breaks', ConnectionError.websocket('closed'), 'signal-unreachable'],
    ['signalling is too slow', ConnectionError.timeout('timed out'), 'signal-timeout'],
    ['ICE fails', ConnectionError.internal('could not establish pc connection'), 'media-failed'],
    ['the server fails', ConnectionError.internal('boom'), 'server-error'],
    [
      'the server sends us away while joining',
      ConnectionError.leaveRequest('bye', DisconnectReason.SERVER_SHUTDOWN),
      'server-shutdown',
    ],
    ['something is thrown that is no error', 'odd', 'unknown'],
  ])('has its own words when %s', (_situation, error, code) => {
    const failure = describeEnding(endingOfError(error, names));
    expect(failure.code).toBe(code);
    expect(failure.title).not.toBe('');
    expect(failure.detail + failure.remedy).not.toBe('');
  });

  test.each([
    ['DUPLICATE_IDENTITY', 'duplicate-identity'],
    ['PARTICIPANT_REMOVED', 'removed'],
    ['ROOM_DELETED', 'room-closed'],
    ['SERVER_SHUTDOWN', 'server-shutdown'],
    ['MEDIA_FAILURE', 'media-failed'],
  ] as const)('maps the protocol’s %s to %s', (reason, code) => {
    expect(endingOfDisconnect(DisconnectReason[DisconnectReason[reason]]).code).toBe(code);
  });

  test('a reason this page has never heard of reads as a lost connection', () => {
    expect(endingOfDisconnect('FROM_THE_FUTURE').code).toBe('connection-lost');
    expect(endingOfDisconnect(undefined).code).toBe('connection-lost');
  });

  test('a refused token is explained in the server’s own words', () => {
    const error = new TokenError({
      kind: 'refused',
      status: 400,
      code: 'x',
      message: 'Names have 64 letters.',
    });
    expect(describeEnding(endingOfError(error, names)).detail).toBe('Names have 64 letters.');
  });
});

describe('describeDevice', () => {
  test('plain HTTP from another machine names the address and says that one may still join', () => {
    const failure = describeDevice(
      { kind: 'camera', cause: 'insecure', detail: '' },
      'http://192.0.2.7:7880',
    );
    expect(failure.detail).toContain('http://192.0.2.7:7880');
    expect(failure.detail).toContain('You can join without');
  });

  test('says which device was refused', () => {
    expect(describeDevice({ kind: 'microphone', cause: 'refused', detail: '' }, '').title).toBe(
      'Your microphone is blocked',
    );
  });

  test('one cause for both devices is one message', () => {
    const problems = (['camera', 'microphone'] as const).map((kind) => ({
      kind,
      cause: 'refused' as const,
      detail: '',
    }));
    expect(describeDevices(problems, '').map((failure) => failure.title)).toEqual([
      'Your camera and microphone are blocked',
    ]);
  });
});
