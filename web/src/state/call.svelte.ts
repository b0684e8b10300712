/** One call, from pressing Join until it ends. */

import {
  type DeviceKind,
  type DeviceProblem,
  isProblem,
  openDevice,
  type OpenedDevices,
} from '../media/devices';
import { type Ending, endingOfError } from '../room/ending';
import { loadEngine } from '../room/engine';
import { playableTrack } from '../room/participant';
import { Session, type SessionView } from '../room/session';
import type { Admission, TokenSource } from '../room/token';
import type { DeviceSwitch, Luggage } from './lobby.svelte';

export interface CallEvents {
  /** Something to tell the person while the call goes on. */
  onDeviceProblem(problem: DeviceProblem): void;
  /** The person switched a device for good (not by holding a key). */
  onDeviceChoice(kind: DeviceKind, on: boolean): void;
  onEnding(call: Call, ending: Ending): void;
}

const KINDS = ['camera', 'microphone'] as const;

export class Call {
  view: SessionView = $state.raw({ phase: 'connecting', participants: [], soundAllowed: true });
  /** True while Space is held to talk. */
  talking = $state(false);
  /** True once the room has been reached, however it went on. */
  reached = false;
  readonly admission: Admission;

  readonly #events: CallEvents;
  #session: Session | undefined;
  #ended = false;
  /** Devices not yet handed to a session. */
  readonly #waiting: Record<DeviceKind, MediaStreamTrack | undefined> = {
    camera: undefined,
    microphone: undefined,
  };
  readonly #wanted: Record<DeviceKind, boolean>;
  readonly #switching: Record<DeviceKind, boolean> = { camera: false, microphone: false };

  constructor(admission: Admission, luggage: Luggage, events: CallEvents) {
    this.admission = admission;
    this.#events = events;
    this.#wanted = { camera: isWanted(luggage.camera), microphone: isWanted(luggage.microphone) };
    for (const kind of KINDS) {
      this.#waiting[kind] = luggage[kind].track;
    }
    this.#showSelf();
    void luggage.late.then((opened) => this.#takeLate(opened, luggage));
  }

  /** Whether one's own device is on, as the others see it. */
  isOn(kind: DeviceKind): boolean {
    const self = this.view.participants[0];
    return kind === 'camera' ? self?.cameraOn === true : self?.microphoneOn === true;
  }

  /** Connects. Everything that can be asked for at once is: the token, the engine and the devices. */
  async start(tokens: TokenSource): Promise<void> {
    try {
      const [engine, grant] = await Promise.all([loadEngine(), tokens.grant(this.admission)]);
      if (this.#ended) return;
      const session = new Session(engine, this.admission.name, {
        onView: (view) => {
          this.view = view;
          this.reached ||= view.phase === 'connected';
        },
        onDeviceProblem: (problem) => this.#events.onDeviceProblem(problem),
        onEnding: (ending) => this.#end(ending),
      });
      this.#session = session;
      const joining = session.join(grant);
      for (const [kind, track] of this.#unload()) void session.publish(kind, track);
      await joining;
    } catch (error) {
      // The session reports its own failures; here only the token or the engine can have been missing.
      this.#end(endingOfError(error, { connection: () => undefined, disconnect: () => undefined }));
    }
  }

  /** Switches a device and remembers the choice. */
  toggle(kind: DeviceKind): void {
    const on = !this.#wanted[kind];
    this.#events.onDeviceChoice(kind, on);
    void this.#switch(kind, on);
  }

  /** Space went down: talk while it is held, if muted. */
  startTalking(): void {
    if (this.talking || this.isOn('microphone')) return;
    this.talking = true;
    void this.#switch('microphone', true);
  }

  /** Space went up, or the window lost the keyboard. */
  stopTalking(): void {
    if (!this.talking) return;
    this.talking = false;
    void this.#switch('microphone', false);
  }

  /** From a click: lets the browser play sound. */
  allowSound(): void {
    void this.#session?.allowSound();
  }

  /** Leaves at once. */
  leave(): void {
    const session = this.#session;
    this.#end({ code: 'left', message: '' });
    void session?.leave();
  }

  #end(ending: Ending): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const [, track] of this.#unload()) track.stop();
    this.#events.onEnding(this, ending);
  }

  /** One switch at a time per device: the last wish wins, however fast someone clicks. */
  async #switch(kind: DeviceKind, on: boolean): Promise<void> {
    this.#wanted[kind] = on;
    if (this.#switching[kind]) return;
    this.#switching[kind] = true;
    for (let applied = !on; applied !== this.#wanted[kind] && !this.#ended;) {
      applied = this.#wanted[kind];
      const problem = await this.#apply(kind, applied);
      if (problem) {
        this.#wanted[kind] = false;
        applied = false;
        this.#events.onDeviceProblem(problem);
      }
    }
    this.#switching[kind] = false;
  }

  async #apply(kind: DeviceKind, on: boolean): Promise<DeviceProblem | undefined> {
    if (this.#session) return this.#session.setDevice(kind, on);
    if (on) {
      const opened = await openDevice(kind);
      if (isProblem(opened)) return opened;
      this.#takeDevice(kind, opened);
    } else {
      this.#waiting[kind]?.stop();
      this.#waiting[kind] = undefined;
      this.#showSelf();
    }
    return undefined;
  }

  /** Devices whose prompt was answered after Join was pressed. */
  #takeLate(opened: OpenedDevices, luggage: Luggage): void {
    for (const kind of KINDS) {
      const device = opened[kind];
      const { opening, track } = luggage[kind];
      if (device === undefined || device === track) continue;
      if (isProblem(device)) {
        if (!opening || this.#ended) continue;
        this.#wanted[kind] = false;
        this.#events.onDeviceProblem(device);
      } else if (opening && device.readyState === 'live') {
        this.#takeDevice(kind, device);
      } else {
        // Switched off in the lobby while it was still starting.
        device.stop();
      }
    }
  }

  /** The waiting devices, which wait no longer. */
  #unload(): [DeviceKind, MediaStreamTrack][] {
    const loaded: [DeviceKind, MediaStreamTrack][] = [];
    for (const kind of KINDS) {
      const track = this.#waiting[kind];
      if (track) loaded.push([kind, track]);
      this.#waiting[kind] = undefined;
    }
    return loaded;
  }

  /** A device that has just opened goes where it is wanted by now. */
  #takeDevice(kind: DeviceKind, device: MediaStreamTrack): void {
    if (this.#ended || !this.#wanted[kind]) {
      device.stop();
    } else if (this.#session) {
      void this.#session.publish(kind, device);
    } else {
      this.#waiting[kind] = device;
      this.#showSelf();
    }
  }

  /** One's own tile, before there is a session to ask. */
  #showSelf(): void {
    if (this.#session) return;
    const { camera, microphone } = this.#waiting;
    this.view = {
      phase: 'connecting',
      soundAllowed: true,
      participants: [
        {
          identity: this.admission.identity,
          name: this.admission.name,
          isSelf: true,
          video: camera && playableTrack(camera),
          audio: undefined,
          microphoneOn: microphone !== undefined,
          cameraOn: camera !== undefined,
          speaking: false,
          lost: false,
        },
      ],
    };
  }
}

function isWanted(device: DeviceSwitch): boolean {
  return device.on && !device.problem;
}
