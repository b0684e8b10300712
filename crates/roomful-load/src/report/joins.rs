//! How long joins took, and where the time went.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Percentiles;
use crate::ledger::Group;
use crate::participant::{ParticipantId, Timeline};
use crate::signalling::JoinRecord;

/// When one participant's join got how far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JoinTimes {
    pub(crate) started: Instant,
    opened: Option<Instant>,
    admitted: Option<Instant>,
    media: Timeline,
}

/// Where the time of a join goes: each from the end of the one before.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct JoinPhases {
    /// TCP, HTTP, WebSocket.
    websocket: Option<Percentiles>,
    /// To the server's answer to the join.
    admission: Option<Percentiles>,
    /// To its session description.
    description: Option<Percentiles>,
    ice: Option<Percentiles>,
    dtls: Option<Percentiles>,
    /// From the keys to the first packet of media.
    first_packet: Option<Percentiles>,
}

/// Puts together what signalling and the media thread noted of the same participants.
pub(crate) fn combine(
    records: &[JoinRecord],
    timelines: &BTreeMap<ParticipantId, (Group, Timeline)>,
) -> Vec<JoinTimes> {
    let times = |record: &JoinRecord| {
        let (_, media) = *timelines.get(&record.id)?;
        let at = |after: Option<Duration>| after.map(|after| record.started + after);
        let (opened, admitted) = (at(record.opened), at(record.admitted));
        Some(JoinTimes { started: record.started, opened, admitted, media })
    };
    records.iter().filter_map(times).collect()
}

impl JoinTimes {
    /// The first packet of media was here.
    pub(crate) fn finished(&self) -> Option<Instant> {
        self.media.first_packet
    }
}

/// From the start of each join to its first packet.
pub(super) fn whole(joins: &[JoinTimes]) -> Option<Percentiles> {
    spans(joins, |join| Some(join.started), JoinTimes::finished)
}

impl JoinPhases {
    pub(super) fn new(joins: &[JoinTimes]) -> Self {
        let described = |join: &JoinTimes| join.media.described;
        let reached = |join: &JoinTimes| join.media.reached;
        let keyed = |join: &JoinTimes| join.media.keyed;
        Self {
            websocket: spans(joins, |join| Some(join.started), |join| join.opened),
            admission: spans(joins, |join| join.opened, |join| join.admitted),
            description: spans(joins, |join| join.admitted, described),
            ice: spans(joins, described, reached),
            dtls: spans(joins, reached, keyed),
            first_packet: spans(joins, keyed, JoinTimes::finished),
        }
    }

    /// Each with a name for people.
    pub(super) fn named(&self) -> [(&'static str, Option<Percentiles>); 6] {
        [
            ("WebSocket", self.websocket),
            ("admission", self.admission),
            ("description", self.description),
            ("ICE", self.ice),
            ("DTLS", self.dtls),
            ("first packet", self.first_packet),
        ]
    }
}

/// Milliseconds between two moments of every join that has both. A description may come before the
/// admission: that is no time.
fn spans(
    joins: &[JoinTimes],
    from: impl Fn(&JoinTimes) -> Option<Instant>,
    to: impl Fn(&JoinTimes) -> Option<Instant>,
) -> Option<Percentiles> {
    let span = |join: &JoinTimes| {
        let span = to(join)?.saturating_duration_since(from(join)?);
        Some(span.as_secs_f64() * 1000.0)
    };
    Percentiles::of_values(joins.iter().filter_map(span).collect())
}
