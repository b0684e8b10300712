//! What an application is told of a room by webhook: which event is told when, and what it says.
//!
//! Somebody has joined once media flows, as with LiveKit: whoever leaves before that has aborted the connection. Tracks
//! are published when an offer carries them. Of a room in parts the home alone tells, of everyone, so that there is one
//! order.

use std::collections::BTreeSet;
use std::time::Instant;

use livekit_protocol as proto;

use super::{Room, RoomOutput};
use crate::ids::{ParticipantId, TrackSid};
use crate::participant::Participant;
use crate::publication::Publication;
use crate::room_policy::NoticePolicy;

/// What a room remembers of what it told.
#[derive(Debug, Default)]
pub(super) struct Notices {
    told: NoticePolicy,
    published: BTreeSet<TrackSid>,
}

impl Room {
    /// What is told from now on. To be called before [`Room::notice_start`].
    pub(crate) fn set_notices(&mut self, told: NoticePolicy) {
        self.outside.notices.told = told;
    }

    pub(crate) fn notice_start(&mut self, now: Instant) {
        let room = Some(self.info());
        self.notice("room_started", proto::WebhookEvent { room, ..Default::default() }, now);
    }

    pub(super) fn notice_end(&mut self, why: proto::RoomEndReason, now: Instant) {
        let event = proto::WebhookEvent {
            room: Some(self.info()),
            room_end_reason: why.into(),
            ..Default::default()
        };
        self.notice("room_finished", event, now);
    }

    pub(super) fn notice_joined(&mut self, id: ParticipantId, now: Instant) {
        if let Some(participant) = self.participants.get(&id) {
            let participant = participant.info();
            self.notice_participant("participant_joined", participant, now);
        }
    }

    /// `participant` is no longer in the roster, and says why it left.
    pub(super) fn notice_left(&mut self, participant: &Participant, now: Instant) {
        let event = if participant.connected {
            "participant_left"
        } else {
            "participant_connection_aborted"
        };
        self.notice_participant(event, participant.info(), now);
    }

    /// Tells of every track of `id` that an offer carries and nobody was told of.
    pub(super) fn notice_published(&mut self, id: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get(&id) else { return };
        let known = &self.outside.notices.published;
        let new: Vec<proto::TrackInfo> = participant
            .publications
            .values()
            .filter(|one| one.section.is_some() && !known.contains(&one.sid))
            .map(|one| one.info.clone())
            .collect();
        let who = named(&participant.profile);
        for track in new {
            self.outside.notices.published.insert(TrackSid::new(track.sid.clone()));
            self.notice_track("track_published", who.clone(), track, now);
        }
    }

    /// A publication ended that `of` made, who may have left by now.
    pub(super) fn notice_unpublished(
        &mut self,
        of: &proto::ParticipantInfo,
        publication: &Publication,
        now: Instant,
    ) {
        if self.outside.notices.published.remove(&publication.sid) {
            self.notice_track("track_unpublished", named(of), publication.info.clone(), now);
        }
    }

    fn notice_participant(
        &mut self,
        event: &str,
        participant: proto::ParticipantInfo,
        now: Instant,
    ) {
        // Everyone is counted for it.
        if self.outside.notices.told == NoticePolicy::Untold {
            return;
        }
        let (room, participant) = (Some(self.info()), Some(participant));
        let said = proto::WebhookEvent { room, participant, ..Default::default() };
        self.notice(event, said, now);
    }

    /// Of the participant, and of the room unless it is to be described, only the names are told: what they are like was
    /// told when they came.
    fn notice_track(
        &mut self,
        event: &str,
        participant: proto::ParticipantInfo,
        track: proto::TrackInfo,
        now: Instant,
    ) {
        let room = match self.outside.notices.told {
            NoticePolicy::Untold => return,
            NoticePolicy::Described => self.info(),
            NoticePolicy::Named => proto::Room {
                sid: self.info.sid.clone(),
                name: self.info.name.clone(),
                ..Default::default()
            },
        };
        let said = proto::WebhookEvent {
            room: Some(room),
            participant: Some(participant),
            track: Some(track),
            ..Default::default()
        };
        self.notice(event, said, now);
    }

    fn notice(&mut self, event: &str, said: proto::WebhookEvent, now: Instant) {
        if self.outside.notices.told == NoticePolicy::Untold {
            return;
        }
        let event = proto::WebhookEvent {
            event: event.to_owned(),
            id: crate::sids::make("EV_", &mut self.rng),
            created_at: self.clock.unix_millis(now) / 1_000,
            ..said
        };
        self.outputs.push_back(RoomOutput::Notice(Box::new(event)));
    }
}

fn named(participant: &proto::ParticipantInfo) -> proto::ParticipantInfo {
    proto::ParticipantInfo {
        sid: participant.sid.clone(),
        identity: participant.identity.clone(),
        ..Default::default()
    }
}
