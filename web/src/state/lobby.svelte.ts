/** The lobby: what one is about to bring into the room. */

import {
  browserDevices,
  type DeviceHost,
  type DeviceKind,
  type DeviceProblem,
  isProblem,
  openDevice,
  openDevices,
  type OpenedDevices,
} from '../media/devices';
import type { Preferences } from './preferences';

/** One device's switch. */
export interface DeviceSwitch {
  /** What the person wants. */
  readonly on: boolean;
  /** The browser is asking, or the device is starting. */
  readonly opening: boolean;
  readonly track: MediaStreamTrack | undefined;
  readonly problem: DeviceProblem | undefined;
}

/** What the lobby hands to the call. */
export interface Luggage {
  readonly camera: DeviceSwitch;
  readonly microphone: DeviceSwitch;
  /** Devices still being opened; they follow into the call. Never rejects. */
  readonly late: Promise<OpenedDevices>;
}

const IDLE: DeviceSwitch = { on: false, opening: false, track: undefined, problem: undefined };

export class Lobby {
  room = $state('');
  name = $state('');
  camera = $state.raw<DeviceSwitch>(IDLE);
  microphone = $state.raw<DeviceSwitch>(IDLE);

  /** Rises whenever the devices leave the lobby, so that an answer that comes later is recognised as stale. */
  #generation = 0;
  #late: Promise<OpenedDevices> = Promise.resolve({});

  readonly #host: DeviceHost;

  /**
   * @param preferences What was remembered.
   * @param room The room of the address; empty takes the remembered one.
   * @param host The browser's devices.
   */
  constructor(preferences: Preferences, room: string, host: DeviceHost = browserDevices()) {
    this.#host = host;
    this.room = room || preferences.room;
    this.name = preferences.name;
    this.camera = { ...IDLE, on: preferences.cameraOn };
    this.microphone = { ...IDLE, on: preferences.microphoneOn };
  }

  /** Both names without surrounding blanks; empty where one is missing. */
  get trimmed(): { readonly room: string; readonly name: string } {
    return { room: this.room.trim(), name: this.name.trim() };
  }

  /** Opens the devices that should be on. */
  async open(): Promise<void> {
    const wanted = { camera: this.camera.on, microphone: this.microphone.on };
    if (wanted.camera) this.camera = { ...this.camera, opening: true };
    if (wanted.microphone) this.microphone = { ...this.microphone, opening: true };
    const opening = openDevices(wanted, this.#host);
    this.#late = opening;
    const generation = this.#generation;
    const opened = await opening;
    if (generation !== this.#generation) return;
    this.#late = Promise.resolve({});
    if (opened.camera) this.#settle('camera', opened.camera);
    if (opened.microphone) this.#settle('microphone', opened.microphone);
  }

  /** Turns a device on or off; off releases it, so that its light goes out. */
  async toggle(kind: DeviceKind): Promise<void> {
    const device = this[kind];
    if (device.on && !device.problem) {
      device.track?.stop();
      this[kind] = IDLE;
      return;
    }
    this[kind] = { ...IDLE, on: true, opening: true };
    const generation = this.#generation;
    const opening = openDevice(kind, this.#host);
    const before = this.#late;
    this.#late = Promise.all([before, opening]).then(([others, opened]) => ({ ...others, [kind]: opened }));
    const opened = await opening;
    if (generation === this.#generation) this.#settle(kind, opened);
  }

  /** Gives the devices away: from here on the call owns them. */
  handOver(): Luggage {
    this.#generation += 1;
    const luggage: Luggage = { camera: this.camera, microphone: this.microphone, late: this.#late };
    this.#late = Promise.resolve({});
    this.camera = { ...IDLE, on: luggage.camera.on && !luggage.camera.problem };
    this.microphone = { ...IDLE, on: luggage.microphone.on && !luggage.microphone.problem };
    return luggage;
  }

  #settle(kind: DeviceKind, opened: MediaStreamTrack | DeviceProblem): void {
    const device = this[kind];
    if (isProblem(opened)) {
      this[kind] = { ...IDLE, on: device.on, problem: opened };
    } else if (!device.on || device.track) {
      // Switched off, or off and on again, while the device was starting.
      opened.stop();
    } else {
      this[kind] = { ...IDLE, on: true, track: opened };
      opened.addEventListener('ended', () => {
        if (this[kind].track !== opened) return;
        this[kind] = { ...IDLE, on: true, problem: { kind, cause: 'missing', detail: '' } };
      });
    }
  }
}
