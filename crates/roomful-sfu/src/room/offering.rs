//! Offers to participants who receive by a transport of its own: which track goes in which section.
//!
//! One offer is out at a time. What changes meanwhile goes into the next, which is made as soon as the answer is there and
//! the room has settled, so that any number of changes within a round trip are one offer.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::request_response::Reason;

use super::{Room, Timer};
use crate::ids::{ParticipantId, TrackSid};
use crate::participant::Participant;
use crate::signalling::{Change, Refusal};
use crate::subscription::Subscription;
use crate::transport::offering::SectionToOffer;
use crate::transports::{ReceivingTransport, Role, TransportId};

/// How long a client may take to answer an offer, as LiveKit has it; then it is sent to join anew. Longer leaves people
/// unseen by one whose client has lost its way, shorter sends people away whose machine is busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

impl Room {
    /// Offers to `id` what it does not have yet, or has no longer, unless an offer is out.
    pub(super) fn offer_if_needed(&mut self, id: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(offers) = participant.offers_mut() else { return };
        if let Some(since) = offers.out {
            return self.require_answer(id, since, now);
        }
        let restarts = offers.restarts;
        // Nothing is told to one whose WebSocket is away, so it waits until that is back.
        let is_away = participant.connection.is_none();
        if is_away || !(participant.assign_offered_sections() | restarts) {
            return;
        }
        self.offer(id, now);
    }

    /// Takes the answer to an offer.
    pub(super) fn accept_answer(
        &mut self,
        from: ParticipantId,
        sdp: &str,
        offer_id: u32,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        let Some(transports) = participant.transports_mut() else { return Ok(()) };
        let Some(receiving) = &mut transports.receiving else {
            let text = "an answer: to this client no offers are made";
            return Err(Refusal::new(Reason::InvalidRequest, text));
        };
        // Older clients number nothing. An answer to an offer before the last comes from before a resume.
        if offer_id != 0 && offer_id != receiving.offers.last {
            return Ok(());
        }
        self.touched.push(from);
        receiving
            .transport
            .handle_answer(sdp)
            .map_err(|error| Refusal::new(Reason::InvalidRequest, error.to_string()))?;
        // Checks that came before it are answered now.
        receiving.transport.handle_timeout(now);
        receiving.offers.out = None;
        let (session, negotiated) = (receiving.session, receiving.transport.negotiated().clone());
        let rejected = receiving.transport.rejected();
        self.timers.set(Timer::Negotiation(from), None);
        self.media.handle_negotiated(session, negotiated, |_| false);
        participant.receiving.handle_accepted();
        for track in participant.receiving.reject(&rejected) {
            self.refuse_codec(from, &track, now);
        }
        self.choose_codecs(from, now);
        self.learn_ufrag(TransportId { participant: from, role: Role::Receiving });
        self.apply_all_wishes(from, now);
        self.to_offer.insert(from);
        Ok(())
    }

    /// Begins anew with the offers to one whose WebSocket was replaced: the last one, or its answer, may be lost.
    pub(super) fn restart_offers(&mut self, id: ParticipantId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if let Some(offers) = participant.offers_mut() {
            offers.out = None;
            offers.restarts |= offers.last > 0;
        }
    }

    fn offer(&mut self, id: ParticipantId, now: Instant) {
        let labels = self.labels(id);
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let sections = participant.receiving.handle_offering().into_iter();
        let sections: Vec<SectionToOffer> = sections
            .map(|(section, kind)| SectionToOffer { kind, stream: labels.get(&section).cloned() })
            .collect();
        let tracks = participant.receiving.named_tracks();
        let allowed = participant.allowed_codecs(&self.terms.codecs);
        let Some(transports) = participant.transports_mut() else { return };
        let Some(receiving) = &mut transports.receiving else { return };
        let ReceivingTransport { transport, offers, .. } = &mut **receiving;
        let Some(sdp) = transport.make_offer(&sections, &allowed, offers.restarts) else { return };
        offers.last = offers.last.wrapping_add(1).max(1);
        offers.out = Some(now);
        offers.restarts = false;
        let offer = Change::Offered { sdp, id: offers.last, tracks };
        self.touched.push(id);
        self.timers.set(Timer::Negotiation(id), Some(now + ANSWER_WITHIN));
        self.tell(id, offer);
    }

    /// Lets `id` have of each track it was just offered the first codec it decodes, and ends subscriptions to tracks in
    /// none.
    fn choose_codecs(&mut self, id: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get(&id) else { return };
        let Some(receiving) = participant.receiving_transport() else { return };
        let agreed = receiving.transport.negotiated();
        let chosen = |(track, one): (&TrackSid, &Subscription)| {
            let section = one.section.filter(|_| one.feed.is_none())?;
            let publication = self.participants.get(&one.publisher)?.publications.get(track)?;
            let takes = |codec| agreed.takes(section, codec);
            let taken = publication.codecs().find(|(_, codec)| codec.is_none_or(takes));
            Some((track.clone(), one.publisher, taken.map(|(index, _)| index)))
        };
        let chosen: Vec<_> = participant.subscriptions.iter().filter_map(chosen).collect();
        for (track, publisher, index) in chosen {
            let Some(index) = index else {
                self.refuse_codec(id, &track, now);
                continue;
            };
            let participant = self.participants.get_mut(&id);
            if let Some(one) = participant.and_then(|one| one.subscriptions.get_mut(&track)) {
                one.codec = index;
            }
            self.reconsider_demand(publisher, &track, now);
        }
    }

    fn require_answer(&mut self, id: ParticipantId, since: Instant, now: Instant) {
        let Some(participant) = self.participants.get(&id) else { return };
        // One whose WebSocket is away is offered anew once it is back.
        if participant.connection.is_none() || now < since + ANSWER_WITHIN {
            return;
        }
        tracing::info!(participant = id.0, "an offer is not answered: sent to join anew");
        let (reason, action) =
            (proto::DisconnectReason::MediaFailure, proto::leave_request::Action::Reconnect);
        self.remove(id, reason, Some(action), now);
    }
}

impl Participant {
    /// Gives sections to subscriptions that wait for one, new ones where there are too few. `true` if the next offer
    /// has anything that the last one had not.
    fn assign_offered_sections(&mut self) -> bool {
        let mut is_new = self.receiving.any_ended();
        for (track, subscription) in &mut self.subscriptions {
            if subscription.section.is_some() {
                continue;
            }
            let kind = subscription.kind;
            subscription.section = self.receiving.assign(track, kind).or_else(|| {
                self.receiving.add(kind)?;
                self.receiving.assign(track, kind)
            });
            is_new |= subscription.section.is_some();
        }
        is_new
    }
}
