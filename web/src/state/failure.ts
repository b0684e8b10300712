/** Words for everything that can go wrong: what happened, whose side, what to do. Pure. */

import type { DeviceCause, DeviceKind, DeviceProblem } from '../media/devices';
import type { Ending, EndingCode } from '../room/ending';

/** Where the cause lies, so that nobody searches on the wrong side. */
export type Side = 'you' | 'server' | 'network' | 'nobody';

export interface Failure {
  readonly code: string;
  readonly side: Side;
  /** What happened, as a short sentence without a full stop. */
  readonly title: string;
  /** One or two sentences more. */
  readonly detail: string;
  /** What to do now. */
  readonly remedy: string;
  /** The server's or browser's own words, shown as a quotation; empty where there are none. */
  readonly quoted: string;
}

type Words = Pick<Failure, 'side' | 'title' | 'detail' | 'remedy'>;

/** The words for the end of a call, or of an attempt to join. */
export function describeEnding(ending: Ending): Failure {
  if (ending.code === 'token-refused' && ending.message) {
    // The server knows exactly what it did not like, and says what to do about it.
    const { side, title } = ENDINGS['token-refused'];
    return { code: ending.code, side, title, detail: ending.message, remedy: '', quoted: '' };
  }
  return { code: ending.code, quoted: ending.message, ...ENDINGS[ending.code] };
}

/**
 * The words for a camera or microphone that cannot be used.
 *
 * @param origin The page's origin, such as `http://192.168.1.5:7880`, named where the remedy needs it.
 */
export function describeDevice(problem: DeviceProblem, origin: string): Failure {
  const words = DEVICES[problem.cause](NOUNS[problem.kind], origin);
  return {
    code: `${problem.kind}-${problem.cause}`,
    side: 'you',
    quoted: problem.cause === 'failed' ? problem.detail : '',
    ...words,
  };
}

/**
 * The words for several problems at once; the same cause for both devices is said once.
 *
 * @param problems At most one per device.
 */
export function describeDevices(problems: readonly DeviceProblem[], origin: string): readonly Failure[] {
  const [first, second] = problems;
  if (!first || !second || first.cause !== second.cause) {
    return problems.map((problem) => describeDevice(problem, origin));
  }
  const words = DEVICES[first.cause](BOTH, origin);
  const quoted = first.cause === 'failed' ? first.detail : '';
  return [{ code: `devices-${first.cause}`, side: 'you', quoted, ...words }];
}

/** How the remedy names who is at fault; empty where naming a side would help nobody. */
export function sideLabel(side: Side): string {
  return { you: 'On your side', server: 'On the server’s side', network: 'On the network', nobody: '' }[side];
}

const ENDINGS: Readonly<Record<EndingCode, Words>> = {
  left: {
    side: 'nobody',
    title: 'You left the call',
    detail: 'Your camera and microphone are off.',
    remedy: 'Rejoin whenever you like.',
  },
  'token-unreachable': {
    side: 'server',
    title: 'The server does not answer',
    detail: 'Nothing was sent to the room. Either the server has stopped or your network is down.',
    remedy:
      'Check that you are online, then press Join again. If it stays like this, tell whoever runs the server.',
  },
  'token-refused': {
    side: 'server',
    title: 'The server did not let you in',
    detail: 'It refused to admit you to this room.',
    remedy: 'Check the room name and your name, or ask whoever invited you.',
  },
  'token-malformed': {
    side: 'server',
    title: 'The server gave an answer this page does not understand',
    detail: 'The page and the server may be of different versions.',
    remedy: 'Reload the page. If it stays like this, tell whoever runs the server.',
  },
  'engine-unavailable': {
    side: 'network',
    title: 'Part of this page could not be loaded',
    detail: 'The file that carries sound and pictures did not arrive; the server may just have been updated.',
    remedy: 'Reload the page and join again.',
  },
  'unsupported-browser': {
    side: 'you',
    title: 'This browser cannot join calls',
    detail: 'It has no WebRTC, or an extension has turned it off.',
    remedy: 'Use a current Chrome, Edge, Firefox or Safari, or turn off extensions that block WebRTC.',
  },
  'not-allowed': {
    side: 'server',
    title: 'The server refused your pass to this room',
    detail: 'It may have expired, or belong to another room.',
    remedy: 'Press Join again to get a new one.',
  },
  'room-missing': {
    side: 'server',
    title: 'There is no such room',
    detail: 'This server does not create rooms by itself, and nobody has created this one.',
    remedy: 'Check the room name, or ask whoever invited you for the link.',
  },
  'signal-unreachable': {
    side: 'network',
    title: 'Could not connect to the room',
    detail: 'The server’s page loads, but the connection that carries the call (a WebSocket) was not made.',
    remedy: 'Try again. On an office network a proxy may block WebSockets: try another network.',
  },
  'signal-timeout': {
    side: 'network',
    title: 'Connecting took too long',
    detail: 'The server did not finish letting you in.',
    remedy: 'Check your connection and try again.',
  },
  'media-failed': {
    side: 'network',
    title: 'Sound and pictures cannot get through',
    detail:
      'You reached the server, but the path for media was blocked, usually by a firewall that stops UDP.',
    remedy: 'Try another network, or ask whoever runs the server to open its media port.',
  },
  'duplicate-identity': {
    side: 'you',
    title: 'You joined from somewhere else',
    detail: 'The same person entered this room in another tab or window, so this one stepped back.',
    remedy: 'Go on there, or rejoin here.',
  },
  removed: {
    side: 'nobody',
    title: 'You were removed from the call',
    detail: 'Someone who looks after this room ended your participation.',
    remedy: 'Ask them before you rejoin.',
  },
  'room-closed': {
    side: 'nobody',
    title: 'The call has ended',
    detail: 'The room was closed for everyone.',
    remedy: 'Rejoin to open it again.',
  },
  'server-shutdown': {
    side: 'server',
    title: 'The server is restarting',
    detail: 'It ended all calls in an orderly way.',
    remedy: 'Wait a moment, then rejoin.',
  },
  'connection-lost': {
    side: 'network',
    title: 'The connection was lost',
    detail: 'We tried to bring you back for two minutes, without success.',
    remedy: 'Check that you are online, then rejoin.',
  },
  'server-error': {
    side: 'server',
    title: 'The server could not go on with the call',
    detail: 'Something went wrong there.',
    remedy: 'Try again. If it stays like this, tell whoever runs the server.',
  },
  unknown: {
    side: 'nobody',
    title: 'Something unexpected went wrong',
    detail: 'The call could not go on.',
    remedy: 'Reload the page and try again.',
  },
};

/** A device, or both, as the subject of a sentence. */
interface Noun {
  readonly name: string;
  readonly is: 'is' | 'are';
  readonly it: 'it' | 'them';
}

const NOUNS: Readonly<Record<DeviceKind, Noun>> = {
  camera: { name: 'camera', is: 'is', it: 'it' },
  microphone: { name: 'microphone', is: 'is', it: 'it' },
};

const BOTH: Noun = { name: 'camera and microphone', is: 'are', it: 'them' };

const ANYWAY = 'You can join without and still see and hear everyone.';

const DEVICES: Readonly<Record<DeviceCause, (noun: Noun, origin: string) => Omit<Words, 'side'>>> = {
  insecure: ({ name }, origin) => ({
    title: `No ${name} on this address`,
    detail: `Browsers give a page no ${name} over plain HTTP, and this one came from ${origin}. ${ANYWAY}`,
    remedy:
      'Open the page on the server’s own machine as http://localhost, or ask whoever runs it to set up HTTPS.',
  }),
  unsupported: ({ name }) => ({
    title: `This browser has no ${name} access`,
    detail: ANYWAY,
    remedy: 'Use a current Chrome, Edge, Firefox or Safari.',
  }),
  refused: ({ name, is, it }) => ({
    title: `Your ${name} ${is} blocked`,
    detail: `This browser does not give the page your ${name}. ${ANYWAY}`,
    remedy: `Click the icon left of the address, allow the ${name}, then turn ${it} on here.`,
  }),
  'refused-by-system': ({ name, it }) => ({
    title: `Your system blocks the ${name}`,
    detail: `The operating system keeps this browser from your ${name}. ${ANYWAY}`,
    remedy: `Allow this browser in your system’s privacy settings, then turn ${it} on here.`,
  }),
  missing: ({ name, it }) => ({
    title: `No ${name} found`,
    detail: ANYWAY,
    remedy: `Plug one in or switch it on, then turn ${it} on here.`,
  }),
  busy: ({ name, is, it }) => ({
    title: `Your ${name} ${is} in use`,
    detail: `Another program holds ${it}, or the start failed. ${ANYWAY}`,
    remedy: `Close other programs that use the ${name}, then turn ${it} on here.`,
  }),
  failed: ({ name, it }) => ({
    title: `Your ${name} did not start`,
    detail: ANYWAY,
    remedy: `Turn ${it} on again; if that fails, reload the page.`,
  }),
};
