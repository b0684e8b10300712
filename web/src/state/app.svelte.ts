/** The page as a whole: which screen is shown, and how one leads to the next. */

import type { DeviceKind, DeviceProblem } from '../media/devices';
import type { Ending } from '../room/ending';
import { loadEngine, warmUpTransport } from '../room/engine';
import { type Admission, TokenSource } from '../room/token';
import { Call } from './call.svelte';
import { describeDevice, describeEnding, type Failure } from './failure';
import { browserIdentity, tabIdentity } from './identity';
import { Lobby, type Luggage } from './lobby.svelte';
import { markJoinClick } from './marks';
import { Notices } from './notices.svelte';
import { browserStore, loadPreferences, savePreferences } from './preferences';
import { roomPath, routeOf } from './route';

export type Screen =
  | { readonly kind: 'lobby'; readonly lobby: Lobby; readonly failure: Failure | undefined }
  | { readonly kind: 'call'; readonly call: Call }
  | { readonly kind: 'ended'; readonly failure: Failure; readonly admission: Admission }
  | { readonly kind: 'missing' };

export class App {
  screen: Screen = $state.raw({ kind: 'missing' });
  readonly notices = new Notices();

  readonly #store = browserStore();
  readonly #tokens = new TokenSource(
    (input, init) => fetch(input, init),
    () => performance.now(),
  );
  #identity: string | undefined;
  /** The call under way, which begins a moment before its screen is shown. */
  #call: Call | undefined;
  readonly #identityReady: Promise<string>;

  constructor() {
    this.#identityReady = tabIdentity(browserIdentity()).then((identity) => (this.#identity = identity));
    this.showAddress();
  }

  /** Shows what the address bar names; also the answer to Back and Forward. */
  showAddress(): void {
    this.#call?.leave();
    if (this.screen.kind === 'lobby') stopAll(this.screen.lobby.handOver());
    const route = routeOf(location.pathname);
    if (route.page === 'missing') this.screen = { kind: 'missing' };
    else this.#showLobby(route.room, undefined);
  }

  /** After the first paint: fetches the media engine, so that Join finds it there. */
  warmUp(): void {
    loadEngine().then(warmUpTransport, () => {
      // Join tries again, and says so if it fails.
    });
  }

  /** Asks for a token ahead of Join, wherever both names are there. */
  prepare(): void {
    if (this.screen.kind !== 'lobby' || this.#identity === undefined) return;
    const { room, name } = this.screen.lobby.trimmed;
    if (room && name) this.#tokens.prepare({ room, name, identity: this.#identity });
  }

  /** Join was pressed with both names filled in. */
  join(): void {
    if (this.screen.kind !== 'lobby' || this.#call) return;
    const { lobby } = this.screen;
    const { room, name } = lobby.trimmed;
    if (!room || !name) return;
    markJoinClick();
    const luggage = lobby.handOver();
    savePreferences(this.#store, {
      room,
      name,
      cameraOn: luggage.camera.on,
      microphoneOn: luggage.microphone.on,
    });
    const path = roomPath(room);
    if (location.pathname !== path) history.pushState(null, '', path);
    void this.#enter({ room, name }, luggage);
  }

  /** From the page after a call: back in, with the devices as they were. */
  rejoin(): void {
    if (this.screen.kind !== 'ended' || this.#call) return;
    markJoinClick();
    const { room, name } = this.screen.admission;
    const lobby = new Lobby(loadPreferences(this.#store), room);
    void lobby.open();
    void this.#enter({ room, name }, lobby.handOver());
  }

  /** The start page, without loading anything again. */
  goHome(): void {
    history.pushState(null, '', '/');
    this.showAddress();
  }

  async #enter(admission: Pick<Admission, 'room' | 'name'>, luggage: Luggage): Promise<void> {
    // Normally known long before anyone can press Join.
    const identity = this.#identity ?? (await this.#identityReady);
    if (this.#call) return;
    const call = new Call({ ...admission, identity }, luggage, {
      onDeviceProblem: (problem) => this.#tellDeviceProblem(problem),
      onDeviceChoice: (kind, on) => this.#rememberDevice(kind, on),
      onEnding: (ended, ending) => this.#showEnding(ended, ending),
    });
    this.#call = call;
    void call.start(this.#tokens);
    // Building the screen keeps the browser busy for tens of milliseconds. The attempt to connect goes first, so
    // that the network works meanwhile; the person waits less than a frame longer for the screen.
    await new Promise((resolve) => setTimeout(resolve));
    if (this.#call !== call) return;
    this.notices.clear();
    this.screen = { kind: 'call', call };
  }

  #showEnding(call: Call, ending: Ending): void {
    if (this.#call !== call) return;
    this.#call = undefined;
    this.notices.clear();
    const failure = describeEnding(ending);
    // Someone who never got in is still at the door, with the form to correct; the others come from a call.
    if (call.reached || ending.code === 'left') {
      this.screen = { kind: 'ended', failure, admission: call.admission };
    } else {
      this.#showLobby(call.admission.room, failure);
    }
  }

  #showLobby(room: string, failure: Failure | undefined): void {
    const lobby = new Lobby(loadPreferences(this.#store), room);
    this.screen = { kind: 'lobby', lobby, failure };
    void lobby.open();
  }

  #tellDeviceProblem(problem: DeviceProblem): void {
    const { title, remedy, quoted } = describeDevice(problem, location.origin);
    this.notices.tell({ tone: 'problem', title, text: [quoted, remedy].filter(Boolean).join(' ') });
  }

  #rememberDevice(kind: DeviceKind, on: boolean): void {
    const preferences = loadPreferences(this.#store);
    savePreferences(this.#store, {
      ...preferences,
      ...(kind === 'camera' ? { cameraOn: on } : { microphoneOn: on }),
    });
  }
}

function stopAll(luggage: Luggage): void {
  luggage.camera.track?.stop();
  luggage.microphone.track?.stop();
  void luggage.late.then(({ camera, microphone }) => {
    for (const device of [camera, microphone]) if (device && 'stop' in device) device.stop();
  });
}
