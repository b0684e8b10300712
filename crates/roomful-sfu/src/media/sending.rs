//! RTP on its way out, and the wishes for keyframes that this uncovers.

use std::time::Instant;

use super::feed::Fed;
use super::track::Progress;
use super::{FeedKey, MediaPlane, SessionKey, Timer, TrackKey};
use crate::egress::Layer;
use crate::transmit::TransmitBuffer;
use crate::transport::Section;

impl MediaPlane {
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
            into.push(*path, report);
            self.reports.pop_front();
        }
        true
    }

    fn poll_repeats(&mut self, now: Instant, into: &mut TransmitBuffer) -> bool {
        while let Some((key, sequence)) = self.repeats.front().copied() {
            let Self { sessions, tracks, drops, .. } = &mut *self;
            if let Some((feed, ring)) =
                tracks.get_mut(key.track).and_then(|track| track.feed_and_ring(key.slot))
                && let Some(session) = sessions.get_mut(feed.session)
            {
                match feed.repeat(sequence, ring, session, now, into) {
                    Fed::Full => return false,
                    Fed::Refused => drops.repeats += 1,
                    Fed::Sent | Fed::Left => {}
                }
            }
            self.repeats.pop_front();
        }
        true
    }

    /// Hands the keyframe wishes of one feed to its track.
    pub(super) fn pass_keyframe_wishes(&mut self, key: FeedKey, now: Instant) {
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
    pub(super) fn want_keyframe(
        &mut self,
        key: SessionKey,
        section: Section,
        layer: Layer,
        now: Instant,
    ) {
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
    pub(super) fn request_keyframes(&mut self, key: TrackKey, now: Instant) {
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
            let Some(track) = self.tracks.get(key) else { return };
            if self.links.request_keyframe(&track.links, layer) {
                continue;
            }
            self.send_keyframe_request(publisher, section, layer);
        }
    }
}
