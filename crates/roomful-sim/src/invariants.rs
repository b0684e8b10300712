//! What must hold after every step, whatever the step was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::world::{ClientId, Seat, World};

/// Sids of tracks and whether they are muted.
type Tracks = BTreeMap<String, bool>;

impl World {
    /// Waits until every client knows exactly what is so (rosters, tracks, mutes, the sections that carry
    /// them), and returns how long that took.
    ///
    /// # Errors
    /// What is not so after `limit`, or what was seen that must never be.
    pub fn check_invariants(&mut self, limit: Duration) -> Result<Duration, String> {
        let settled = self.run_until(limit, |world| world.differences().is_empty());
        let mut faults = self.take_violations();
        if settled.is_none() {
            faults.extend(self.differences());
        }
        match settled {
            Some(took) if faults.is_empty() => Ok(took),
            _ => Err(faults.join("\n")),
        }
    }

    /// Takes what was seen that must never be.
    pub fn take_violations(&mut self) -> Vec<String> {
        let mut faults = std::mem::take(&mut self.violations);
        for (index, seat) in self.seats.iter_mut().enumerate() {
            let of = |fault| format!("{} ({index}): {fault}", seat.grant.identity);
            faults.extend(seat.client.take_violations().into_iter().map(of));
        }
        faults
    }

    /// Where clients and the truth differ now.
    pub fn differences(&self) -> Vec<String> {
        let present: Vec<(ClientId, &Seat)> = self
            .seats
            .iter()
            .enumerate()
            .map(|(index, seat)| (ClientId(index), seat))
            .filter(|(_, seat)| seat.is_present())
            .collect();
        let mut faults = Vec::new();
        for (id, seat) in &present {
            let others = present
                .iter()
                .filter(|(other, them)| other != id && them.grant.room == seat.grant.room)
                .filter(|(_, them)| !them.grant.permissions.hidden)
                .map(|(_, them)| *them);
            faults.extend(seat.differences(others));
        }
        faults
    }
}

impl Seat {
    fn differences<'a>(&self, others: impl Iterator<Item = &'a Seat>) -> Vec<String> {
        let truth: BTreeMap<String, Tracks> =
            others.map(|them| (them.grant.identity.to_string(), them.live_tracks())).collect();
        let told = self.told_tracks();
        let mut faults = Vec::new();
        if truth != told {
            faults.push(format!("{} was told {told:?}: it is {truth:?}", self.grant.identity));
        }
        if self.manual_subscription || !self.grant.permissions.can_subscribe {
            return faults;
        }
        let published: BTreeSet<&String> = truth.values().flat_map(Tracks::keys).collect();
        let labels = self.client.labels();
        let carried: BTreeSet<&String> = labels.iter().map(|label| &label.track).collect();
        if carried != published || labels.len() != carried.len() {
            faults.push(format!(
                "{} has sections for {carried:?}: published are {published:?}",
                self.grant.identity
            ));
        }
        faults
    }

    fn live_tracks(&self) -> Tracks {
        self.client
            .tracks()
            .filter(|(_, track)| track.is_live())
            .filter_map(|(_, track)| Some((track.sid()?.to_owned(), track.is_muted())))
            .collect()
    }

    fn told_tracks(&self) -> BTreeMap<String, Tracks> {
        let tracks = |info: &livekit_protocol::ParticipantInfo| {
            info.tracks.iter().map(|track| (track.sid.clone(), track.muted)).collect()
        };
        let roster = self.client.roster().iter();
        roster.map(|(identity, info)| (identity.clone(), tracks(info))).collect()
    }
}
