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
pub(super) struct JoinTimes {
    group: Group,
    started: Instant,
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
pub(super) fn combine(
    records: &[JoinRecord],
    timelines: &BTreeMap<ParticipantId, (Group, Timeline)>,
) -> Vec<JoinTimes> {
    let times = |record: &JoinRecord| {
        let (group, media) = *timelines.get(&record.id)?;
        let at = |after: Option<Duration>| after.map(|after| record.started + after);
        let (opened, admitted) = (at(record.opened), at(record.admitted));
        Some(JoinTimes { group, started: record.started, opened, admitted, media })
    };
    records.iter().filter_map(times).collect()
}

impl JoinTimes {
    /// When the first packet of media was here.
    fn finished(&self) -> Option<Instant> {
        self.media.first_packet
    }
}

/// Whose joins a workload is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhoseJoins {
    /// Those who gathered before the measuring.
    Everybody,
    /// Those who came during it.
    Passing,
}

/// Those of the joins that count.
pub(super) struct Chosen {
    joins: Vec<JoinTimes>,
    /// In which they began, if they are spread over time.
    seconds: Option<f64>,
}

/// A join that begins in this last part of a window may not be finished when it is looked at.
const LAST: f64 = 1.0;

impl Chosen {
    /// Those who came during the measuring count if they had time to finish.
    pub(super) fn of(
        all: Vec<JoinTimes>,
        whose: WhoseJoins,
        opened: Instant,
        seconds: f64,
    ) -> Self {
        match whose {
            WhoseJoins::Everybody => Self { joins: all, seconds: None },
            WhoseJoins::Passing => {
                let seconds = (seconds - LAST).max(seconds / 2.0);
                let span = opened..opened + Duration::from_secs_f64(seconds);
                let counts =
                    |join: &JoinTimes| join.group == Group::Passing && span.contains(&join.started);
                let joins = all.into_iter().filter(counts).collect();
                Self { joins, seconds: Some(seconds) }
            }
        }
    }

    /// From the start of each join to its first packet.
    pub(super) fn whole(&self) -> Option<Percentiles> {
        spans(&self.joins, |join| Some(join.started), JoinTimes::finished)
    }

    /// To the first packet of a picture.
    pub(super) fn to_picture(&self) -> Option<Percentiles> {
        spans(&self.joins, |join| Some(join.started), |join| join.media.first_picture)
    }

    pub(super) fn phases(&self) -> JoinPhases {
        JoinPhases::new(&self.joins)
    }

    pub(super) fn rate(&self) -> Option<f64> {
        let finished = self.joins.iter().filter(|join| join.finished().is_some()).count();
        self.seconds.map(|seconds| finished as f64 / seconds)
    }

    /// Where everybody gathers, the workload says who has to receive something.
    pub(super) fn unfinished(&self) -> u64 {
        let unfinished = self.joins.iter().filter(|join| join.finished().is_none()).count();
        if self.seconds.is_some() { unfinished as u64 } else { 0 }
    }
}

impl JoinPhases {
    fn new(joins: &[JoinTimes]) -> Self {
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
