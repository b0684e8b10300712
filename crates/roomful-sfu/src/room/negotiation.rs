//! Offers and answers: which section carries which track.
//!
//! The participant alone offers. Its sending sections are matched to the tracks it announced, its receiving
//! sections to the tracks it subscribes to; where there are too few, it is asked to make more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use livekit_protocol::request_response::Reason;

use super::{Room, RoomOutput, Timer};
use crate::codecs::{AllowedCodecs, Codec};
use crate::egress::MediaKind;
use crate::ids::{ParticipantId, TrackSid};
use crate::participant::Participant;
use crate::publication::Publication;
use crate::signalling::{Change, Refusal};
use crate::transport::answer::StreamLabel;
use crate::transport::offer::{OfferedSection, SectionKind};

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
        let disabled = participant.client.disabled_codecs();
        let allowed = AllowedCodecs::new(&self.terms.codecs, &disabled);
        let Some(transport) = participant.transport_mut() else { return Ok(()) };
        let offered = transport
            .handle_offer(sdp, &allowed)
            .map_err(|error| Refusal::new(Reason::InvalidRequest, error.to_string()))?;
        let negotiated = transport.negotiated().clone();
        participant.negotiation.handle_offer(&offered);
        let sends = |section| offered.iter().any(|one| one.section == section && one.sends);
        self.media.handle_negotiated(participant.session, negotiated, sends);
        for track in participant.receiving.handle_offer(&offered) {
            if let Some(subscription) = participant.subscriptions.get_mut(&track) {
                subscription.section = None;
                if let Some(feed) = subscription.feed.take() {
                    self.media.remove_feed(feed);
                }
            }
        }
        self.learn_ufrag(from);
        let changed = self.match_publications(from, &offered, now);
        self.assign_sections(from, now);
        self.answer(from, offer_id);
        if changed {
            self.announce_tracks(from, now);
        }
        self.apply_all_wishes(from, now);
        self.refresh_sections(from, now);
        Ok(())
    }

    /// Asks `id` for an offer if one is needed: tracks wait for a section, or a section shows one that ended.
    pub(super) fn refresh_sections(&mut self, id: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
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

    pub(super) fn learn_ufrag(&mut self, id: ParticipantId) {
        if let Some(transport) = self.participants.get_mut(&id).and_then(Participant::transport_mut)
        {
            let ufrag = transport.local_ufrag();
            self.outputs.push_back(RoomOutput::Reachable { participant: id, ufrag });
        }
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
        let mut waited_for = Vec::new();
        for offer in offered.iter().filter(|offer| offer.sends) {
            let Some(bound) = participant.bind_publication(offer) else { continue };
            let track = self.media.add_track(session, bound.kind(), offer.section);
            self.media.set_muted(track, bound.info.muted);
            bound.track = Some(track);
            waited_for.extend(bound.subscribers.iter().map(|id| (*id, bound.sid.clone())));
            changed = true;
        }
        for (subscriber, track) in waited_for {
            self.apply_wishes(subscriber, &track, now);
        }
        for track in &ended {
            self.unpublish(from, track, now);
        }
        changed || !ended.is_empty()
    }

    /// Gives each subscription that waits a section in which the participant takes what the track is coded with.
    fn assign_sections(&mut self, id: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get(&id) else { return };
        let waiting = participant.subscriptions.iter().filter(|(_, one)| one.section.is_none());
        let waiting: Vec<(TrackSid, Option<Codec>)> = waiting
            .map(|(track, one)| {
                let publisher = self.participants.get(&one.publisher);
                let publication = publisher.and_then(|one| one.publications.get(track));
                (track.clone(), publication.and_then(Publication::codec))
            })
            .collect();
        for (track, codec) in waiting {
            let Some(participant) = self.participants.get_mut(&id) else { return };
            if participant.assign_section(&track, codec) == Assigned::Undecodable {
                self.refuse_codec(id, &track, now);
            }
        }
    }

    fn answer(&mut self, id: ParticipantId, offer_id: u32) {
        let Some(participant) = self.participants.get(&id) else { return };
        let label = |section| {
            let track = participant.receiving.track(section)?;
            let publisher = participant.subscriptions.get(track)?.publisher;
            let sid = &self.participants.get(&publisher)?.profile.sid;
            let (stream, cname) = (format!("{sid}|{track}"), sid.clone());
            Some((section, StreamLabel { stream, track: track.to_string(), cname }))
        };
        let labels: BTreeMap<_, _> = participant.receiving.sections().filter_map(label).collect();
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(transport) = participant.transport_mut() else { return };
        let sdp = transport.answer(&labels);
        let tracks = participant
            .receiving
            .carrying()
            .map(|(mid, track)| (mid.to_owned(), track.clone()))
            .collect();
        participant.receiving.handle_answered();
        self.tell(id, Change::Answered { sdp, id: offer_id, tracks });
    }
}

/// What became of a subscription that waited for a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Assigned {
    /// It has one.
    Section,
    /// There is none of its kind.
    Nothing,
    /// The participant does not take the codec.
    Undecodable,
}

impl Participant {
    /// Lets a section carry `track`, which is coded with `codec`; `None` is not known.
    fn assign_section(&mut self, track: &TrackSid, codec: Option<Codec>) -> Assigned {
        let Some(kind) = self.subscriptions.get(track).map(|one| one.kind) else {
            return Assigned::Nothing;
        };
        let Some(section) = self.receiving.spare(kind) else { return Assigned::Nothing };
        let negotiated = self.transport().map(|transport| transport.negotiated());
        let takes = |codec| negotiated.is_some_and(|agreed| agreed.takes(section, codec));
        if codec.is_some_and(|codec| !takes(codec)) {
            return Assigned::Undecodable;
        }
        let section = self.receiving.assign(track, kind);
        if let Some(subscription) = self.subscriptions.get_mut(track) {
            subscription.section = section;
        }
        Assigned::Section
    }

    /// How many subscriptions of a kind have no section yet.
    fn waiting(&self, kind: MediaKind) -> usize {
        let waits =
            |one: &&crate::subscription::Subscription| one.kind == kind && one.section.is_none();
        self.subscriptions.values().filter(waits).count()
    }

    /// Binds the announced track that `offer` carries. Browsers may rename a track when it enters a peer
    /// connection (Firefox does), so where no announced track has that name, it is the one of its kind that
    /// has waited longest.
    fn bind_publication(&mut self, offer: &OfferedSection) -> Option<&mut Publication> {
        let kind = match offer.kind {
            SectionKind::Audio => MediaKind::Audio,
            SectionKind::Video => MediaKind::Video,
            SectionKind::Data => return None,
        };
        if self.publications.values().any(|one| one.section == Some(offer.section)) {
            return None;
        }
        let agreed = self.transport().map(|transport| transport.negotiated().codecs(offer.section));
        // Where no codec was agreed on nothing is sent.
        let agreed = agreed.filter(|agreed| !agreed.is_empty())?;
        let track = offer.track.as_deref().unwrap_or_default();
        let waiting = self.publications.values_mut();
        let announced = waiting
            .filter(|one| one.section.is_none() && one.kind() == kind)
            .min_by_key(|one| (!one.is_called(track), one.order));
        let publication = announced?;
        publication.bind(offer.section, &offer.mid, offer.rids.len(), &agreed);
        Some(publication)
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
