/** Why a call did not start, or why it stopped: one closed set for every way livekit-client reports it. */

import { TokenError } from './token';

/** Each code is one situation a person can be in, with its own words in `state/failure.ts`. */
export type EndingCode =
  | 'left'
  | 'token-unreachable'
  | 'token-refused'
  | 'token-malformed'
  | 'engine-unavailable'
  | 'unsupported-browser'
  | 'not-allowed'
  | 'room-missing'
  | 'signal-unreachable'
  | 'signal-timeout'
  | 'media-failed'
  | 'duplicate-identity'
  | 'removed'
  | 'room-closed'
  | 'server-shutdown'
  | 'connection-lost'
  | 'server-error'
  | 'unknown';

/** One ending, with the server's own words where it gave some. */
export interface Ending {
  readonly code: EndingCode;
  /** The server's or the browser's explanation, shown as text under ours; empty where there is none. */
  readonly message: string;
}

/** Thrown where the media engine's code could not be loaded (offline, or a deploy replaced the file). */
export class EngineLoadError extends Error {
  override readonly name = 'EngineLoadError';
}

/**
 * The ending behind livekit-client's `DisconnectReason`.
 *
 * @param reason The reason's name in the protocol (`livekit_models.proto`), such as `SERVER_SHUTDOWN`.
 */
export function endingOfDisconnect(reason: string | undefined): Ending {
  return { code: DISCONNECT_CODES[reason ?? ''] ?? 'connection-lost', message: '' };
}

/** Turns the numbers inside livekit-client's errors into their names. */
export interface ReasonNames {
  /** Names of `ConnectionErrorReason`. */
  connection(reason: number): string | undefined;
  /** Names of the protocol's `DisconnectReason`. */
  disconnect(reason: number): string | undefined;
}

/**
 * The ending behind a failed attempt to join.
 *
 * @param error Whatever the attempt rejected with: a {@link TokenError}, an {@link EngineLoadError} or
 *   livekit-client's `ConnectionError`.
 * @param names How livekit-client numbers its reasons.
 */
export function endingOfError(error: unknown, names: ReasonNames): Ending {
  if (error instanceof TokenError) return endingOfRefusal(error);
  if (error instanceof EngineLoadError) return { code: 'engine-unavailable', message: '' };
  if (!isConnectionError(error)) {
    const message = error instanceof Error ? error.message : String(error);
    const unsupported = /supported on this browser|WebRTC isn't detected/i.test(message);
    return { code: unsupported ? 'unsupported-browser' : 'unknown', message };
  }
  const message = error.message.replace(/^could not establish signal connection: /, '');
  // Not `reasonName`: livekit-client rewrites `reason` on its way up and leaves the name behind.
  switch (names.connection(error.reason)) {
    case 'NotAllowed':
      return { code: error.status === 404 ? 'room-missing' : 'not-allowed', message };
    case 'LeaveRequest':
      return endingOfDisconnect(
        typeof error.context === 'number' ? names.disconnect(error.context) : undefined,
      );
    case 'Cancelled':
      return { code: 'left', message: '' };
    case 'Timeout':
      return { code: 'signal-timeout', message: '' };
    case 'InternalError':
      // livekit-client words a peer connection that never connects only in the message.
      return /pc connection|peer ?connection/i.test(message)
        ? { code: 'media-failed', message: '' }
        : { code: 'server-error', message };
    default:
      return { code: 'signal-unreachable', message: '' };
  }
}

const DISCONNECT_CODES: Readonly<Record<string, EndingCode>> = {
  CLIENT_INITIATED: 'left',
  DUPLICATE_IDENTITY: 'duplicate-identity',
  SERVER_SHUTDOWN: 'server-shutdown',
  PARTICIPANT_REMOVED: 'removed',
  ROOM_DELETED: 'room-closed',
  ROOM_CLOSED: 'room-closed',
  STATE_MISMATCH: 'server-error',
  JOIN_FAILURE: 'server-error',
  MIGRATION: 'server-shutdown',
  MEDIA_FAILURE: 'media-failed',
};

interface ConnectionErrorShape extends Error {
  readonly reason: number;
  readonly status?: number;
  readonly context?: unknown;
}

function isConnectionError(error: unknown): error is ConnectionErrorShape {
  return error instanceof Error && error.name === 'ConnectionError' && 'reason' in error;
}

function endingOfRefusal(error: TokenError): Ending {
  const { refusal } = error;
  switch (refusal.kind) {
    case 'unreachable':
      return { code: 'token-unreachable', message: '' };
    case 'malformed':
      return { code: 'token-malformed', message: '' };
    case 'refused':
      return { code: 'token-refused', message: refusal.message };
  }
}
