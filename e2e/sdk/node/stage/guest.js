import { Room, RoomEvent, TrackKind, TrackPublishOptions, TrackSource } from '@livekit/rtc-node';
import { AccessToken } from 'livekit-server-sdk';
import { PictureReader } from './picture.js';
import { KEY, SECRET } from './server.js';
import { ToneReader } from './tone.js';
import { until } from './wait.js';

/**
 * @typedef {{
 *   grants?: import('livekit-server-sdk').VideoGrant,
 *   name?: string,
 *   metadata?: string,
 *   attributes?: Record<string, string>,
 *   kind?: string,
 *   autoSubscribe?: boolean,
 *   peerConnections?: 1 | 2,
 * }} Wishes
 */

/** Somebody in a room through LiveKit's Node library, who remembers everything that happened, in order. */
export class Guest {
  /** @param {string} identity */
  constructor(identity) {
    this.identity = identity;
    this.room = new Room();
    /** What the library told, in order. @type {{ event: string, [detail: string]: unknown }[]} */
    this.events = [];
    /** What was received as data. @type {{ text: string, from?: string, topic?: string, kind?: number }[]} */
    this.data = [];
    /** Readers of what was subscribed, by the sid of the publication. @type {Map<string, ToneReader | PictureReader>} */
    this.readers = new Map();
    this.#remember();
  }

  /**
   * Joins `room` at `server` as `identity`.
   *
   * @param {import('./server.js').Server} server @param {string} room @param {string} identity @param {Wishes} [wishes]
   */
  static async join(server, room, identity, wishes = {}) {
    const guest = new Guest(identity);
    const { autoSubscribe, peerConnections } = wishes;
    await guest.connect(server, await token(room, identity, wishes), { autoSubscribe, peerConnections });
    return guest;
  }

  /**
   * @param {import('./server.js').Server} server @param {string} jwt
   * @param {Pick<Wishes, 'autoSubscribe' | 'peerConnections'>} [wishes]
   */
  async connect(server, jwt, { autoSubscribe = true, peerConnections = 1 } = {}) {
    const singlePeerConnection = peerConnections === 1;
    await this.room.connect(server.ws, jwt, { autoSubscribe, dynacast: true, singlePeerConnection });
  }

  /** The participant the library made for whoever joined. */
  get me() {
    const me = this.room.localParticipant;
    if (!me) throw new Error(`${this.identity} is in no room`);
    return me;
  }

  /** Identities of the others, sorted. */
  get others() {
    return [...this.room.remoteParticipants.keys()].sort();
  }

  /** @param {string} identity */
  other(identity) {
    const other = this.room.remoteParticipants.get(identity);
    if (!other) throw new Error(`${this.identity} knows no ${identity}`);
    return other;
  }

  /** The first publication of `identity` with `source`, when it is there. @param {string} identity @param {TrackSource} source */
  publication(identity, source) {
    const publications = this.room.remoteParticipants.get(identity)?.trackPublications.values() ?? [];
    return [...publications].find((publication) => publication.source === source);
  }

  /** @param {import('./tone.js').ToneSource} tone */
  publishTone(tone) {
    return this.me.publishTrack(tone.track, new TrackPublishOptions({ source: TrackSource.SOURCE_MICROPHONE }));
  }

  /** @param {import('./picture.js').PictureSource} picture @param {Partial<TrackPublishOptions>} [options] */
  publishPicture(picture, options = {}) {
    const source = TrackSource.SOURCE_CAMERA;
    return this.me.publishTrack(picture.track, new TrackPublishOptions({ source, simulcast: false, ...options }));
  }

  /** Events of one kind, in order. @param {string} event */
  told(event) {
    return this.events.filter((told) => told.event === event);
  }

  /** Waits until an event of this kind with these details has been told. @param {string} event @param {object} [details] */
  hears(event, details = {}) {
    const wanted = Object.entries(details);
    return until(
      `${this.identity} hears ${event} ${JSON.stringify(details)}`,
      () => this.told(event).find((told) => wanted.every(([key, value]) => told[key] === value)),
      () => this.events.slice(-20),
    );
  }

  /** Waits until a message has come. @param {string} text */
  receives(text) {
    return until(`${this.identity} receives ${text}`, () => this.data.find((one) => one.text === text), () => this.data);
  }

  /** What reads the track that `identity` publishes with `source`. @param {string} identity @param {TrackSource} source */
  reader(identity, source) {
    const sid = this.publication(identity, source)?.sid;
    return sid ? this.readers.get(sid) : undefined;
  }

  /** Waits until the tone of `identity` is heard, and no other in it. @param {string} identity @param {number} tone */
  hearsTone(identity, tone) {
    const reader = () => /** @type {ToneReader | undefined} */ (this.reader(identity, TrackSource.SOURCE_MICROPHONE));
    return until(
      `${this.identity} hears ${identity}'s tone of ${tone} Hz`,
      () => (reader()?.heard.get(tone) ?? 0) >= 3 && reader(),
      () => ({ heard: [...(reader()?.heard ?? [])], silent: reader()?.silent }),
    );
  }

  /** Waits until pictures of `identity` are seen. @param {string} identity @param {number} owner */
  seesPicture(identity, owner) {
    const reader = () => /** @type {PictureReader | undefined} */ (this.reader(identity, TrackSource.SOURCE_CAMERA));
    return until(
      `${this.identity} sees ${identity}'s pictures, those of ${owner}`,
      () => (reader()?.seen.get(owner) ?? 0) >= 5 && reader(),
      () => ({ seen: [...(reader()?.seen ?? [])], unreadable: reader()?.unreadable }),
    );
  }

  async leave() {
    await Promise.all([...this.readers.values()].map((reader) => reader.stop()));
    this.readers.clear();
    await this.room.disconnect();
  }

  #remember() {
    const { room } = this;
    /** @param {string} event @param {(...told: any[]) => object} details */
    const on = (event, details) => {
      room.on(/** @type {any} */ (event), (/** @type {any[]} */ ...told) => this.events.push({ event, ...details(...told) }));
    };
    const who = (/** @type {any} */ participant) => ({ who: participant?.identity });
    const what = (/** @type {any} */ publication) => ({ track: publication?.name, sid: publication?.sid });
    const both = (/** @type {any} */ publication, /** @type {any} */ participant) => ({ ...who(participant), ...what(publication) });
    on(RoomEvent.ParticipantConnected, who);
    on(RoomEvent.ParticipantDisconnected, (participant) => ({ ...who(participant), reason: participant.disconnectReason }));
    on(RoomEvent.LocalTrackPublished, what);
    on(RoomEvent.LocalTrackUnpublished, what);
    on(RoomEvent.LocalTrackRepublished, (publication) => ({ track: publication?.name }));
    on(RoomEvent.LocalTrackSubscribed, (track) => ({ track: track?.name }));
    on(RoomEvent.TrackPublished, both);
    on(RoomEvent.TrackUnpublished, both);
    on(RoomEvent.TrackMuted, both);
    on(RoomEvent.TrackUnmuted, both);
    on(RoomEvent.TrackSubscribed, (_track, publication, participant) => both(publication, participant));
    on(RoomEvent.TrackUnsubscribed, (_track, publication, participant) => both(publication, participant));
    on(RoomEvent.TrackSubscriptionFailed, (sid, participant, reason) => ({ ...who(participant), sid, reason }));
    on(RoomEvent.ActiveSpeakersChanged, (speakers) => ({ speakers: speakers.map((/** @type {any} */ one) => one.identity) }));
    on(RoomEvent.RoomMetadataChanged, (metadata) => ({ metadata }));
    on(RoomEvent.ParticipantMetadataChanged, (metadata, participant) => ({ ...who(participant), metadata }));
    on(RoomEvent.ParticipantNameChanged, (name, participant) => ({ ...who(participant), name }));
    on(RoomEvent.ParticipantAttributesChanged, (changed, participant) => ({ ...who(participant), changed: JSON.stringify(changed) }));
    on(RoomEvent.ConnectionQualityChanged, (quality, participant) => ({ ...who(participant), quality }));
    on(RoomEvent.ChatMessage, (message, participant) => ({ ...who(participant), message: message.message, id: message.id }));
    on(RoomEvent.DtmfReceived, (code, digit, participant) => ({ ...who(participant), code, digit }));
    on(RoomEvent.ConnectionStateChanged, (state) => ({ state }));
    on(RoomEvent.Disconnected, (reason) => ({ reason }));
    for (const event of [RoomEvent.Reconnecting, RoomEvent.Reconnected, RoomEvent.TokenRefreshed, RoomEvent.Moved]) on(event, () => ({}));
    room.on(RoomEvent.DataReceived, (payload, participant, kind, topic) => {
      this.data.push({ text: Buffer.from(payload).toString(), from: participant?.identity, topic, kind });
    });
    room.on(RoomEvent.TrackSubscribed, (track, publication) => {
      const reader = track.kind === TrackKind.KIND_AUDIO ? new ToneReader(track) : new PictureReader(track);
      this.readers.set(publication.sid ?? '', reader);
    });
  }
}

/** A token to join `room` with. @param {string} room @param {string} identity @param {Wishes} [wishes] */
export async function token(room, identity, { grants, name, metadata, attributes, kind } = {}) {
  const made = new AccessToken(KEY, SECRET, { identity, name, metadata, attributes });
  if (kind) made.kind = kind;
  made.addGrant({ room, roomJoin: true, canUpdateOwnMetadata: true, ...grants });
  return made.toJwt();
}
