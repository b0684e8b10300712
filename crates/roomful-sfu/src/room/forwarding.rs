//! Packets from one participant to the others, and keyframe requests the other way.

use std::time::Instant;

use super::{Room, Timer};
use crate::egress::codec::starts_keyframe;
use crate::egress::{Forward, IncomingPacket, MediaKind};
use crate::ids::ParticipantId;
use crate::transport::{Packet, Section};

impl Room {
    /// Forwards a packet of `from` to everyone who receives its publication.
    pub(super) fn forward(&mut self, from: ParticipantId, packet: &Packet, now: Instant) {
        let Some(publisher) = self.participants.get_mut(&from) else { return };
        let Some(publication) = publisher.publication_at(packet.section) else { return };
        if publication.info.muted {
            return;
        }
        if starts_keyframe(packet.format.codec(), &packet.payload) {
            publication.handle_keyframe(packet.layer);
        }
        let track = publication.sid.clone();
        let subscribers = std::mem::take(&mut publication.subscribers);
        if publication.kind() == MediaKind::Audio
            && let Some(level) = packet.extensions.audio_level()
        {
            self.speakers.handle_level(from, level, now);
            self.timers.set(Timer::Speakers, self.speakers.poll_timeout());
        }
        for subscriber in &subscribers {
            let section = self
                .participants
                .get(subscriber)
                .and_then(|one| one.subscriptions.get(&track))
                .and_then(|subscription| subscription.section);
            if let Some(section) = section {
                self.forward_to(*subscriber, section, packet, now);
            }
        }
        if let Some(publisher) = self.participants.get_mut(&from)
            && let Some(publication) = publisher.publications.get_mut(&track)
        {
            publication.subscribers = subscribers;
        }
    }

    fn forward_to(&mut self, to: ParticipantId, section: Section, packet: &Packet, now: Instant) {
        let Some(subscriber) = self.participants.get_mut(&to) else { return };
        let Some(receiving) = subscriber.receiving.get_mut(section) else { return };
        let incoming = IncomingPacket {
            layer: packet.layer,
            seq: packet.seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload: &packet.payload,
            arrival: packet.arrival,
            codec: packet.format.codec(),
        };
        if let Forward::Send(header) = receiving.egress.handle_packet(&incoming) {
            subscriber.transport.forward(section, packet, &header, now);
            self.touched.push(to);
        }
        self.pass_keyframe_requests(to, section, now);
    }

    /// The participant cannot go on decoding what it receives in `section`.
    pub(super) fn handle_keyframe_request(
        &mut self,
        id: ParticipantId,
        section: Section,
        now: Instant,
    ) {
        if let Some(subscriber) = self.participants.get_mut(&id)
            && let Some(receiving) = subscriber.receiving.get_mut(section)
        {
            receiving.egress.handle_keyframe_request();
            self.pass_keyframe_requests(id, section, now);
        }
    }

    /// Hands the keyframe wishes of one subscription to its publication.
    pub(super) fn pass_keyframe_requests(
        &mut self,
        id: ParticipantId,
        section: Section,
        now: Instant,
    ) {
        let Some(subscriber) = self.participants.get_mut(&id) else { return };
        let Some(receiving) = subscriber.receiving.get_mut(section) else { return };
        let mut layers = Vec::new();
        while let Some(layer) = receiving.egress.poll_keyframe_request(now) {
            layers.push(layer);
        }
        self.timers.set(Timer::Egress(id, section), receiving.egress.poll_timeout());
        if layers.is_empty() {
            return;
        }
        let Some(track) = subscriber.receiving.track(section).cloned() else { return };
        let Some(publisher) = subscriber.subscriptions.get(&track).map(|one| one.publisher) else {
            return;
        };
        let Some(owner) = self.participants.get_mut(&publisher) else { return };
        let Some(publication) = owner.publications.get_mut(&track) else { return };
        for layer in layers {
            publication.want_keyframe(layer, now);
        }
        if let Some(source) = publication.section {
            self.send_keyframe_requests(publisher, source, now);
        }
    }

    /// Asks the publisher for the keyframes that are due.
    pub(super) fn send_keyframe_requests(
        &mut self,
        id: ParticipantId,
        section: Section,
        now: Instant,
    ) {
        let Some(publisher) = self.participants.get_mut(&id) else { return };
        loop {
            let Some(publication) = publisher.publication_at(section) else { return };
            let Some(layer) = publication.poll_keyframe_request(now) else {
                self.timers.set(Timer::Publication(id, section), publication.poll_timeout());
                return;
            };
            publisher.transport.request_keyframe(section, layer, now);
            self.touched.push(id);
        }
    }
}
