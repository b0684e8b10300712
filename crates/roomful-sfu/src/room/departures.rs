//! Who left lately. A message that was on its way when a WebSocket closed is lost, and a resume shows only
//! who is there: without these, whoever resumes keeps the tiles of people who left meanwhile.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use livekit_protocol as proto;

/// See the module text.
#[derive(Debug, Default)]
pub(super) struct Departures {
    recent: VecDeque<(Instant, proto::ParticipantInfo)>,
}

/// How long a departure is remembered: longer than a participant without a WebSocket is kept (40 s), so that
/// nobody resumes who could have missed a forgotten one. Longer repeats what everyone knows.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Departures remembered. More cost memory in a room whose door never rests, fewer forget some of a meeting
/// that ends.
const MAX_KEPT: usize = 1_000;

impl Departures {
    /// The participant left.
    pub(super) fn push(&mut self, info: &proto::ParticipantInfo, now: Instant) {
        let over = |(at, _): &(Instant, _)| now.saturating_duration_since(*at) > KEPT_FOR;
        while self.recent.len() >= MAX_KEPT || self.recent.front().is_some_and(over) {
            self.recent.pop_front();
        }
        let rest = proto::ParticipantInfo {
            sid: info.sid.clone(),
            identity: info.identity.clone(),
            state: info.state,
            version: info.version,
            disconnect_reason: info.disconnect_reason,
            ..Default::default()
        };
        self.recent.push_back((now, rest));
    }

    /// Those who left lately, the first to leave first.
    pub(super) fn recent(&self) -> impl Iterator<Item = &proto::ParticipantInfo> {
        self.recent.iter().map(|(_, info)| info)
    }
}
