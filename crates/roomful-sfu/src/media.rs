//! The media plane of one room: RTP from those who publish to those who subscribe.
//!
//! A packet is opened where it was received, kept once in the [`PacketRing`] of its track, and written for each
//! subscriber straight into the buffer it is sent from: header rewritten, payload copied once, sealed in place.
//! Nothing here knows the roster, signalling or who negotiated; `Room` tells it what to forward where.
//!
//! Sans-IO as everything in the core: [`MediaPlane::handle_datagram`] in, [`MediaPlane::poll_transmits`] out.
//! What waits to be forwarded goes in rounds that can stop anywhere, so that no burst delays others' sound.

mod feed;
mod feedback;
mod incoming;
mod reports;
mod ring;
mod sent;
mod session;
#[cfg(test)]
mod tests;
mod track;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use roomful_rtp::rtp::is_rtcp;
use roomful_rtp::srtp::MasterKeys;
use slotmap::{SlotMap, new_key_type};

use crate::egress::codec::starts_keyframe;
use crate::egress::{Layer, MediaKind};
use crate::ids::ParticipantId;
use crate::speakers::AudioLevel;
use crate::timers::Timers;
use crate::transmit::TransmitBuffer;
use crate::transport::{MediaPath, Negotiated, OutgoingSsrcs, Payload, Section};
use feed::Feed;
use incoming::Place;
use ring::{Arrived, Carried};
pub(crate) use session::MediaSession;
pub(crate) use track::FeedSlot;
use track::{Progress, Track};

new_key_type! {
    /// One participant's [`MediaSession`].
    pub(crate) struct SessionKey;
    /// One publication's [`Track`].
    pub(crate) struct TrackKey;
}

/// One track's way to one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FeedKey {
    pub(crate) track: TrackKey,
    pub(crate) slot: FeedSlot,
}

/// See the module text.
#[derive(Debug)]
pub(crate) struct MediaPlane {
    sessions: SlotMap<SessionKey, MediaSession>,
    tracks: SlotMap<TrackKey, Track>,
    /// Tracks with packets to forward: sound goes first.
    waiting_audio: VecDeque<TrackKey>,
    waiting_video: VecDeque<TrackKey>,
    /// Packets that subscribers ask for again. Lossy: bounded by [`MAX_REPEATS`].
    repeats: VecDeque<(FeedKey, u16)>,
    /// Sealed RTCP.
    reports: VecDeque<(MediaPath, Vec<u8>)>,
    timers: Timers<Timer>,
    drops: MediaDrops,
}

/// Packets of media that were thrown away, by why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MediaDrops {
    /// Before the keys were known.
    pub early: u64,
    /// Not sealed with the participant's key.
    pub unauthentic: u64,
    /// Seen before, or too old to tell.
    pub replayed: u64,
    /// Sealed rightly, but no RTP or RTCP that can be read.
    pub malformed: u64,
    /// Of no stream or payload type that was negotiated.
    pub unknown: u64,
    /// Asked for again while too many others were.
    pub repeats: u64,
}

impl std::ops::AddAssign for MediaDrops {
    fn add_assign(&mut self, other: Self) {
        self.early += other.early;
        self.unauthentic += other.unauthentic;
        self.replayed += other.replayed;
        self.malformed += other.malformed;
        self.unknown += other.unknown;
        self.repeats += other.repeats;
    }
}

/// Sound that was heard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) level: AudioLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A feed may wish for a keyframe.
    Feed(FeedKey),
    /// A track's publisher may be asked for one.
    Track(TrackKey),
    /// Lost packets are asked for again.
    Nack(SessionKey),
    /// What arrived when is told to its sender.
    Feedback(SessionKey),
    /// Sender and receiver reports are due.
    Reports(SessionKey),
}

/// Repeats that may wait in one room. A burst of loss for a hundred subscribers asks for some thousands; more
/// would come too late to be played.
const MAX_REPEATS: usize = 8 * 1024;

impl MediaPlane {
    pub(crate) fn new() -> Self {
        Self {
            sessions: SlotMap::with_key(),
            tracks: SlotMap::with_key(),
            waiting_audio: VecDeque::new(),
            waiting_video: VecDeque::new(),
            repeats: VecDeque::new(),
            reports: VecDeque::new(),
            timers: Timers::new(),
            drops: MediaDrops::default(),
        }
    }

    pub(crate) fn add_session(&mut self, owner: ParticipantId, now: Instant) -> SessionKey {
        self.sessions.insert(MediaSession::new(owner, now))
    }

    /// Forgets a session and everything it receives. Its tracks are removed one by one before.
    pub(crate) fn remove_session(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.remove(key) else { return };
        for (track, slot) in session.feeds.into_values() {
            if let Some(track) = self.tracks.get_mut(track) {
                track.remove(slot);
            }
            self.timers.set(Timer::Feed(FeedKey { track, slot }), None);
        }
        for timer in [Timer::Nack(key), Timer::Feedback(key), Timer::Reports(key)] {
            self.timers.set(timer, None);
        }
    }

    /// The handshake is done: what arrives can be read from now on.
    pub(crate) fn set_keys(&mut self, key: SessionKey, keys: &MasterKeys, now: Instant) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.set_keys(keys);
            let first = session.times.first_report(now);
            self.timers.set(Timer::Reports(key), Some(first));
        }
    }

    /// Where the session's packets go.
    pub(crate) fn set_path(&mut self, key: SessionKey, path: Option<MediaPath>) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.path = path;
        }
    }

    /// An offer was answered.
    pub(crate) fn handle_negotiated(
        &mut self,
        key: SessionKey,
        negotiated: Arc<Negotiated>,
        sends: impl Fn(Section) -> bool,
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.incoming.handle_negotiated(&negotiated, sends);
        session.negotiated = negotiated;
        for (track, slot) in session.feeds.values() {
            if let Some(feed) = self.tracks.get_mut(*track).and_then(|one| one.feed_mut(*slot)) {
                feed.forget_format();
            }
        }
    }

    /// Packets of `section` are a track's from now on.
    pub(crate) fn add_track(
        &mut self,
        publisher: SessionKey,
        kind: MediaKind,
        section: Section,
    ) -> TrackKey {
        let key = self.tracks.insert(Track::new(publisher, kind, section));
        if let Some(session) = self.sessions.get_mut(publisher) {
            session.tracks.insert(section, key);
        }
        key
    }

    pub(crate) fn remove_track(&mut self, key: TrackKey) {
        let Some(mut track) = self.tracks.remove(key) else { return };
        if let Some(session) = self.sessions.get_mut(track.publisher) {
            session.tracks.retain(|_, one| *one != key);
        }
        for (slot, feed) in track.feeds_mut() {
            if let Some(session) = self.sessions.get_mut(feed.session) {
                session.feeds.retain(|_, (track, _)| *track != key);
            }
            self.timers.set(Timer::Feed(FeedKey { track: key, slot }), None);
        }
        self.timers.set(Timer::Track(key), None);
    }

    /// Packets of a muted track are dropped.
    pub(crate) fn set_muted(&mut self, key: TrackKey, muted: bool) {
        if let Some(track) = self.tracks.get_mut(key) {
            track.muted = muted;
        }
    }

    /// Forwards a track to a session, in the section `section` of it, once [`MediaPlane::set_wanted`] says what.
    pub(crate) fn add_feed(
        &mut self,
        key: TrackKey,
        session: SessionKey,
        section: Section,
        ssrcs: OutgoingSsrcs,
        first_seq: u16,
    ) -> Option<FeedKey> {
        let track = self.tracks.get_mut(key)?;
        let feeds = &mut self.sessions.get_mut(session)?.feeds;
        let slot = track.insert(Feed::new(session, section, ssrcs, track.kind, first_seq));
        feeds.insert(ssrcs.media, (key, slot));
        if let Some(repair) = ssrcs.repair {
            feeds.insert(repair, (key, slot));
        }
        Some(FeedKey { track: key, slot })
    }

    pub(crate) fn remove_feed(&mut self, key: FeedKey) {
        let Some(track) = self.tracks.get_mut(key.track) else { return };
        let Some(feed) = track.remove(key.slot) else { return };
        if let Some(session) = self.sessions.get_mut(feed.session) {
            session.feeds.retain(|_, one| *one != (key.track, key.slot));
        }
        self.timers.set(Timer::Feed(key), None);
    }

    /// Sets the layer a subscriber gets; `None` for nothing.
    pub(crate) fn set_wanted(&mut self, key: FeedKey, wanted: Option<Layer>, now: Instant) {
        if let Some(feed) = self.tracks.get_mut(key.track).and_then(|one| one.feed_mut(key.slot)) {
            feed.set_wanted(wanted);
            self.pass_keyframe_wishes(key, now);
        }
    }

    /// An RTP or RTCP datagram of a session, decrypted in place.
    pub(crate) fn handle_datagram(
        &mut self,
        key: SessionKey,
        packet: &mut [u8],
        now: Instant,
    ) -> Option<Heard> {
        if is_rtcp(packet) {
            self.handle_rtcp(key, packet, now);
            return None;
        }
        self.handle_rtp(key, packet, now)
    }

    /// Anything waits to be sent.
    pub(crate) fn has_transmits(&self) -> bool {
        !(self.waiting_audio.is_empty()
            && self.waiting_video.is_empty()
            && self.repeats.is_empty()
            && self.reports.is_empty())
    }

    /// Writes the sound that waits; `false` if the buffer is full before all is written.
    pub(crate) fn poll_audio(&mut self, now: Instant, into: &mut TransmitBuffer) -> bool {
        while let Some(key) = self.waiting_audio.front().copied() {
            if !self.forward(key, now, into) {
                return false;
            }
            self.waiting_audio.pop_front();
        }
        true
    }

    /// Writes what waits: sound, reports, repeats, pictures; `false` if the buffer is full before all is written.
    pub(crate) fn poll_transmits(&mut self, now: Instant, into: &mut TransmitBuffer) -> bool {
        if !self.poll_audio(now, into) || !self.poll_reports(into) || !self.poll_repeats(now, into)
        {
            return false;
        }
        while let Some(key) = self.waiting_video.front().copied() {
            if !self.forward(key, now, into) {
                // The next turn begins with another track, so that one burst does not hold up the others.
                self.waiting_video.rotate_left(1);
                return false;
            }
            self.waiting_video.pop_front();
        }
        true
    }

    /// When [`MediaPlane::handle_timeout`] is next due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// A deadline has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<Timer> = std::iter::from_fn(|| self.timers.take_due(now)).collect();
        for timer in due {
            match timer {
                Timer::Feed(key) => {
                    if let Some(feed) =
                        self.tracks.get_mut(key.track).and_then(|one| one.feed_mut(key.slot))
                    {
                        feed.keyframe_timer = None;
                    }
                    self.pass_keyframe_wishes(key, now);
                }
                Timer::Track(key) => {
                    if let Some(track) = self.tracks.get_mut(key) {
                        track.keyframe_timer = None;
                    }
                    self.request_keyframes(key, now);
                }
                Timer::Nack(key) => self.request_repeats(key, now),
                Timer::Feedback(key) => self.report_arrivals(key, now),
                Timer::Reports(key) => self.report(key, now),
            }
        }
    }

    /// Packets dropped so far.
    pub(crate) fn drops(&self) -> MediaDrops {
        self.drops
    }

    fn handle_rtp(&mut self, key: SessionKey, packet: &mut [u8], now: Instant) -> Option<Heard> {
        let session = self.sessions.get_mut(key)?;
        let (header, length, seq) = session.open_rtp(packet, &mut self.drops)?;
        let plain = &packet[..length];
        let Ok(payload) = header.payload(plain) else {
            self.drops.malformed += 1;
            return None;
        };
        let extensions = session.read_extensions(&header, plain, now);
        let Some((place, codec_payload, format)) = session.place(&header, seq, plain, payload, now)
        else {
            self.drops.unknown += 1;
            return None;
        };
        self.schedule_feedback(key);
        self.schedule_nack(key);
        let track_key = *self.sessions.get(key)?.tracks.get(&place.section)?;
        let track = self.tracks.get_mut(track_key)?;
        if track.muted {
            return None;
        }
        if place.is_restart {
            track.restart(place.layer);
        }
        let arrived = arrived(&place, &header, format, extensions, codec_payload, now);
        track.take_in(&arrived);
        self.wait(track_key);
        let level = extensions.level.filter(|_| format.codec.is_audio())?;
        Some(Heard { level: AudioLevel(level & 0x7f) })
    }

    fn wait(&mut self, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if std::mem::replace(&mut track.waits, true) {
            return;
        }
        match track.kind {
            MediaKind::Audio => self.waiting_audio.push_back(key),
            MediaKind::Video => self.waiting_video.push_back(key),
        }
    }

    /// Forwards what waits of a track; `false` if the buffer is full.
    fn forward(&mut self, key: TrackKey, now: Instant, into: &mut TransmitBuffer) -> bool {
        let Self { sessions, tracks, timers, .. } = self;
        let Some(track) = tracks.get_mut(key) else { return true };
        let progress = track.forward(sessions, now, into, |slot, feed, throttles| {
            while let Some(layer) = feed.poll_keyframe_request(now) {
                throttles[layer.index()].request(now);
            }
            let next = feed.poll_timeout();
            if next != feed.keyframe_timer {
                feed.keyframe_timer = next;
                timers.set(Timer::Feed(FeedKey { track: key, slot }), next);
            }
        });
        self.request_keyframes(key, now);
        let done = progress == Progress::Done;
        if done && let Some(track) = self.tracks.get_mut(key) {
            track.waits = false;
        }
        done
    }

    fn poll_reports(&mut self, into: &mut TransmitBuffer) -> bool {
        while let Some((path, report)) = self.reports.front() {
            if !into.has_room(report.len()) {
                return false;
            }
            into.push(path.source, path.destination, report);
            self.reports.pop_front();
        }
        true
    }

    fn poll_repeats(&mut self, now: Instant, into: &mut TransmitBuffer) -> bool {
        while let Some((key, sequence)) = self.repeats.front().copied() {
            let Self { sessions, tracks, .. } = &mut *self;
            if let Some((feed, ring)) =
                tracks.get_mut(key.track).and_then(|track| track.feed_and_ring(key.slot))
                && let Some(session) = sessions.get_mut(feed.session)
                && feed.repeat(sequence, ring, session, now, into) == feed::Fed::Full
            {
                return false;
            }
            self.repeats.pop_front();
        }
        true
    }

    /// Hands the keyframe wishes of one feed to its track.
    fn pass_keyframe_wishes(&mut self, key: FeedKey, now: Instant) {
        let Some(track) = self.tracks.get_mut(key.track) else { return };
        let Some(feed) = track.feed_mut(key.slot) else { return };
        let mut wished = [false; Layer::COUNT];
        while let Some(layer) = feed.poll_keyframe_request(now) {
            wished[layer.index()] = true;
        }
        let next = feed.poll_timeout();
        if next != feed.keyframe_timer {
            feed.keyframe_timer = next;
            self.timers.set(Timer::Feed(key), next);
        }
        for layer in Layer::ALL.into_iter().filter(|layer| wished[layer.index()]) {
            track.throttles[layer.index()].request(now);
        }
        self.request_keyframes(key.track, now);
    }

    /// More of a stream was lost than repair can bring back.
    fn want_keyframe(&mut self, key: SessionKey, section: Section, layer: Layer, now: Instant) {
        let track =
            self.sessions.get(key).and_then(|session| session.tracks.get(&section)).copied();
        if let Some(key) = track
            && let Some(track) = self.tracks.get_mut(key)
        {
            track.throttles[layer.index()].request(now);
            self.request_keyframes(key, now);
        }
    }

    /// Asks the publisher for the keyframes that are due.
    fn request_keyframes(&mut self, key: TrackKey, now: Instant) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let mut due = [false; Layer::COUNT];
        for layer in Layer::ALL {
            due[layer.index()] = track.throttles[layer.index()].poll(now);
        }
        let next = track.throttles.iter().filter_map(|throttle| throttle.poll_timeout()).min();
        if next != track.keyframe_timer {
            track.keyframe_timer = next;
            self.timers.set(Timer::Track(key), next);
        }
        let (publisher, section) = (track.publisher, track.section);
        for layer in Layer::ALL.into_iter().filter(|layer| due[layer.index()]) {
            self.send_keyframe_request(publisher, section, layer);
        }
    }
}

fn arrived<'a>(
    place: &Place,
    header: &roomful_rtp::rtp::RtpHeader,
    format: crate::transport::Format,
    extensions: Carried,
    payload: &'a [u8],
    now: Instant,
) -> Arrived<'a> {
    Arrived {
        layer: place.layer,
        seq: place.seq,
        timestamp: place.timestamp,
        marker: header.marker,
        arrival: now,
        format,
        extensions,
        payload,
    }
}

impl Track {
    /// Keeps a packet for everyone who is to get it.
    fn take_in(&mut self, packet: &Arrived<'_>) {
        if starts_keyframe(packet.format.codec, packet.payload) {
            self.throttles[packet.layer.index()].handle_keyframe();
        }
        self.ring.push(packet);
    }
}

impl MediaSession {
    /// Takes in what a packet's header extensions say.
    fn read_extensions(
        &mut self,
        header: &roomful_rtp::rtp::RtpHeader,
        plain: &[u8],
        now: Instant,
    ) -> Carried {
        let ids = self.negotiated.extensions;
        let mut carried = Carried::default();
        for (id, value) in header.extensions(plain) {
            let id = Some(id);
            match value {
                [high, low, ..] if id == ids.transport_sequence => {
                    self.arrivals.record(u16::from_be_bytes([*high, *low]), plain.len(), now);
                }
                [level, ..] if id == ids.audio_level => carried.level = Some(*level),
                [orientation, ..] if id == ids.orientation => {
                    carried.orientation = Some(*orientation)
                }
                _ => {}
            }
        }
        carried
    }

    /// Which stream a packet belongs to, what of it is payload, and of which format.
    fn place<'a>(
        &mut self,
        header: &roomful_rtp::rtp::RtpHeader,
        seq: u64,
        plain: &[u8],
        payload: &'a [u8],
        now: Instant,
    ) -> Option<(Place, &'a [u8], crate::transport::Format)> {
        let negotiated = &self.negotiated;
        match *negotiated.payloads.get(&header.payload_type)? {
            Payload::Media(format) => {
                let place = self.incoming.place(header, seq, plain, format, negotiated, now)?;
                Some((place, payload, format))
            }
            Payload::Repair(of) => {
                let Payload::Media(format) = *negotiated.payloads.get(&of)? else { return None };
                // Retransmissions without content probe the path (RFC 4588 §4 asks for two bytes at least).
                let (original, payload) = payload.split_first_chunk::<2>()?;
                let original = u16::from_be_bytes(*original);
                let place = self.incoming.place_repeated(header, original, plain, negotiated)?;
                Some((place, payload, format))
            }
        }
    }
}
