//! Participants who are in other parts of the room, as this part has to know them.

use std::collections::BTreeMap;
use std::time::Instant;

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::participant_info::State;

use super::{Room, RosterBudget};
use crate::audience::Audience;
use crate::client::Client;
use crate::ids::{Identity, ParticipantId, ParticipantSid, TrackSid};
use crate::link::{LinkId, MemberFacts, TrackFacts, VariantFacts};
use crate::liveness::Liveness;
use crate::participant::{Access, DataState, Negotiation, Participant, Whereabouts};
use crate::publication::Publication;
use crate::subscription::ReceivingSections;
use crate::token::Grant;
use crate::variant::{CodecIndex, Variant};

/// The order in which people came, the same in every part: when, then by sid.
type Order = (i64, String);

impl Room {
    /// Somebody behind `link` is as `facts` say.
    pub(super) fn handle_present(&mut self, link: LinkId, facts: MemberFacts, now: Instant) {
        let sid = ParticipantSid::new(facts.profile.sid.as_str());
        match self.member_behind(link, &sid) {
            Some(id) => self.update_member(id, facts, now),
            None => self.admit_member(link, facts, now),
        }
    }

    /// Lets somebody in who is elsewhere. Of two who came under one identity in two parts at once, every part keeps
    /// the one who came last.
    fn admit_member(&mut self, link: LinkId, facts: MemberFacts, now: Instant) {
        let identity = Identity::new(facts.profile.identity.as_str());
        let order = order(&facts.profile);
        let rivals: Vec<(ParticipantId, bool)> = self
            .participants
            .values()
            .filter(|one| one.grant.identity == identity)
            .map(|one| (one.id, self::order(&one.profile) > order))
            .collect();
        if rivals.iter().any(|(_, came_later)| *came_later) {
            // Its own part hears of that one, and sends it away.
            return;
        }
        for (id, _) in rivals {
            self.remove(id, DisconnectReason::DuplicateIdentity, Some(Action::Disconnect), now);
        }
        self.tell_departures_of(&identity, now);
        self.outside.expected.handle_arrival(&identity);
        let id = self.next_member();
        let (participant, tracks, data_tracks) = self.member(id, link, facts, now);
        self.participants.insert(id, participant);
        for track in tracks {
            self.add_track_of_member(id, track, now);
        }
        self.update_data_tracks_of_member(id, data_tracks);
        self.arrange_end(now);
        self.launch_for(id, proto::JobType::JtParticipant);
        self.notice_member(id, false, now);
        self.tell_others_about(id, now);
        self.offer_tracks(id, now);
        self.keep_to_capacity(now);
    }

    fn member(
        &mut self,
        id: ParticipantId,
        link: LinkId,
        facts: MemberFacts,
        now: Instant,
    ) -> (Participant, Vec<TrackFacts>, Vec<proto::DataTrackInfo>) {
        let MemberFacts { profile, permissions, audience, presence, tracks, data_tracks } = facts;
        let identity = Identity::new(profile.identity.as_str());
        let mut grant = Grant::new(identity, profile.name.as_str(), self.name());
        grant.permissions = permissions;
        grant.kind = profile.kind();
        let mut liveness = Liveness::new(now);
        liveness.told = presence;
        let session = self.media.add_session(id, &profile.sid, now);
        let connected = profile.state() == State::Active;
        let was_restricted = audience != Audience::Everyone;
        let participant = Participant {
            id,
            grant,
            profile,
            connection: None,
            whereabouts: Whereabouts::Beyond(link),
            session,
            connected,
            publications: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            receiving: ReceivingSections::default(),
            negotiation: Negotiation::default(),
            client: Client::default(),
            liveness,
            data: DataState::default(),
            roster_budget: RosterBudget::new(now),
            access: Access { audience, was_restricted, ..Access::default() },
        };
        (participant, tracks, data_tracks)
    }

    fn update_member(&mut self, id: ParticipantId, facts: MemberFacts, now: Instant) {
        let MemberFacts { profile, permissions, audience, tracks, data_tracks, .. } = facts;
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let was_hidden = participant.grant.permissions.hidden;
        let hides = permissions.hidden && !was_hidden;
        let was_connected =
            std::mem::replace(&mut participant.connected, profile.state() == State::Active);
        participant.profile = profile;
        participant.grant.permissions = permissions;
        let changed_audience = participant.access.audience != audience;
        participant.access.was_restricted |= audience != Audience::Everyone;
        participant.access.audience = audience;
        let published: Vec<TrackSid> = participant.publications.keys().cloned().collect();
        let is_there = |sid: &TrackSid| tracks.iter().any(|one| one.info.sid == sid.as_str());
        for ended in published.iter().filter(|sid| !is_there(sid)) {
            self.unpublish(id, ended, now);
        }
        let mut any_new = false;
        for track in tracks {
            let sid = TrackSid::new(track.info.sid.as_str());
            if published.contains(&sid) {
                self.update_track_of_member(id, &sid, track, now);
            } else {
                self.add_track_of_member(id, track, now);
                any_new = true;
            }
        }
        self.update_data_tracks_of_member(id, data_tracks);
        self.notice_member(id, was_connected, now);
        if hides {
            self.tell_of_hiding(id, now);
        }
        self.tell_others_about(id, now);
        if any_new {
            self.offer_tracks(id, now);
        }
        if changed_audience {
            self.review_audience(id, now);
        }
        self.arrange_end(now);
    }

    /// Tells applications what is new of it.
    fn notice_member(&mut self, id: ParticipantId, was_connected: bool, now: Instant) {
        if !was_connected && self.participants.get(&id).is_some_and(|one| one.connected) {
            self.notice_joined(id, now);
        }
        self.notice_published(id, now);
        self.launch_for_publisher(id);
    }

    fn add_track_of_member(&mut self, id: ParticipantId, track: TrackFacts, now: Instant) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let order = participant.publications.values().map(|one| one.order + 1).max().unwrap_or(0);
        let further = track.further.clone();
        let mut publication = Publication::from_elsewhere(order, track);
        let Some(section) = publication.section else { return };
        let key = self.media.add_track(participant.session, publication.kind(), section);
        self.media.set_muted(key, publication.info.muted);
        publication.track = Some(key);
        let sid = publication.sid.clone();
        participant.publications.insert(sid.clone(), publication);
        self.update_variants_of_member(id, &sid, &further, now);
    }

    fn update_track_of_member(
        &mut self,
        id: ParticipantId,
        sid: &TrackSid,
        track: TrackFacts,
        now: Instant,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(publication) = participant.publications.get_mut(sid) else { return };
        let changes_mute = publication.info.muted != track.info.muted;
        publication.info = track.info;
        publication.set_layers(track.layers);
        for key in publication.tracks() {
            self.media.set_muted(key, publication.info.muted);
        }
        let subscribers = publication.subscribers.clone();
        if changes_mute {
            for subscriber in subscribers {
                self.apply_wishes(subscriber, sid, now);
            }
        }
        self.update_variants_of_member(id, sid, &track.further, now);
    }

    /// The further codecs of a track are sent so now: packets of those that are sent are expected, those of others end.
    fn update_variants_of_member(
        &mut self,
        id: ParticipantId,
        sid: &TrackSid,
        further: &[VariantFacts],
        now: Instant,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(publication) = participant.publications.get_mut(sid) else { return };
        // Nothing arrives there, of any codec: it comes over the link.
        let Some(section) = publication.section else { return };
        let (kind, muted) = (publication.kind(), publication.info.muted);
        let (mut begun, mut stopped) = (Vec::new(), Vec::new());
        for (codec, facts) in CodecIndex::all_further(further.len()).zip(further) {
            let Some(variant) = publication.variant_mut(codec) else { break };
            match (facts.layers, variant.track) {
                (Some(layers), None) => {
                    variant.bind(section, layers);
                    let key = self.media.add_track(participant.session, kind, section);
                    self.media.set_muted(key, muted);
                    variant.track = Some(key);
                    begun.push(codec);
                }
                (Some(layers), Some(_)) => variant.bind(section, layers),
                (None, _) => {
                    variant.section = None;
                    stopped.extend(variant.track.take());
                }
            }
        }
        let subscribers = publication.subscribers.clone();
        for codec in &begun {
            self.connect_links(id, sid, *codec);
        }
        for track in &stopped {
            self.media.remove_track(*track);
        }
        if !stopped.is_empty() {
            self.end_feeds_of(&stopped, now);
        }
        for subscriber in subscribers.iter().filter(|_| !begun.is_empty()) {
            self.apply_wishes(*subscriber, sid, now);
        }
    }

    /// Two parts may let the last two in at the same instant: then the one who came later goes again.
    fn keep_to_capacity(&mut self, now: Instant) {
        let limit = self.info.max_participants as usize;
        if limit == 0 {
            return;
        }
        let mut counted: Vec<(Order, ParticipantId, bool)> = self
            .participants
            .values()
            .filter(|one| !one.is_dependent())
            .map(|one| {
                let is_here = one.link().is_none() || self.is_guest(one.id);
                (order(&one.profile), one.id, is_here)
            })
            .collect();
        if counted.len() <= limit {
            return;
        }
        counted.sort();
        for (_, id, is_here) in counted.split_off(limit) {
            if is_here {
                self.remove(id, DisconnectReason::JoinFailure, Some(Action::Disconnect), now);
            }
        }
    }
}

impl MemberFacts {
    pub(super) fn of(participant: &Participant) -> Self {
        let announced = participant.publications.values().filter(|one| one.section.is_some());
        let tracks = announced
            .map(|one| TrackFacts {
                info: one.info.clone(),
                layers: one.layers(),
                further: one.further.iter().map(Variant::facts).collect(),
            })
            .collect();
        Self {
            profile: proto::ParticipantInfo {
                is_publisher: participant.is_publisher(),
                ..participant.profile.clone()
            },
            permissions: participant.grant.permissions.clone(),
            audience: participant.access.audience.clone(),
            presence: participant.liveness.told,
            tracks,
            data_tracks: participant.data.tracks.infos(),
        }
    }
}

fn order(profile: &proto::ParticipantInfo) -> Order {
    (profile.joined_at_ms, profile.sid.clone())
}
