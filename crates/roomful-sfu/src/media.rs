//! The media plane of one room: RTP from those who publish to those who subscribe.
//!
//! A packet is opened where it was received, kept once in the [`PacketRing`] of its track, and written for each
//! subscriber straight into the buffer it is sent from: header rewritten, payload copied once, sealed in place.
//! Nothing here knows the roster, signalling or who negotiated; `Room` tells it what to forward where.
//!
//! Sans-IO as everything in the core: [`MediaPlane::handle_datagram`] in, [`MediaPlane::poll_transmits`] out.
//! What waits to be forwarded goes in rounds that can stop anywhere, so that no burst delays others' sound.

mod audibility;
mod feed;
mod feedback;
mod incoming;
mod links;
mod playout;
mod quality;
mod receiving;
mod recovery;
mod reports;
mod ring;
mod sending;
mod sent;
mod session;
#[cfg(test)]
mod tests;
mod track;
mod trailer;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use roomful_rtp::rtp::is_rtcp;
use roomful_rtp::srtp::MasterKeys;
use slotmap::{SlotMap, new_key_type};

use crate::egress::{Layer, MediaKind, Wanted};
use crate::ids::ParticipantId;
use crate::playout::PlayoutDelay;
use crate::route::Route;
use crate::speakers::AudioLevel;
use crate::timers::Timers;
use crate::transport::{Negotiated, OutgoingSsrcs, Section};
use audibility::Audibility;
use feed::Feed;
pub use links::LinkMedia;
use playout::DelayTeller;
pub(crate) use quality::PathQuality;
pub(crate) use session::MediaSession;
pub(crate) use track::FeedSlot;
use track::Track;

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
    reports: VecDeque<(Route, Vec<u8>)>,
    audibility: Audibility,
    /// How well participants turned out to be connected. One for each session at most: read after every timeout.
    judged: VecDeque<(ParticipantId, PathQuality)>,
    timers: Timers<Timer>,
    links: links::Links,
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
    /// Asked for again while too many others were, or more often than a subscriber may.
    pub repeats: u64,
    /// For another part of the room, while too much waited for the link.
    pub links: u64,
}

impl std::ops::AddAssign for MediaDrops {
    fn add_assign(&mut self, other: Self) {
        self.early += other.early;
        self.unauthentic += other.unauthentic;
        self.replayed += other.replayed;
        self.malformed += other.malformed;
        self.unknown += other.unknown;
        self.repeats += other.repeats;
        self.links += other.links;
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
            audibility: Audibility::default(),
            judged: VecDeque::new(),
            timers: Timers::new(),
            links: links::Links::default(),
            drops: MediaDrops::default(),
        }
    }

    /// The session of `owner`, who is called `cname` in reports to others.
    pub(crate) fn add_session(
        &mut self,
        owner: ParticipantId,
        cname: &str,
        now: Instant,
    ) -> SessionKey {
        self.sessions.insert(MediaSession::new(owner, cname, now))
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
    pub(crate) fn set_path(&mut self, key: SessionKey, path: Option<Route>) {
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
        self.audibility.forget(key);
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
        self.links.forget(key);
    }

    /// Packets of a muted track are dropped.
    pub(crate) fn set_muted(&mut self, key: TrackKey, muted: bool) {
        if let Some(track) = self.tracks.get_mut(key) {
            track.muted = muted;
            // What was said while muted is not recovered.
            track.recovery.begin_anew();
        }
        if muted {
            self.audibility.forget(key);
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
        now: Instant,
    ) -> Option<FeedKey> {
        let track = self.tracks.get_mut(key)?;
        let feeds = &mut self.sessions.get_mut(session)?.feeds;
        let slot = track.insert(Feed::new(session, section, ssrcs, track.kind, first_seq, now));
        feeds.insert(ssrcs.media, (key, slot));
        if let Some(repair) = ssrcs.repair {
            feeds.insert(repair, (key, slot));
        }
        Some(FeedKey { track: key, slot })
    }

    /// Tells the subscriber how long to hold pictures back. `follows_jitter`: longer on rough paths.
    pub(crate) fn tell_playout_delay(
        &mut self,
        key: FeedKey,
        allowed: PlayoutDelay,
        follows_jitter: bool,
    ) {
        if let Some(feed) = self.tracks.get_mut(key.track).and_then(|one| one.feed_mut(key.slot)) {
            feed.delay = Some(Box::new(DelayTeller::new(allowed, follows_jitter)));
        }
    }

    /// Bytes of payload that arrived so far of each layer of a track.
    pub(crate) fn carried(&self, key: TrackKey) -> [u64; Layer::COUNT] {
        self.tracks.get(key).map_or([0; Layer::COUNT], |track| track.layers.carried())
    }

    /// Leaves out trailers behind pictures, of which the subscriber knows nothing.
    pub(crate) fn strip_trailers(&mut self, key: FeedKey) {
        if let Some(feed) = self.tracks.get_mut(key.track).and_then(|one| one.feed_mut(key.slot)) {
            feed.strips_trailers = true;
        }
    }

    pub(crate) fn remove_feed(&mut self, key: FeedKey) {
        let Some(track) = self.tracks.get_mut(key.track) else { return };
        let Some(feed) = track.remove(key.slot) else { return };
        if let Some(session) = self.sessions.get_mut(feed.session) {
            session.feeds.retain(|_, one| *one != (key.track, key.slot));
        }
        self.timers.set(Timer::Feed(key), None);
    }

    /// Sets what a subscriber gets; `None` for nothing.
    pub(crate) fn set_wanted(&mut self, key: FeedKey, wanted: Option<Wanted>, now: Instant) {
        if self.tracks.get_mut(key.track).is_some_and(|one| one.set_wanted(key.slot, wanted)) {
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

    /// How well a participant turned out to be connected, each time that was judged.
    pub(crate) fn poll_quality(&mut self) -> Option<(ParticipantId, PathQuality)> {
        self.judged.pop_front()
    }

    /// Packets dropped so far.
    pub(crate) fn drops(&self) -> MediaDrops {
        MediaDrops { links: self.links.dropped, ..self.drops }
    }
}
