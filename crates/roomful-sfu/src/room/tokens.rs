//! Tokens for those who are in: a client that must join anew shows the last one it was given.

use std::time::{Duration, Instant};

use super::{Room, RoomOutput, Timer};
use crate::ids::ParticipantId;
use crate::participant::Participant;
use crate::token::Grant;

/// How often each participant gets a new token: half of how long it lasts at least, as LiveKit does it. Longer
/// leaves people outside who lose their connection just before the next one, shorter costs messages.
const REFRESH_EVERY: Duration = Duration::from_secs(5 * 60);

/// How long a token made here is valid at least. Longer lets somebody whose rights were taken come back with the
/// old ones, shorter than [`REFRESH_EVERY`] leaves gaps.
pub(crate) const TOKEN_LASTS: Duration = Duration::from_secs(10 * 60);

const _: () = assert!(TOKEN_LASTS.as_secs() > REFRESH_EVERY.as_secs());

impl Room {
    /// Gives `id` a token that says what it is called and what it may do now: when it joined or resumed, when any of
    /// that changed, and every [`REFRESH_EVERY`].
    pub(super) fn refresh_token(&mut self, id: ParticipantId, now: Instant) {
        let Some(participant) = self.participants.get(&id) else { return };
        self.timers.set(Timer::Token(id), Some(now + REFRESH_EVERY));
        let Some(connection) = participant.connection else { return };
        let grant = Box::new(participant.grant_now());
        self.outputs.push_back(RoomOutput::RefreshToken { connection, grant, moved: None });
    }
}

impl Participant {
    /// Its grant with what it is called and described as now.
    pub(super) fn grant_now(&self) -> Grant {
        Grant {
            name: self.profile.name.clone(),
            metadata: self.profile.metadata.clone(),
            attributes: self.profile.attributes.clone().into_iter().collect(),
            ..self.grant.clone()
        }
    }
}
