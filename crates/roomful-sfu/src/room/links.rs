//! Links of a room: what its parts tell each other of those who are in them.
//!
//! Whatever happens to a participant is told over every link but the one behind which it is, so the home passes on
//! between the other parts simply by doing what it does for its own participants.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use livekit_protocol as proto;
use proto::leave_request::Action;
use proto::{DisconnectReason, RoomEndReason};

use super::appearances::Appearance;
use super::{Room, RoomOutput};
use crate::administration::{AdministrationError, RequestId};
use crate::clock::WallClock;
use crate::ids::{Origin, ParticipantId, ParticipantSid};
use crate::link::{Introduction, LinkId, LinkMedia, LinkTrack, MemberFacts, Told};
use crate::liveness::Presence;
use crate::media::PathQuality;
use crate::room_policy::{NoticePolicy, RoomPlan, RoomPolicy};
use crate::signalling::Change;

/// What a room knows of its links.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// The link to the home, in a part that is not the home.
    pub(super) home: Option<LinkId>,
    open: BTreeSet<LinkId>,
    last_number: u32,
    origin: Origin,
    last_member: u64,
    /// What the server API asked and another part is to answer.
    pub(super) asked: BTreeMap<RequestId, LinkId>,
    /// Links to rooms in which a participant of this one is a guest.
    pub(super) appearances: BTreeMap<LinkId, Appearance>,
    /// Links by which guests come.
    pub(super) guests: BTreeSet<LinkId>,
}

/// Marks numbers that were given to what came over a link: those the worker gives begin at 1 and never come near.
pub(super) const FROM_LINK: u64 = 1 << 63;

impl Links {
    /// A number for a track from elsewhere.
    pub(super) fn next_track(&mut self) -> LinkTrack {
        self.last_number += 1;
        LinkTrack(self.last_number)
    }
}

impl Room {
    /// A part of a room whose home is at the other end of `link`.
    pub(crate) fn part(
        introduction: Introduction,
        link: LinkId,
        policy: &RoomPolicy,
        clock: WallClock,
        now: Instant,
        seed: u64,
    ) -> Self {
        let Introduction { room, playout, sif_trailer, members, speaking, expected } = introduction;
        let plan = RoomPlan { info: room.clone(), playout, agents: Vec::new() };
        let mut part = Self::new(plan, policy, clock, now, seed);
        part.info = room;
        part.links.home = Some(link);
        part.links.open.insert(link);
        part.arrange_end(now);
        // The home tells of everyone.
        part.set_notices(NoticePolicy::Untold);
        if let Ok(trailer) = sif_trailer.try_into() {
            part.terms.sif_trailer = trailer;
        }
        for facts in members {
            part.handle_present(link, facts, now);
        }
        part.handle_speaks(link, speaking, now);
        for identity in expected {
            part.keep_place(identity, now);
        }
        part.settle(now);
        part
    }

    /// Ends the sids of participants from now on.
    pub(crate) fn set_origin(&mut self, origin: Origin) {
        self.links.origin = origin;
    }

    /// A sid for a participant of this part.
    pub(super) fn participant_sid(&mut self) -> String {
        let mut sid = crate::sids::make("PA_", &mut self.rng);
        sid.push(self.links.origin.letter());
        sid
    }

    /// Whether this part is not the room's home: it lives as long as its link.
    pub(crate) fn is_away(&self) -> bool {
        self.links.home.is_some()
    }

    /// The link to its home, in a part that is not it.
    pub(crate) fn link_home(&self) -> Option<LinkId> {
        self.links.home
    }

    /// Another part of the room begins at the other end of `link`.
    pub(crate) fn open_link(&mut self, link: LinkId, now: Instant) {
        let members: Vec<MemberFacts> = self.participants.values().map(MemberFacts::of).collect();
        let speaking = self.participants.values().filter_map(|one| {
            let level = self.speakers.reported_level(one.id)?;
            Some(proto::SpeakerInfo { sid: one.profile.sid.clone(), level, active: true })
        });
        let introduction = Introduction {
            room: self.info.clone(),
            playout: self.terms.playout,
            sif_trailer: self.terms.sif_trailer.to_vec(),
            speaking: speaking.collect(),
            members,
            expected: self.expected(now).cloned().collect(),
        };
        self.links.open.insert(link);
        self.tell_link(link, Told::Welcome(Box::new(introduction)));
    }

    /// The other end of a link says something.
    pub(crate) fn handle_link(&mut self, link: LinkId, told: Told, now: Instant) {
        if self.links.open.contains(&link) {
            self.handle_part(link, told, now);
        } else if self.links.guests.contains(&link) {
            self.handle_guest(link, told, now);
        } else {
            self.handle_appearance(link, told, now);
        }
        self.settle(now);
    }

    fn handle_part(&mut self, link: LinkId, told: Told, now: Instant) {
        match told {
            Told::Expected(identity) => self.keep_place(identity, now),
            Told::Described { metadata } => {
                self.info.metadata = metadata;
                self.tell_room();
            }
            Told::Present(facts) => self.handle_present(link, *facts, now),
            Told::Gone { member, reason } => {
                if let Some(id) = self.member_behind(link, &member) {
                    self.remove(id, reason, None, now);
                }
            }
            Told::Speaks(speakers) => self.handle_speaks(link, speakers, now),
            Told::Reach { member, presence, quality } => {
                if let Some(id) = self.member_behind(link, &member) {
                    self.handle_reach(id, presence, quality, now);
                }
            }
            Told::Data { channel, message, for_observers } => {
                self.forward_from_link(link, channel, &message, for_observers, now);
            }
            Told::DataPacket { track, packet } => {
                self.forward_data_from_link(link, &track, &packet, now);
            }
            Told::DataDemand { track, wanted } => self.handle_data_demand(link, &track, wanted),
            Told::Demand { track, codec, number, level } => {
                self.handle_demand(link, (&track, codec), (number, level), now);
            }
            Told::Fetch { asker, request } => self.fetch_for(link, asker, request),
            Told::Fetched { asker, outcome } => self.handle_fetched(asker, outcome),
            Told::Permit { member, permissions } => {
                let mut here = self.participants.values().filter(|one| one.link().is_none());
                let id = here.find(|one| one.profile.sid == member.as_str()).map(|one| one.id);
                if let Some(id) = id {
                    self.set_permissions(id, *permissions, now);
                }
            }
            Told::Asked { request, what, may_unmute } => {
                let request = RequestId(request.0 | FROM_LINK);
                self.administer(request, *what, may_unmute, now);
            }
            Told::Answered { request, outcome } => {
                if self.links.asked.remove(&request) == Some(link) {
                    self.outputs.push_back(RoomOutput::Reply { request, outcome });
                }
            }
            Told::Ended { why, tell } => {
                self.forget_link(link, now);
                self.close(why, tell, now);
            }
            // These begin a link, which is the worker's to handle, or are about a guest.
            Told::Hello { .. }
            | Told::Welcome(_)
            | Told::Guest(_)
            | Told::GuestTaken
            | Told::GuestRefused(_) => {}
        }
    }

    /// A link broke: whoever is behind it is gone, and everyone here if the home is. They join anew.
    pub(crate) fn handle_link_closed(&mut self, link: LinkId, now: Instant) {
        if self.links.home == Some(link) {
            tracing::warn!("the link to a room's home broke: its participants join anew");
            self.forget_link(link, now);
            for id in self.others(ParticipantId(u64::MAX)) {
                let reason = DisconnectReason::StateMismatch;
                self.remove(id, reason, Some(Action::Reconnect), now);
            }
            let why = RoomEndReason::RoomEndServerShutdown;
            return self.close(why, DisconnectReason::ServerShutdown, now);
        }
        if self.links.open.contains(&link) {
            tracing::warn!("a link to a part of a room broke: its participants join anew");
        }
        self.forget_link(link, now);
        self.forget_guest_link(link, now);
        self.settle(now);
    }

    /// The room ends: every other part does, too.
    pub(super) fn end_links(&mut self, why: RoomEndReason, tell: DisconnectReason) {
        // Guests and appearances end as those end who are in them.
        for link in std::mem::take(&mut self.links.open) {
            if self.links.home != Some(link) {
                self.tell_link(link, Told::Ended { why, tell });
            }
            self.media.remove_link(link);
            self.outputs.push_back(RoomOutput::CloseLink { link });
        }
    }

    /// Media that came over a link.
    pub(crate) fn handle_link_media(&mut self, link: LinkId, media: &LinkMedia, now: Instant) {
        self.media.handle_link(link, media, now);
        self.settle(now);
    }

    /// Media for a link.
    pub(crate) fn poll_link_media(&mut self) -> Option<(LinkId, LinkMedia)> {
        self.media.poll_link()
    }

    /// It has other parts, or participants who are guests elsewhere.
    pub(super) fn has_links(&self) -> bool {
        !self.links.open.is_empty() || !self.links.appearances.is_empty()
    }

    /// Tells every part that `of` is not in how it is now, and the rooms in which it is a guest.
    pub(super) fn tell_links_about(&mut self, of: ParticipantId) {
        if !self.has_links() {
            return;
        }
        let Some(participant) = self.participants.get(&of) else { return };
        let (behind, facts) = (participant.link(), MemberFacts::of(participant));
        let told = Told::Present(Box::new(facts));
        self.tell_links(behind, &told);
        self.tell_appearances(of, &told);
    }

    /// Tells the same whether it is within reach.
    pub(super) fn tell_links_of_reach(&mut self, of: ParticipantId) {
        let Some(participant) = self.participants.get(&of) else { return };
        let member = ParticipantSid::new(participant.profile.sid.as_str());
        let (presence, quality) = (participant.liveness.told, participant.liveness.quality);
        let told = Told::Reach { member, presence, quality };
        self.tell_links(participant.link(), &told);
        self.tell_appearances(of, &told);
    }

    /// Tells every part but the one behind `but` who talks, and the rooms in which one of them is a guest.
    pub(super) fn tell_links_of_speakers(
        &mut self,
        but: Option<LinkId>,
        speakers: &[proto::SpeakerInfo],
    ) {
        if !self.links.open.is_empty() {
            self.tell_links(but, &Told::Speaks(speakers.to_vec()));
        }
        self.tell_appearances_of_speakers(speakers);
    }

    /// Tells every part but the one behind a link.
    pub(super) fn tell_links(&mut self, but: Option<LinkId>, told: &Told) {
        let links: Vec<LinkId> = self.links.open.iter().copied().collect();
        for link in links.into_iter().filter(|link| Some(*link) != but) {
            self.tell_link(link, told.clone());
        }
    }

    pub(super) fn tell_link(&mut self, link: LinkId, told: Told) {
        self.outputs.push_back(RoomOutput::Link { link, told });
    }

    /// A number for somebody who is elsewhere.
    pub(super) fn next_member(&mut self) -> ParticipantId {
        self.links.last_member += 1;
        ParticipantId(self.links.last_member | FROM_LINK)
    }

    pub(super) fn handle_speaks(
        &mut self,
        link: LinkId,
        mut told: Vec<proto::SpeakerInfo>,
        now: Instant,
    ) {
        told.retain(|speaker| {
            let sid = ParticipantSid::new(speaker.sid.as_str());
            let Some(id) = self.member_behind(link, &sid) else { return false };
            self.speakers.handle_report(id, speaker.active.then_some(speaker.level));
            self.tell_gathered_of(id, now);
            true
        });
        if told.is_empty() {
            return;
        }
        self.tell_links_of_speakers(Some(link), &told);
        self.tell_all(Change::Speakers(told), None);
    }

    pub(super) fn handle_reach(
        &mut self,
        id: ParticipantId,
        presence: Presence,
        quality: Option<PathQuality>,
        now: Instant,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if std::mem::replace(&mut participant.liveness.told, presence) != presence {
            self.tell_quality(id, now);
        }
        if let Some(quality) = quality {
            self.handle_path_quality(id, quality);
        }
    }

    /// The participant of that sid, if it is behind that link.
    pub(super) fn member_behind(
        &self,
        link: LinkId,
        member: &ParticipantSid,
    ) -> Option<ParticipantId> {
        let mut behind = self.participants.values().filter(|one| one.link() == Some(link));
        behind.find(|one| one.profile.sid == member.as_str()).map(|one| one.id)
    }

    /// Nothing is told over `link` any more, nobody behind it is here, and nothing wanted there is sent.
    fn forget_link(&mut self, link: LinkId, now: Instant) {
        if !self.links.open.remove(&link) {
            return;
        }
        self.media.remove_link(link);
        self.outputs.push_back(RoomOutput::CloseLink { link });
        let behind: Vec<ParticipantId> = self
            .participants
            .values()
            .filter(|one| one.link() == Some(link))
            .map(|one| one.id)
            .collect();
        for id in behind {
            self.remove(id, DisconnectReason::ConnectionTimeout, None, now);
        }
        self.forget_demand_of(link, now);
        let asked = std::mem::take(&mut self.links.asked);
        for (request, to) in asked {
            if to == link {
                self.reply(request, Err(AdministrationError::NoParticipant));
            } else {
                self.links.asked.insert(request, to);
            }
        }
    }

    /// Nothing is wanted over `link` any more.
    pub(super) fn forget_demand_of(&mut self, link: LinkId, now: Instant) {
        let mut unwanted = Vec::new();
        for participant in self.participants.values_mut() {
            for publication in participant.publications.values_mut() {
                if publication.spread.forget(link) {
                    unwanted.push((participant.id, publication.sid.clone()));
                }
            }
        }
        for (publisher, track) in unwanted {
            self.reconsider_demand(publisher, &track, now);
        }
        self.forget_data_link(link);
    }
}
