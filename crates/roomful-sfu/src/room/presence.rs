//! Who is connected and how well, who is out of reach, who talks.

use std::collections::BTreeSet;
use std::time::Instant;

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::participant_info::State;

use super::{Room, RoomOutput, Timer};
use crate::ids::ParticipantId;
use crate::liveness::Presence;
use crate::media::PathQuality;
use crate::participant::Participant;
use crate::signalling::Change;
use crate::transports::Role;

impl Room {
    /// The participant's connection shows its other end alive.
    pub(crate) fn handle_alive(&mut self, id: ParticipantId, now: Instant) {
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.liveness.handle_connection(now);
            if participant.liveness.told != Presence::Present {
                self.assess_presence(id, now);
            }
        }
    }

    /// Media may flow from now on, by that transport.
    pub(super) fn handle_connected(&mut self, id: ParticipantId, role: Role, now: Instant) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Some(transports) = participant.transports_mut() else { return };
        let is_primary = transports.primary() == role;
        if role == Role::Receiving
            && let Some(receiving) = &mut transports.receiving
        {
            receiving.connected = true;
        }
        if is_primary && !std::mem::replace(&mut participant.connected, true) {
            participant.set_state(State::Active);
            tracing::debug!(participant = id.0, "connected");
            self.notice_joined(id, now);
            self.tell_others_about(id, now);
        }
        self.apply_all_wishes(id, now);
    }

    /// Tells others if a participant fell out of reach or is back, and removes one that is gone.
    pub(super) fn assess_presence(&mut self, id: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let presence = participant.liveness.presence(now);
        let before = std::mem::replace(&mut participant.liveness.told, presence);
        if presence == Presence::Gone {
            tracing::info!(participant = id.0, "not heard of for too long: removed");
            let reason = DisconnectReason::ConnectionTimeout;
            return self.remove(id, reason, Some(Action::Reconnect), now);
        }
        if participant.liveness.poll_ping(now)
            && let Some(connection) = participant.connection
        {
            self.outputs.push_back(RoomOutput::Ping { connection });
        }
        let next = participant.liveness.poll_timeout(now);
        self.timers.set(Timer::Liveness(id), Some(next));
        if presence != before {
            self.tell_quality(id, now);
        }
    }

    /// Tells everyone who began or stopped talking since the last time.
    pub(super) fn report_speakers(&mut self, now: Instant) {
        if let Some(changed) = self.speakers.poll_change(now) {
            let speakers: Vec<_> = changed
                .iter()
                .filter_map(|speaker| {
                    let participant = self.participants.get(&speaker.participant)?;
                    Some(proto::SpeakerInfo {
                        sid: participant.profile.sid.clone(),
                        level: speaker.level,
                        active: speaker.active,
                    })
                })
                .collect();
            if !speakers.is_empty() {
                for speaker in &changed {
                    self.tell_gathered_of(speaker.participant, now);
                }
                self.tell_links_of_speakers(None, &speakers);
                self.tell_all(Change::Speakers(speakers), None);
            }
        }
        self.timers.set(Timer::Speakers, self.speakers.poll_timeout());
    }

    /// Tells whom it concerns how well participants turned out to be connected: each itself and those who receive it.
    pub(super) fn tell_path_qualities(&mut self) {
        while let Some((id, quality)) = self.media.poll_quality() {
            self.handle_path_quality(id, quality);
        }
    }

    /// `of` is connected so well from now on.
    pub(super) fn handle_path_quality(&mut self, of: ParticipantId, quality: PathQuality) {
        let Some(participant) = self.participants.get_mut(&of) else { return };
        let before = participant.liveness.quality.replace(quality);
        if before.map(PathQuality::grade) == Some(quality.grade()) {
            return;
        }
        let own = own_quality(participant);
        let told = self::quality(participant);
        let receivers: BTreeSet<ParticipantId> =
            participant.publications.values().flat_map(|one| &one.subscribers).copied().collect();
        self.tell_links_of_reach(of);
        if let Some(told) = told {
            self.tell_those(Change::Quality(vec![told]), |one| receivers.contains(&one.id));
        }
        let mut about = vec![own];
        if before.is_none() {
            about.extend(self.qualities_received_by(of));
        }
        self.tell(of, Change::Quality(about));
    }

    /// How well those are connected whom `id` receives, as far as that was judged.
    fn qualities_received_by(&self, id: ParticipantId) -> Vec<proto::ConnectionQualityInfo> {
        let Some(participant) = self.participants.get(&id) else { return Vec::new() };
        let publishers: BTreeSet<ParticipantId> =
            participant.subscriptions.values().map(|one| one.publisher).collect();
        let publishers = publishers.iter().filter_map(|publisher| self.participants.get(publisher));
        let judged = publishers.filter(|one| one.liveness.quality.is_some());
        judged.filter_map(quality).collect()
    }

    /// Tells `to` who is out of reach and who talks, of which others were told when it changed. Someone who was
    /// away may also have missed that it ended.
    pub(super) fn tell_presence_to(&mut self, to: ParticipantId, was_away: bool) {
        let others = || {
            self.participants.values().filter(|one| one.id != to && !one.grant.permissions.hidden)
        };
        let qualities: Vec<_> = others()
            .filter(|one| was_away || one.liveness.told != Presence::Present)
            .filter_map(quality)
            .collect();
        let speakers: Vec<_> = others()
            .filter(|one| was_away || self.speakers.reported_level(one.id).is_some())
            .map(|one| {
                let level = self.speakers.reported_level(one.id);
                proto::SpeakerInfo {
                    sid: one.profile.sid.clone(),
                    level: level.unwrap_or_default(),
                    active: level.is_some(),
                }
            })
            .collect();
        if !qualities.is_empty() {
            self.tell(to, Change::Quality(qualities));
        }
        if !speakers.is_empty() {
            self.tell(to, Change::Speakers(speakers));
        }
    }
}

/// How well a participant is connected, as others see it; someone hidden is seen by nobody.
pub(super) fn quality(participant: &Participant) -> Option<proto::ConnectionQualityInfo> {
    if participant.grant.permissions.hidden {
        return None;
    }
    Some(own_quality(participant))
}

/// The same as the participant itself is told.
fn own_quality(participant: &Participant) -> proto::ConnectionQualityInfo {
    let quality = match participant.liveness.told {
        Presence::Present => participant.liveness.quality.unwrap_or(PathQuality::UNKNOWN),
        Presence::Lost | Presence::Gone => PathQuality::LOST,
    };
    proto::ConnectionQualityInfo {
        participant_sid: participant.profile.sid.clone(),
        quality: quality.grade().into(),
        score: quality.score(),
    }
}
