//! Participants of this room who are guests in another one: what that room is told of them, and what it may ask.
//!
//! Each appearance has a link of its own, from the home of this room to the home of the other. To this room the other end
//! is a subscriber of that one participant and nothing else: it says how much of its tracks is wanted there, and may
//! end the appearance. Whatever else it says is not heard.

use std::time::Instant;

use livekit_protocol as proto;
use proto::DisconnectReason;

use super::{Room, RoomOutput};
use crate::administration::{AdministrationError, Reply, RequestId};
use crate::ids::{Identity, ParticipantId, ParticipantSid, RoomName, TrackSid};
use crate::link::{Guest, LinkId, MemberFacts, Told};
use crate::participant::Participant;
use crate::transport::Channel;

use super::administration::Outcome;

/// One participant in one other room.
#[derive(Debug)]
pub(super) struct Appearance {
    of: ParticipantId,
    room: RoomName,
    /// The other room said that it is there.
    is_taken: bool,
    /// Who asked for it and was not answered yet: as many as the server API has connections.
    waiting: Vec<RequestId>,
}

impl Room {
    /// Shows a participant in the room `destination`, whose home is at the other end of `link`, until it leaves this room
    /// or that one does not want it any more. The answer comes when that room has taken it. Where it is a guest
    /// already it stays so, and nothing goes over `link`.
    pub(crate) fn appear(
        &mut self,
        request: RequestId,
        link: LinkId,
        identity: &Identity,
        destination: RoomName,
        now: Instant,
    ) {
        match self.shown(identity) {
            Err(error) => {
                self.outputs.push_back(RoomOutput::CloseLink { link });
                self.reply(request, Err(error));
            }
            Ok(of) => self.begin_appearance(request, link, of, destination),
        }
        self.settle(now);
    }

    /// The other end of an appearance's link says something.
    pub(super) fn handle_appearance(&mut self, link: LinkId, told: Told, now: Instant) {
        match told {
            Told::GuestTaken => {
                let Some(appearance) = self.links.appearances.get_mut(&link) else { return };
                appearance.is_taken = true;
                for request in std::mem::take(&mut appearance.waiting) {
                    self.reply(request, Ok(Reply::Done));
                }
            }
            Told::GuestRefused(error) => self.end_appearance(link, &Err(error), now),
            Told::Gone { .. } => {
                self.end_appearance(link, &Err(AdministrationError::Unreachable), now);
            }
            Told::Demand { track, codec, number, level } if self.shows(link, &track) => {
                self.handle_demand(link, (&track, codec), (number, level), now);
            }
            Told::DataDemand { track, wanted } if self.shows(link, &track) => {
                self.handle_data_demand(link, &track, wanted);
            }
            _ => {}
        }
    }

    /// Tells the rooms in which `of` is a guest.
    pub(super) fn tell_appearances(&mut self, of: ParticipantId, told: &Told) {
        for link in self.appearances_of(of) {
            self.tell_link(link, told.clone());
        }
    }

    /// Tells each room in which one of these is a guest about that one.
    pub(super) fn tell_appearances_of_speakers(&mut self, speakers: &[proto::SpeakerInfo]) {
        let mut told = Vec::new();
        for (link, appearance) in &self.links.appearances {
            let sid = self.participants.get(&appearance.of).map(|one| one.profile.sid.as_str());
            let speaker = speakers.iter().find(|one| Some(one.sid.as_str()) == sid);
            told.extend(speaker.map(|speaker| (*link, speaker.clone())));
        }
        for (link, speaker) in told {
            self.tell_link(link, Told::Speaks(vec![speaker]));
        }
    }

    /// A data message of `from`, signed, for everyone is also for everyone in the rooms in which it is a guest.
    pub(super) fn deliver_to_appearances(
        &mut self,
        from: ParticipantId,
        channel: Channel,
        message: &std::sync::Arc<[u8]>,
    ) {
        let message = std::sync::Arc::clone(message);
        self.tell_appearances(from, &Told::Data { channel, message, for_observers: false });
    }

    /// `who` left: it is nobody's guest any more.
    pub(super) fn end_appearances_of(
        &mut self,
        who: &Participant,
        reason: DisconnectReason,
        now: Instant,
    ) {
        for link in self.appearances_of(who.id) {
            let member = ParticipantSid::new(who.profile.sid.as_str());
            self.tell_link(link, Told::Gone { member, reason });
            self.end_appearance(link, &Err(AdministrationError::NoParticipant), now);
        }
    }

    /// Nothing goes over `link` any more. Whoever still waits for it is answered so.
    pub(super) fn end_appearance(&mut self, link: LinkId, outcome: &Outcome, now: Instant) {
        let Some(ended) = self.links.appearances.remove(&link) else { return };
        self.media.remove_link(link);
        self.outputs.push_back(RoomOutput::CloseLink { link });
        for request in ended.waiting {
            self.reply(request, outcome.clone());
        }
        self.forget_demand_of(link, now);
    }

    /// Who is to be shown, if it can be.
    fn shown(&self, identity: &Identity) -> Result<ParticipantId, AdministrationError> {
        let id = self.called(identity)?;
        let participant = self.participants.get(&id).ok_or(AdministrationError::NoParticipant)?;
        if participant.is_dependent() {
            return Err(AdministrationError::CannotForward);
        }
        if self.is_guest(id) {
            return Err(AdministrationError::Guest);
        }
        Ok(id)
    }

    fn begin_appearance(
        &mut self,
        request: RequestId,
        link: LinkId,
        of: ParticipantId,
        room: RoomName,
    ) {
        let mut known = self.links.appearances.values_mut();
        if let Some(same) = known.find(|one| one.of == of && one.room == room) {
            let is_taken = same.is_taken;
            if !is_taken {
                same.waiting.push(request);
            }
            self.outputs.push_back(RoomOutput::CloseLink { link });
            if is_taken {
                self.reply(request, Ok(Reply::Done));
            }
            return;
        }
        let Some(participant) = self.participants.get(&of) else { return };
        let speaking = self.speakers.reported_level(of).map(|level| {
            let sid = participant.profile.sid.clone();
            proto::SpeakerInfo { sid, level, active: true }
        });
        let guest = Guest {
            room: room.clone(),
            who: MemberFacts::of(participant),
            speaking: speaking.into_iter().collect(),
        };
        let waiting = vec![request];
        self.links.appearances.insert(link, Appearance { of, room, is_taken: false, waiting });
        self.tell_link(link, Told::Guest(Box::new(guest)));
    }

    /// Whether the other end of `link` may ask for that track.
    fn shows(&self, link: LinkId, track: &TrackSid) -> bool {
        let appearance = self.links.appearances.get(&link);
        let participant = appearance.and_then(|one| self.participants.get(&one.of));
        participant.is_some_and(|one| {
            one.publications.contains_key(track) || one.data.tracks.published.contains_key(track)
        })
    }

    fn appearances_of(&self, id: ParticipantId) -> Vec<LinkId> {
        let all = self.links.appearances.iter();
        all.filter(|(_, one)| one.of == id).map(|(link, _)| *link).collect()
    }
}
