//! One job on its way to an agency, or there.

use std::collections::BTreeSet;

use livekit_protocol as proto;

use super::Jobs;
use crate::ids::AgencyId;

/// Bytes kept of what an agency says about a job that failed. More lets agencies fill the room's memory.
const MAX_ERROR: usize = 1024;

/// One job, in the order in which they began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobKey(pub(super) u64);

#[derive(Debug)]
pub(super) struct Job {
    pub(super) said: proto::Job,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// One was asked, after those who did not want it.
    Offered { to: AgencyId, refused: BTreeSet<AgencyId> },
    /// One that made it up was asked.
    Simulated { by: AgencyId },
    /// One has it.
    Running { at: AgencyId },
}

/// Before anybody is asked. Connections are counted from one.
pub(super) const NOBODY: AgencyId = AgencyId(0);

impl Job {
    /// Who has it or is asked.
    pub(super) fn agency(&self) -> AgencyId {
        match self.stage {
            Stage::Offered { to, .. } => to,
            Stage::Simulated { by } => by,
            Stage::Running { at } => at,
        }
    }

    pub(super) fn is_one_of(&self, jobs: &Jobs) -> bool {
        match jobs {
            Jobs::One(id) => self.said.id == id.as_str(),
            Jobs::OfDispatch(id) => self.said.dispatch_id == id.as_str(),
            // A simulated job's room is whatever its agency said.
            Jobs::InRoom(sid) => {
                !self.said.dispatch_id.is_empty()
                    && self.said.room.as_ref().is_some_and(|room| room.sid == sid.as_str())
            }
        }
    }
}

/// As much of a text as is kept.
pub(super) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_ERROR);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// One of them, each as likely as its share of the sum; `None` if all shares are zero.
pub(super) fn draw(shares: &[(AgencyId, f32)], rng: &mut fastrand::Rng) -> Option<AgencyId> {
    let sum: f32 = shares.iter().map(|(_, share)| share).sum();
    let mut left = rng.f32() * sum;
    let mut last = None;
    for (agency, share) in shares.iter().filter(|(_, share)| *share > 0.0) {
        last = Some(*agency);
        left -= share;
        if left <= 0.0 {
            break;
        }
    }
    last
}
