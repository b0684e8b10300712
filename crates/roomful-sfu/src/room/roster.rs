//! What everyone is told of everyone, when, and how often.
//!
//! In a small room each change is told at once. In a large one that would be a message to everyone for everyone who
//! comes, connects or goes: there changes are gathered for a moment ([`GATHERED_FOR`]) and told together, in one message
//! that is encoded once for all. Whatever makes sense only to whoever knows of somebody (a track, speech, data) is told
//! after what was gathered of that participant.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use prost::Message as _;

use super::departures::Departures;
use super::presence::quality;
use super::{Room, Timer};
use crate::ids::{Identity, ParticipantId};
use crate::participant::Participant;
use crate::signalling::Change;

/// Changes of one participant that are told at once within [`PERIOD`]; further ones are told together at its
/// end. Joining, publishing and connecting are five. More, and one participant's flood of changes fills the
/// outboxes of others and links, which are closed for it; fewer, and ordinary changes come late.
const AT_ONCE: u32 = 10;

/// See [`AT_ONCE`].
const PERIOD: Duration = Duration::from_secs(1);

/// How often a large room is told of changes. Shorter costs it more messages to everyone; longer, and people see late
/// who came. LiveKit tells of those who publish nothing every 3 s, in rooms of every size.
const GATHERED_FOR: Duration = Duration::from_millis(200);

/// Length at which a message about several participants is cut, LiveKit's value. Longer ones are refused by some
/// clients, where everyone brings long metadata; shorter ones cost more of them.
const MESSAGE_BYTES: usize = 128 * 1024;

/// What a room has to tell of those who are not as they were.
#[derive(Debug, Default)]
pub(super) struct Roster {
    gathered: Gathered,
    pub(super) departures: Departures,
}

/// What everyone is yet to be told.
#[derive(Debug, Default)]
struct Gathered {
    /// Who left, as it was last; those of them who left first stand first. Nobody of the same identity is here: before
    /// somebody comes back, it is told that it left ([`Room::tell_departures_of`]), or clients would take the old news
    /// for news of the new presence.
    left: Vec<proto::ParticipantInfo>,
    /// Who is different now.
    changed: BTreeSet<ParticipantId>,
    /// Whose connection is.
    reach: BTreeSet<ParticipantId>,
    /// When everyone was last told.
    told: Option<Instant>,
}

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
            self.tell_roster(of, now);
        }
    }

    /// The same for other parts of the room alone, of what nobody is told.
    pub(super) fn tell_other_parts_about(&mut self, of: ParticipantId, now: Instant) {
        if self.has_links() && self.spend_roster_budget(of, now) {
            self.tell_links_about(of);
        }
    }

    /// Tells everyone but `of` how `of` is now; someone hidden is nobody's business.
    pub(super) fn tell_roster(&mut self, of: ParticipantId, now: Instant) {
        self.tell_links_about(of);
        let Some(participant) = self.participants.get(&of) else { return };
        if !participant.grant.permissions.hidden {
            self.roster.gathered.changed.insert(of);
            self.tell_gathered_soon(now);
        }
    }

    /// Tells everyone else how well `of` is connected.
    pub(super) fn tell_quality(&mut self, of: ParticipantId, now: Instant) {
        self.tell_links_of_reach(of);
        self.roster.gathered.reach.insert(of);
        self.tell_gathered_soon(now);
    }

    /// Tells everyone that somebody is no longer in the room.
    pub(super) fn tell_of_departure(&mut self, who: &Participant, now: Instant) {
        self.roster.gathered.changed.remove(&who.id);
        self.roster.gathered.reach.remove(&who.id);
        if !who.grant.permissions.hidden {
            self.roster.gathered.left.push(who.info());
            self.tell_gathered_soon(now);
        }
    }

    /// Tells what was gathered, if it says that somebody of this identity left, who is about to come back.
    pub(super) fn tell_departures_of(&mut self, identity: &Identity, now: Instant) {
        if self.roster.gathered.left.iter().any(|one| one.identity == identity.as_str()) {
            self.tell_gathered(now);
        }
    }

    /// Tells what was gathered, if `of` is in it: what follows makes no sense to whoever does not know of it.
    pub(super) fn tell_gathered_of(&mut self, of: ParticipantId, now: Instant) {
        if self.roster.gathered.changed.contains(&of) {
            self.tell_gathered(now);
        }
    }

    /// Tells everyone what was gathered: who left, how those who changed are now, and then how well they are connected.
    pub(super) fn tell_gathered(&mut self, now: Instant) {
        self.timers.set(Timer::Gathered, None);
        let gathered = std::mem::take(&mut self.roster.gathered);
        self.roster.gathered.told = Some(now);
        let Gathered { left, changed, reach, .. } = gathered;
        // Of itself alone nobody needs to hear.
        let but = if left.is_empty() { only(&changed) } else { None };
        let here = changed.iter().filter_map(|id| self.participants.get(id));
        let seen = here.filter(|one| !one.grant.permissions.hidden).map(Participant::info);
        let infos: Vec<_> = left.into_iter().chain(seen).collect();
        for update in in_messages(infos) {
            self.tell_all(Change::Participants(update), but);
        }
        let here = reach.iter().filter_map(|id| self.participants.get(id));
        let qualities: Vec<_> = here.filter_map(quality).collect();
        if !qualities.is_empty() {
            self.tell_all(Change::Quality(qualities), only(&reach));
        }
    }

    /// At once, unless everyone of a large room was told a moment ago.
    fn tell_gathered_soon(&mut self, now: Instant) {
        let is_large = self.participants.len() > self.terms.large_above;
        let next = self.roster.gathered.told.map(|told| told + GATHERED_FOR);
        match next.filter(|next| is_large && *next > now) {
            Some(next) => self.timers.set(Timer::Gathered, Some(next)),
            None => self.tell_gathered(now),
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

fn only(ids: &BTreeSet<ParticipantId>) -> Option<ParticipantId> {
    ids.first().filter(|_| ids.len() == 1).copied()
}

/// Cuts what is told of participants into messages of about [`MESSAGE_BYTES`] at most. Whoever needs more than that
/// alone travels alone.
fn in_messages(infos: Vec<proto::ParticipantInfo>) -> Vec<Vec<proto::ParticipantInfo>> {
    let mut messages: Vec<Vec<proto::ParticipantInfo>> = Vec::new();
    let mut bytes = MESSAGE_BYTES;
    for info in infos {
        let more = info.encoded_len();
        match messages.last_mut() {
            Some(last) if bytes + more <= MESSAGE_BYTES => {
                bytes += more;
                last.push(info);
            }
            _ => {
                bytes = more;
                messages.push(vec![info]);
            }
        }
    }
    messages
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

    #[test]
    fn what_is_told_of_many_is_cut_into_messages_that_clients_take() {
        let about = |bytes: usize| proto::ParticipantInfo {
            metadata: "m".repeat(bytes),
            ..Default::default()
        };
        let lengths = |infos: &[usize]| -> Vec<usize> {
            let infos = infos.iter().map(|bytes| about(*bytes)).collect();
            in_messages(infos).iter().map(Vec::len).collect()
        };
        assert!(lengths(&[]).is_empty());
        assert_eq!(lengths(&[100; 500]), [500]);
        assert_eq!(lengths(&[60_000; 5]), [2, 2, 1]);
        assert_eq!(lengths(&[100, 500_000, 100]), [1, 1, 1]);
    }
}
