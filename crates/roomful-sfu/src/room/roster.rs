//! What everyone is told of a participant, and how often.

use std::time::{Duration, Instant};

use super::{Room, Timer};
use crate::ids::ParticipantId;
use crate::signalling::Change;

/// Changes of one participant that are told at once within [`PERIOD`]; further ones are told together at its
/// end. Joining, publishing and connecting are five. More, and one participant's flood of changes fills the
/// outboxes of others and links, which are closed for it; fewer, and ordinary changes come late.
const AT_ONCE: u32 = 10;

/// See [`AT_ONCE`].
const PERIOD: Duration = Duration::from_secs(1);

/// How often others were told of one participant lately.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RosterBudget {
    since: Instant,
    told: u32,
}

impl RosterBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, told: 0 }
    }

    /// `Err`: not before that instant.
    fn spend(&mut self, now: Instant) -> Result<(), Instant> {
        if now.saturating_duration_since(self.since) >= PERIOD {
            *self = Self::new(now);
        }
        if self.told >= AT_ONCE {
            return Err(self.since + PERIOD);
        }
        self.told += 1;
        Ok(())
    }
}

impl Room {
    /// Tells everyone but `of` how `of` is now, or will be at the end of a burst of changes.
    pub(super) fn tell_others_about(&mut self, of: ParticipantId, now: Instant) {
        if self.spend_roster_budget(of, now) {
            self.tell_roster(of);
        }
    }

    /// The same for other parts of the room alone, of what nobody is told.
    pub(super) fn tell_other_parts_about(&mut self, of: ParticipantId, now: Instant) {
        if self.has_links() && self.spend_roster_budget(of, now) {
            self.tell_links_about(of);
        }
    }

    /// Tells everyone but `of` how `of` is now; someone hidden is nobody's business.
    pub(super) fn tell_roster(&mut self, of: ParticipantId) {
        self.tell_links_about(of);
        let Some(participant) = self.participants.get(&of) else { return };
        if participant.grant.permissions.hidden {
            return;
        }
        let info = participant.info();
        for other in self.others(of) {
            self.tell(other, Change::Participants(vec![info.clone()]));
        }
    }

    /// `false`: it is told at the end of the period.
    fn spend_roster_budget(&mut self, of: ParticipantId, now: Instant) -> bool {
        let Some(participant) = self.participants.get_mut(&of) else { return false };
        let spent = participant.roster_budget.spend(now);
        if let Err(later) = spent {
            self.timers.set(Timer::Roster(of), Some(later));
        }
        spent.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;

    #[test]
    fn a_flood_of_changes_is_told_at_the_end_of_its_period() {
        let start = start_of_time();
        let mut budget = RosterBudget::new(start);
        for _ in 0..AT_ONCE {
            assert_eq!(budget.spend(start), Ok(()));
        }
        assert_eq!(budget.spend(start), Err(start + PERIOD));
        assert_eq!(budget.spend(start + PERIOD), Ok(()));
    }
}
