//! Offers and answers: which section carries which track.
//!
//! A participant with one transport alone offers. Its sending sections are matched to the tracks it announced, its
//! receiving sections to the tracks it subscribes to; where there are too few, it is asked to make more. On one that
//! has another transport for receiving, its offers are about what it sends only (see [`super::offering`]).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use livekit_protocol::request_response::Reason;

use super::{Room, RoomOutput, Timer};
use crate::demand::Demand;
use crate::egress::MediaKind;
use crate::ids::{ParticipantId, TrackSid};
use crate::media::TrackKey;
use crate::participant::Participant;
use crate::signalling::{Change, Refusal};
use crate::track_info;
use crate::transport::answer::StreamLabel;
use crate::transport::offer::{OfferedSection, SectionKind};
use crate::transport::{Section, SentAs};
use crate::transports::{Role, TransportId};
use crate::variant::{CodecIndex, Coded};

/// After this long an offer that was asked for and did not come is asked for again. Longer leaves people
/// unseen after a lost request, shorter asks twice on slow paths and so makes spare sections.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Room {
    /// Takes an offer and answers it.
    pub(super) fn handle_offer(
        &mut self,
        from: ParticipantId,
        sdp: &str,
        offer_id: u32,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        self.touched.push(from);
        let allowed = participant.allowed_codecs(&self.terms.codecs);
        let Some(transport) = participant.transport_mut(Role::Publishing) else { return Ok(()) };
        let offered = transport
            .handle_offer(sdp, &allowed)
            .map_err(|error| Refusal::new(Reason::InvalidRequest, error.to_string()))?;
        let negotiated = transport.negotiated().clone();
        participant.negotiation.handle_offer(&offered);
        let sends = |section| offered.iter().any(|one| one.section == section && one.sends);
        self.media.handle_negotiated(participant.session, negotiated, sends);
        let receives = participant.receives_by() == Role::Publishing;
        if receives {
            self.take_receiving_sections(from, &offered);
        }
        self.learn_ufrag(TransportId { participant: from, role: Role::Publishing });
        let changed = self.match_publications(from, &offered, now);
        if receives {
            self.assign_sections(from, now);
        }
        self.answer(from, offer_id);
        if changed {
            self.announce_tracks(from, now);
        }
        self.apply_all_wishes(from, now);
        self.refresh_sections(from, now);
        Ok(())
    }

    /// Asks `id` for an offer, or makes one, if one is needed: tracks wait for a section, or a section shows one that
    /// ended.
    pub(super) fn refresh_sections(&mut self, id: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.receiving_transport().is_some() {
            // Only once all that happens now has happened: it is one offer.
            self.to_offer.insert(id);
            return;
        }
        let missing = |kind| {
            let waiting = participant.waiting(kind);
            waiting.saturating_sub(participant.receiving.spare_or_ended(kind))
        };
        let (audio, video) = (missing(MediaKind::Audio), missing(MediaKind::Video));
        let waiting = participant.waiting(MediaKind::Audio) + participant.waiting(MediaKind::Video);
        let needed = waiting > 0 || participant.receiving.any_ended();
        let patient = participant
            .negotiation
            .asked
            .is_some_and(|(_, at)| now.saturating_duration_since(at) < ASK_AGAIN_AFTER);
        if !needed || !participant.negotiation.begun || patient {
            return;
        }
        let expected = participant.receiving.len() + audio + video;
        participant.negotiation.asked = Some((expected, now));
        self.timers.set(Timer::Negotiation(id), Some(now + ASK_AGAIN_AFTER));
        let count = |sections| u32::try_from(sections).unwrap_or(u32::MAX);
        self.tell(id, Change::SectionsNeeded { audio: count(audio), video: count(video) });
    }

    pub(super) fn learn_ufrag(&mut self, id: TransportId) {
        let participant = self.participants.get_mut(&id.participant);
        if let Some(transport) = participant.and_then(|one| one.transport_mut(id.role)) {
            let ufrag = transport.local_ufrag();
            self.outputs.push_back(RoomOutput::Reachable { transport: id, ufrag });
        }
    }

    /// What the receiving sections of `id` carry, as its client is told.
    pub(super) fn labels(&self, id: ParticipantId) -> BTreeMap<Section, StreamLabel> {
        let Some(participant) = self.participants.get(&id) else { return BTreeMap::new() };
        let in_step = self.terms.playout.in_step && participant.client.knows_shared_streams();
        let label = |section| {
            let track = participant.receiving.track(section)?;
            let publisher = participant.subscriptions.get(track)?.publisher;
            let publisher = self.participants.get(&publisher)?;
            let sid = &publisher.profile.sid;
            let info = publisher.publications.get(track).map(|one| &one.info);
            // Tracks of one stream are played in step.
            let shared = info.map(|info| info.stream.as_str());
            let shared = shared.filter(|stream| in_step && !stream.is_empty());
            let (stream, cname) =
                (format!("{sid}|{}", shared.unwrap_or(track.as_str())), sid.clone());
            let stereo = info.is_some_and(track_info::is_stereo);
            Some((section, StreamLabel { stream, track: track.to_string(), cname, stereo }))
        };
        participant.receiving.sections().filter_map(label).collect()
    }

    /// Binds announced tracks to the sections that send them, ends those whose sections stopped. `true` if
    /// anything others can see changed.
    fn match_publications(
        &mut self,
        from: ParticipantId,
        offered: &[OfferedSection],
        now: Instant,
    ) -> bool {
        let Some(participant) = self.participants.get_mut(&from) else { return false };
        let mut changed = false;
        let ended: Vec<TrackSid> = participant
            .publications
            .values()
            .filter(|one| {
                one.section.is_some_and(|section| {
                    !offered.iter().any(|offer| offer.section == section && offer.sends)
                })
            })
            .map(|one| one.sid.clone())
            .collect();
        let session = participant.session;
        let stopped = participant.end_variants(offered);
        for track in &stopped {
            self.media.remove_track(*track);
        }
        let Some(participant) = self.participants.get_mut(&from) else { return false };
        let (mut waited_for, mut carried) = (Vec::new(), Vec::new());
        for offer in offered.iter().filter(|offer| offer.sends) {
            let Some((sid, index)) = participant.bind_publication(offer) else { continue };
            let Some(bound) = participant.publications.get_mut(&sid) else { continue };
            let track = self.media.add_track(session, bound.kind(), offer.section);
            self.media.set_muted(track, bound.info.muted);
            match bound.variant_mut(index) {
                Some(variant) => variant.track = Some(track),
                None => bound.track = Some(track),
            }
            waited_for.extend(bound.subscribers.iter().map(|id| (*id, bound.sid.clone())));
            carried.push((sid, index));
            changed = true;
        }
        for (track, index) in carried {
            self.connect_links(from, &track, index);
        }
        if !stopped.is_empty() {
            self.end_feeds_of(&stopped, now);
            self.tell_other_parts_about(from, now);
        }
        for (subscriber, track) in waited_for {
            self.apply_wishes(subscriber, &track, now);
        }
        for track in &ended {
            self.unpublish(from, track, now);
        }
        changed || !ended.is_empty()
    }

    /// Lets subscriptions wait again whose sections an offer takes away.
    fn take_receiving_sections(&mut self, id: ParticipantId, offered: &[OfferedSection]) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        for track in participant.receiving.handle_offer(offered) {
            if let Some(subscription) = participant.subscriptions.get_mut(&track) {
                subscription.section = None;
                if let Some(feed) = subscription.feed.take() {
                    self.media.remove_feed(feed);
                }
            }
        }
    }

    /// These stopped: whoever received one waits for it again, in a section that shows its end first.
    pub(super) fn end_feeds_of(&mut self, stopped: &[TrackKey], now: Instant) {
        let mut waiting = Vec::new();
        for participant in self.participants.values_mut() {
            let mut released = Vec::new();
            for subscription in participant.subscriptions.values_mut() {
                if subscription.feed.take_if(|feed| stopped.contains(&feed.track)).is_some() {
                    released.extend(subscription.section.take());
                }
            }
            if !released.is_empty() {
                released.into_iter().for_each(|section| participant.release(section));
                waiting.push(participant.id);
            }
        }
        for id in waiting {
            self.touched.push(id);
            self.refresh_sections(id, now);
        }
    }

    /// Gives each subscription that waits a section in which the participant takes one of the codecs of the track.
    fn assign_sections(&mut self, id: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get(&id) else { return };
        let waiting = participant.subscriptions.iter().filter(|(_, one)| one.section.is_none());
        let waiting: Vec<(TrackSid, ParticipantId, Vec<Coded>)> = waiting
            .filter_map(|(track, one)| {
                let publication = self.participants.get(&one.publisher)?.publications.get(track)?;
                Some((track.clone(), one.publisher, publication.codecs().collect()))
            })
            .collect();
        for (track, publisher, codecs) in waiting {
            let Some(participant) = self.participants.get_mut(&id) else { return };
            match participant.assign_section(&track, &codecs) {
                Assigned::Nothing => {}
                Assigned::Section(_) => self.reconsider_demand(publisher, &track, now),
                Assigned::Undecodable => self.refuse_codec(id, &track, now),
            }
        }
    }

    fn answer(&mut self, id: ParticipantId, offer_id: u32) {
        let (mut labels, mut tracks) = (BTreeMap::new(), Vec::new());
        let receives = |one: &Participant| one.receives_by() == Role::Publishing;
        if self.participants.get(&id).is_some_and(receives) {
            labels = self.labels(id);
        }
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let sent = participant.sent();
        let Some(transport) = participant.transport_mut(Role::Publishing) else { return };
        let sdp = transport.answer(&labels, &sent);
        if receives(participant) {
            tracks = participant.receiving.named_tracks();
            participant.receiving.handle_answered();
        }
        self.tell(id, Change::Answered { sdp, id: offer_id, tracks });
    }
}

/// What became of a subscription that waited for a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Assigned {
    /// It has one, in which the participant takes this codec.
    Section(CodecIndex),
    /// There is none of its kind.
    Nothing,
    /// The participant takes none of the codecs.
    Undecodable,
}

impl Participant {
    /// Lets a section carry `track`, in the first of its `codecs` that the participant takes; `None` is not known.
    fn assign_section(&mut self, track: &TrackSid, codecs: &[Coded]) -> Assigned {
        let Some(kind) = self.subscriptions.get(track).map(|one| one.kind) else {
            return Assigned::Nothing;
        };
        let Some(section) = self.receiving.spare(kind) else { return Assigned::Nothing };
        let transport = self.transport(self.receives_by());
        let negotiated = transport.map(|transport| transport.negotiated());
        let takes = |codec| negotiated.is_some_and(|agreed| agreed.takes(section, codec));
        let taken = codecs.iter().find(|(_, codec)| codec.is_none_or(takes));
        let Some((index, _)) = taken.copied() else { return Assigned::Undecodable };
        let section = self.receiving.assign(track, kind);
        if let Some(subscription) = self.subscriptions.get_mut(track) {
            subscription.section = section;
            subscription.codec = index;
        }
        Assigned::Section(index)
    }

    /// Ends further codecs whose sections stopped. Returns what their packets were.
    fn end_variants(&mut self, offered: &[OfferedSection]) -> Vec<TrackKey> {
        let sends = |section| offered.iter().any(|one| one.section == section && one.sends);
        let variants = self.publications.values_mut().flat_map(|one| &mut one.further);
        variants
            .filter(|one| one.section.is_some_and(|section| !sends(section)))
            .filter_map(|one| {
                one.section = None;
                one.demand = Demand::default();
                one.track.take()
            })
            .collect()
    }

    /// How many subscriptions of a kind have no section yet.
    pub(super) fn waiting(&self, kind: MediaKind) -> usize {
        let waits =
            |one: &&crate::subscription::Subscription| one.kind == kind && one.section.is_none();
        self.subscriptions.values().filter(waits).count()
    }

    /// Binds the announced track, or further codec of one, that `offer` carries. Browsers may rename a track when it
    /// enters a peer connection (Firefox does), so where no announced track has that name, it is the one of its kind
    /// that has waited longest.
    fn bind_publication(&mut self, offer: &OfferedSection) -> Option<(TrackSid, CodecIndex)> {
        let kind = match offer.kind {
            SectionKind::Audio => MediaKind::Audio,
            SectionKind::Video => MediaKind::Video,
            SectionKind::Data => return None,
        };
        if self.publications.values().any(|one| one.is_carried_by(offer.section)) {
            return None;
        }
        let transport = self.transport(Role::Publishing);
        let agreed = transport.map(|transport| transport.negotiated().codecs(offer.section));
        // Where no codec was agreed on nothing is sent.
        let agreed = agreed.filter(|agreed| !agreed.is_empty())?;
        let track = offer.track.as_deref().unwrap_or_default();
        if let Some((sid, index)) = self.variant_called(track)
            && let Some(publication) = self.publications.get_mut(&sid)
        {
            publication.bind_variant(index, offer);
            return Some((sid, index));
        }
        let waiting = self.publications.values_mut();
        let announced = waiting
            .filter(|one| one.section.is_none() && one.kind() == kind)
            .min_by_key(|one| (!one.is_called(track), one.order));
        let publication = announced?;
        publication.bind(offer.section, &offer.mid, offer.rids.len(), &agreed);
        Some((publication.sid.clone(), CodecIndex::FIRST))
    }

    /// How each section is to be sent that carries a publication.
    fn sent(&self) -> BTreeMap<Section, SentAs> {
        let alone = !self.client.heeds_order();
        self.publications.values().flat_map(|one| one.sent(alone)).collect()
    }

    /// The further codec that waits for a track of that name.
    fn variant_called(&self, cid: &str) -> Option<(TrackSid, CodecIndex)> {
        let sent = self.publications.values().filter(|one| one.section.is_some());
        sent.filter(|_| !cid.is_empty())
            .find_map(|one| Some((one.sid.clone(), one.variant_called(cid)?)))
    }
}

impl crate::participant::Negotiation {
    /// An offer with at least as many receiving sections as asked for is the one that was asked for; one with
    /// fewer was on its way already.
    fn handle_offer(&mut self, offered: &[OfferedSection]) {
        self.begun = true;
        let receiving =
            offered.iter().filter(|one| one.receives && one.kind != SectionKind::Data).count();
        if self.asked.is_some_and(|(expected, _)| receiving >= expected) {
            self.asked = None;
        }
    }
}
