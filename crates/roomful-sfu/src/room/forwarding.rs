//! What the room tells its media plane, and what it hears from it.

use std::time::Instant;

use super::{Room, Timer};
use crate::egress::MediaKind;
use crate::ids::{ParticipantId, TrackSid};
use crate::liveness::Presence;
use crate::media::MediaDrops;
use crate::publication::Publication;
use crate::transmit::TransmitBuffer;
use crate::transports::TransportId;

impl Room {
    /// An RTP or RTCP datagram of `from`, decrypted in place. What it forwards waits for
    /// [`Room::poll_transmits`].
    pub(crate) fn handle_media(&mut self, from: TransportId, packet: &mut [u8], now: Instant) {
        let TransportId { participant: from, role } = from;
        let Some(participant) = self.participants.get_mut(&from) else { return };
        participant.liveness.handle_media(now);
        let session = participant.session_of(role);
        if let Some(heard) = self.media.handle_datagram(session, packet, now) {
            self.speakers.handle_level(from, heard.level, now);
            self.timers.set(Timer::Speakers, self.speakers.poll_timeout());
        }
        if participant.liveness.told != Presence::Present {
            self.assess_presence(from, now);
            self.settle(now);
        }
        self.timers.set(Timer::Media, self.media.poll_timeout());
    }

    /// Writes the sound that waits; `false` if the buffer is full before all is written.
    pub(crate) fn poll_audio(&mut self, now: Instant, into: &mut TransmitBuffer) -> bool {
        self.media.poll_audio(now, into)
    }

    /// Writes all media that waits; `false` if the buffer is full before all is written.
    pub(crate) fn poll_transmits(&mut self, now: Instant, into: &mut TransmitBuffer) -> bool {
        let done = self.media.poll_transmits(now, into);
        self.timers.set(Timer::Media, self.media.poll_timeout());
        done
    }

    /// Whether media waits to be sent.
    pub(crate) fn has_transmits(&self) -> bool {
        self.media.has_transmits()
    }

    /// Media that was thrown away so far.
    pub(crate) fn media_drops(&self) -> MediaDrops {
        self.media.drops()
    }

    /// Lets the media plane forward a subscription, if both its ends are known and it does not yet.
    pub(super) fn begin_feed(&mut self, id: ParticipantId, track: &TrackSid, now: Instant) {
        let Some(participant) = self.participants.get(&id) else { return };
        let Some(subscription) = participant.subscriptions.get(track) else { return };
        let (Some(section), None) = (subscription.section, subscription.feed) else { return };
        let Some(publisher) = self.participants.get(&subscription.publisher) else { return };
        let publication = publisher.publications.get(track);
        let Some(from) = publication.and_then(|one| one.track_in(subscription.codec)) else {
            return;
        };
        let Some(transport) = participant.transport(participant.receives_by()) else { return };
        let agreed = transport.negotiated().sections.get(section.index());
        let Some(ssrcs) = agreed.and_then(|agreed| agreed.outgoing) else { return };
        let first_seq = self.rng.u16(..);
        let session = participant.receiving_session();
        // Few pictures in bursts look like jitter.
        let follows_jitter = publication.is_some_and(|one| !one.is_screen());
        let strips_trailers = publication.is_some_and(Publication::has_trailers)
            && !participant.client.knows_trailers();
        let is_video = subscription.kind == MediaKind::Video;
        let feed = self.media.add_feed(from, session, section, ssrcs, first_seq, now);
        if let (Some(feed), Some(delay), true) = (feed, self.terms.playout.delay, is_video) {
            self.media.tell_playout_delay(feed, delay, follows_jitter);
        }
        if let (Some(feed), true) = (feed, strips_trailers) {
            self.media.strip_trailers(feed);
        }
        let subscription =
            self.participants.get_mut(&id).and_then(|one| one.subscriptions.get_mut(track));
        if let Some(subscription) = subscription {
            subscription.feed = feed;
        }
    }
}
