//! What goes wrong on request: clients test with it how they come back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;

use super::capacity::Capacity;
use super::{Room, RoomOutput, Timer};
use crate::ids::{ConnectionId, Identity, ParticipantId};
use crate::participant::Participant;
use crate::signalling::{Change, Scenario, Ways};

/// What is to go wrong, for tests.
#[derive(Debug, Default)]
pub(super) struct Rehearsals {
    cuts: BTreeMap<ParticipantId, Cut>,
    /// Who is to have which ways for its media, and until when: whoever joins anew is another participant.
    ways: BTreeMap<Identity, (Ways, Instant)>,
    /// Who is to receive only so much.
    pub(super) capacities: BTreeMap<ParticipantId, Capacity>,
}

/// A WebSocket that is to be cut when its participant resumes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// When the next resume happens.
    at: CutAt,
    /// Later it is left alone.
    until: Instant,
}

/// The moment of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CutAt {
    /// The client has heard nothing yet.
    Opening,
    /// It was told what it missed.
    Resumed,
}

/// How long a resume may be in coming: LiveKit's value. Longer cuts one that has nothing to do with the test.
const CUT_WITHIN: Duration = Duration::from_secs(5);

/// How long a participant keeps to the ways it asked for, as LiveKit has it. Longer keeps whoever tried it once from
/// better ways in later calls.
const WAYS_LAST: Duration = Duration::from_secs(5 * 60);

/// Loudness of a simulated speaker: LiveKit's value.
const SIMULATED_LEVEL: f32 = 0.9;

/// Longest time somebody seems to talk. Longer lets one client light up its tile for everyone all day.
const LONGEST_SPEECH: Duration = Duration::from_secs(60);

impl Room {
    /// Lets happen to `from` what it asks for.
    pub(super) fn simulate(&mut self, from: ParticipantId, scenario: Scenario, now: Instant) {
        match scenario {
            Scenario::Speech(length) => {
                self.tell_simulated_speaker(from, true);
                let end = now + length.min(LONGEST_SPEECH);
                self.timers.set(Timer::SimulatedSpeech(from), Some(end));
            }
            Scenario::NodeFailure => self.remove(from, DisconnectReason::ServerShutdown, None, now),
            Scenario::Migration => self.remove(from, DisconnectReason::Migration, None, now),
            Scenario::ServerLeave => {
                let reason = DisconnectReason::ServerShutdown;
                self.remove(from, reason, Some(Action::Disconnect), now);
            }
            Scenario::FullReconnect => {
                let reason = DisconnectReason::UnknownReason;
                self.remove(from, reason, Some(Action::Reconnect), now);
            }
            Scenario::CutResume => self.arm_cut(from, CutAt::Resumed, now),
            Scenario::CutResumeUnanswered => self.arm_cut(from, CutAt::Opening, now),
            Scenario::Ways(ways) => self.set_ways(from, ways, now),
            Scenario::Bandwidth(bitrate) => self.set_capacity(from, bitrate, now),
        }
    }

    /// Cuts the connection that `id` has just opened, if that was asked for and this is the moment.
    pub(super) fn cut_if_armed(
        &mut self,
        id: ParticipantId,
        connection: ConnectionId,
        at: CutAt,
        now: Instant,
    ) -> bool {
        let Some(cut) = self.rehearsals.cuts.get(&id).copied() else { return false };
        if cut.at != at {
            return false;
        }
        self.rehearsals.cuts.remove(&id);
        if cut.until < now {
            return false;
        }
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.connection = None;
            participant.liveness.handle_close(now);
        }
        self.outputs.push_back(RoomOutput::Close { connection });
        true
    }

    /// To everyone, `id` begins or stops to talk; what it really says is reported as ever.
    pub(super) fn tell_simulated_speaker(&mut self, id: ParticipantId, active: bool) {
        let Some(participant) = self.participants.get(&id) else { return };
        let speaker = proto::SpeakerInfo {
            sid: participant.profile.sid.clone(),
            level: if active { SIMULATED_LEVEL } else { 0.0 },
            active,
        };
        self.tell_links_of_speakers(None, std::slice::from_ref(&speaker));
        self.tell_all(Change::Speakers(vec![speaker]), None);
    }

    /// The ways media may take to whoever joins under this identity.
    pub(crate) fn ways_of(&self, identity: &Identity, now: Instant) -> Ways {
        let found = self.rehearsals.ways.get(identity).filter(|(_, until)| *until > now);
        found.map(|(ways, _)| *ways).unwrap_or_default()
    }

    /// What is told to a client about itself.
    pub(super) fn configuration(
        &self,
        of: &Participant,
        now: Instant,
    ) -> Option<proto::ClientConfiguration> {
        let configuration = of.client.configuration();
        if self.ways_of(&of.grant.identity, now) != Ways::Relay {
            return configuration;
        }
        let mut configuration = configuration.unwrap_or_default();
        configuration.set_force_relay(proto::ClientConfigSetting::Enabled);
        Some(configuration)
    }

    fn set_ways(&mut self, of: ParticipantId, ways: Ways, now: Instant) {
        let Some(participant) = self.participants.get(&of) else { return };
        let known = &mut self.rehearsals.ways;
        known.retain(|_, (_, until)| *until > now);
        match ways {
            Ways::All => known.remove(&participant.grant.identity),
            _ => known.insert(participant.grant.identity.clone(), (ways, now + WAYS_LAST)),
        };
    }

    fn arm_cut(&mut self, id: ParticipantId, at: CutAt, now: Instant) {
        self.rehearsals.cuts.insert(id, Cut { at, until: now + CUT_WITHIN });
    }
}

impl Rehearsals {
    /// A participant left.
    pub(super) fn forget(&mut self, id: ParticipantId) {
        self.cuts.remove(&id);
        self.capacities.remove(&id);
    }
}
