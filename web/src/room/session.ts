/**
 * "Me in this room", across reconnections: wraps livekit-client's `Room` and reports it as plain snapshots.
 *
 * Only this directory knows livekit-client.
 */

import type { LocalTrackPublication, Room, Track } from 'livekit-client';

import {
  CAMERA_CONSTRAINTS,
  type DeviceKind,
  type DeviceProblem,
  MICROPHONE_CONSTRAINTS,
  deviceProblem,
  isProblem,
  openDevice,
} from '../media/devices';
import { type Ending, endingOfDisconnect, endingOfError } from './ending';
import type { Engine } from './engine';
import { type ParticipantView, playableTrack, viewOf } from './participant';
import { Pulse, pulseSample, SAMPLE_EVERY_MS } from './pulse';
import type { Grant } from './token';

export type SessionPhase = 'connecting' | 'connected' | 'reconnecting';

export interface SessionView {
  readonly phase: SessionPhase;
  /** Oneself first, then in the order people came. */
  readonly participants: readonly ParticipantView[];
  /** False where the browser keeps sound back until the person clicks. */
  readonly soundAllowed: boolean;
}

/** What a session tells the page. */
export interface SessionEvents {
  onView(view: SessionView): void;
  /** A device stopped or could not be used; the call goes on. */
  onDeviceProblem(problem: DeviceProblem): void;
  /** The call is over; nothing follows. */
  onEnding(ending: Ending): void;
}

/**
 * How long signalling and ICE may each take to come up, in milliseconds. Longer leaves a person before an empty
 * grid without a word; shorter fails calls that need ICE's last resort (TURN over TLS takes several seconds).
 */
const CONNECT_TIMEOUT_MS = 12_000;

/**
 * Waits before each attempt to reconnect, in milliseconds, about two minutes in all: shorter turns a train tunnel
 * into a lost call, longer shows a banner for a server that is gone. Every wait is spread by half, so that a
 * restarted server is not met by everyone at once.
 */
const RETRY_DELAYS_MS = [0, 300, 1_000, 2_000, 3_000, 5_000, ...Array.from({ length: 16 }, () => 7_000)];

/** The first retry comes at once but not from everybody in the same instant: its largest delay in ms. */
const FIRST_RETRY_SPREAD_MS = 200;

export class Session {
  readonly #engine: Engine;
  readonly #events: SessionEvents;
  readonly #ownName: string;
  readonly #room: Room;
  readonly #pulse = new Pulse();
  /** Devices on their way to being published: one's own tile shows them already. */
  readonly #opening = new Map<DeviceKind, { track: MediaStreamTrack; published: Promise<void> }>();
  #pulseTimer: ReturnType<typeof setInterval> | undefined;
  #silent = false;
  #ended = false;
  #viewQueued = false;

  constructor(engine: Engine, ownName: string, events: SessionEvents) {
    this.#engine = engine;
    this.#ownName = ownName;
    this.#events = events;
    this.#room = new engine.Room({
      adaptiveStream: true,
      dynacast: true,
      videoCaptureDefaults: { resolution: engine.VideoPresets.h720.resolution },
      publishDefaults: { simulcast: true },
      reconnectPolicy: { nextRetryDelayInMs: ({ retryCount }) => retryDelay(retryCount) },
    });
    this.#listen();
  }

  /**
   * Connects; resolves once media flows or the attempt has ended (then `onEnding` has been called).
   *
   * @param grant Where to, and the proof that one may.
   */
  async join(grant: Grant): Promise<void> {
    try {
      await this.#room.connect(grant.serverUrl, grant.token, {
        peerConnectionTimeout: CONNECT_TIMEOUT_MS,
        websocketTimeout: CONNECT_TIMEOUT_MS,
      });
      this.#watchPulse();
      this.#queueView();
    } catch (error) {
      this.#end(
        endingOfError(error, {
          connection: (reason) => this.#engine.ConnectionErrorReason[reason],
          disconnect: (reason) => this.#engine.DisconnectReason[reason],
        }),
      );
    }
  }

  /**
   * Publishes an already open device; before the session is connected the track waits for it.
   *
   * The session owns the track from here on, and stops it when the call ends.
   */
  async publish(kind: DeviceKind, track: MediaStreamTrack): Promise<void> {
    const published = this.#publish(kind, track);
    this.#opening.set(kind, { track, published });
    this.#queueView();
    await published;
    this.#opening.delete(kind);
    this.#queueView();
  }

  /**
   * Turns one's own camera or microphone on or off.
   *
   * @returns The problem where it could not be turned on.
   */
  async setDevice(kind: DeviceKind, on: boolean): Promise<DeviceProblem | undefined> {
    const opening = this.#opening.get(kind);
    if (opening && !on) {
      // Nothing may leave this machine from the moment of the click, even while the track is being published.
      opening.track.enabled = false;
    }
    await opening?.published;
    const publication = this.#ownPublication(kind);
    if (!on) {
      await publication?.mute();
      return undefined;
    }
    if (publication) {
      try {
        await publication.unmute();
        return undefined;
      } catch (error) {
        return deviceProblem(kind, error);
      }
    }
    const opened = await openDevice(kind);
    if (isProblem(opened)) return opened;
    if (this.#ended) opened.stop();
    else await this.publish(kind, opened);
    return undefined;
  }

  /** Lets sound play; call it from a click, which is what browsers wait for. */
  async allowSound(): Promise<void> {
    await this.#room.startAudio();
    this.#queueView();
  }

  /** Leaves and releases the devices. `onEnding` follows with `left`. */
  async leave(): Promise<void> {
    this.#end({ code: 'left', message: '' });
    await this.#room.disconnect(true);
  }

  async #publish(kind: DeviceKind, track: MediaStreamTrack): Promise<void> {
    const { LocalAudioTrack, LocalVideoTrack, TrackEvent } = this.#engine;
    // `false`: livekit-client may stop and reopen the device, so that "camera off" turns the light off.
    const local =
      kind === 'camera'
        ? new LocalVideoTrack(track, CAMERA_CONSTRAINTS, false)
        : new LocalAudioTrack(track, MICROPHONE_CONSTRAINTS, false);
    local.on(TrackEvent.Restarted, () => this.#queueView());
    try {
      await this.#room.localParticipant.publishTrack(local, { source: this.#source(kind) });
    } catch (error) {
      local.stop();
      const detail = error instanceof Error ? error.message : String(error);
      if (!this.#ended) this.#events.onDeviceProblem({ kind, cause: 'failed', detail });
    }
  }

  #listen(): void {
    const { RoomEvent } = this.#engine;
    const changed = (): void => this.#queueView();
    for (const event of [
      RoomEvent.SignalConnected,
      RoomEvent.Connected,
      RoomEvent.Reconnecting,
      RoomEvent.SignalReconnecting,
      RoomEvent.Reconnected,
      RoomEvent.ParticipantConnected,
      RoomEvent.ParticipantDisconnected,
      RoomEvent.ParticipantNameChanged,
      RoomEvent.TrackSubscribed,
      RoomEvent.TrackUnsubscribed,
      RoomEvent.TrackPublished,
      RoomEvent.TrackUnpublished,
      RoomEvent.TrackMuted,
      RoomEvent.TrackUnmuted,
      RoomEvent.LocalTrackPublished,
      RoomEvent.LocalTrackUnpublished,
      RoomEvent.ActiveSpeakersChanged,
      RoomEvent.ConnectionQualityChanged,
      RoomEvent.AudioPlaybackStatusChanged,
    ] as const) {
      this.#room.on(event, changed);
    }
    this.#room.on(RoomEvent.TrackSubscriptionFailed, changed);
    this.#room.on(RoomEvent.SignalConnected, () => performance.mark('signal-connected'));
    this.#room.on(RoomEvent.Disconnected, (reason) => {
      // While connecting, `join` hears the error itself, and knows more about it.
      if (this.#room.state === this.#engine.ConnectionState.Disconnected && this.#pulseTimer) {
        this.#end(
          endingOfDisconnect(reason === undefined ? undefined : this.#engine.DisconnectReason[reason]),
        );
      }
    });
  }

  #end(ending: Ending): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#pulseTimer);
    for (const { track } of this.#room.localParticipant.trackPublications.values()) track?.stop();
    for (const { track } of this.#opening.values()) track.stop();
    this.#events.onEnding(ending);
  }

  /** One view per turn of the event loop, however many events it brought. */
  #queueView(): void {
    if (this.#viewQueued || this.#ended) return;
    this.#viewQueued = true;
    queueMicrotask(() => {
      this.#viewQueued = false;
      if (!this.#ended) this.#events.onView(this.#view());
    });
  }

  #view(): SessionView {
    const others = [...this.#room.remoteParticipants.values()].sort(
      (one, other) => (one.joinedAt?.getTime() ?? 0) - (other.joinedAt?.getTime() ?? 0),
    );
    return {
      phase: this.#phase(),
      participants: [this.#ownView(), ...others.map((participant) => viewOf(participant, 'Guest'))],
      soundAllowed: this.#room.canPlaybackAudio,
    };
  }

  #ownView(): ParticipantView {
    const view = viewOf(this.#room.localParticipant, this.#ownName);
    const camera = this.#opening.get('camera')?.track;
    return {
      ...view,
      video: view.video ?? (camera && playableTrack(camera)),
      cameraOn: view.cameraOn || camera !== undefined,
      microphoneOn: view.microphoneOn || this.#opening.has('microphone'),
    };
  }

  #phase(): SessionPhase {
    const { ConnectionState } = this.#engine;
    switch (this.#room.state) {
      case ConnectionState.Reconnecting:
      case ConnectionState.SignalReconnecting:
        return 'reconnecting';
      case ConnectionState.Connected:
        return this.#silent ? 'reconnecting' : 'connected';
      case ConnectionState.Connecting:
      case ConnectionState.Disconnected:
        return 'connecting';
    }
  }

  #watchPulse(): void {
    if (this.#ended) return;
    this.#pulseTimer = setInterval(() => void this.#takePulse(), SAMPLE_EVERY_MS);
  }

  async #takePulse(): Promise<void> {
    const track = this.#flowingTrack();
    const report = await track?.getRTCStatsReport().catch(() => undefined);
    const sample = report && pulseSample(report, performance.now());
    if (!sample) this.#pulse.reset();
    const silent = sample ? this.#pulse.handleSample(sample) : false;
    if (silent === this.#silent) return;
    this.#silent = silent;
    this.#queueView();
  }

  /** Any track with a transport under it: all of them share one. */
  #flowingTrack(): { getRTCStatsReport(): Promise<RTCStatsReport | undefined> } | undefined {
    const { isLocalTrack, isRemoteTrack } = this.#engine;
    for (const participant of [this.#room.localParticipant, ...this.#room.remoteParticipants.values()]) {
      for (const { track, isMuted } of participant.trackPublications.values()) {
        if (!isMuted && track && (isLocalTrack(track) || isRemoteTrack(track))) return track;
      }
    }
    return undefined;
  }

  #ownPublication(kind: DeviceKind): LocalTrackPublication | undefined {
    return this.#room.localParticipant.getTrackPublication(this.#source(kind));
  }

  #source(kind: DeviceKind): Track.Source {
    const { Source } = this.#engine.Track;
    return kind === 'camera' ? Source.Camera : Source.Microphone;
  }
}

function retryDelay(retryCount: number): number | null {
  const delay = RETRY_DELAYS_MS[retryCount];
  if (delay === undefined) return null;
  return delay === 0 ? Math.random() * FIRST_RETRY_SPREAD_MS : delay * (0.75 + Math.random() / 2);
}
