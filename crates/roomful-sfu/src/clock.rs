//! The core counts in instants; a few messages want the time of day.

use std::time::Instant;

use crate::ids::UnixTime;

/// Turns instants into the time of day, by one pair of readings its owner took at the same moment.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    at: Instant,
    unix_millis: u64,
}

impl WallClock {
    /// `at` was `unix_millis` milliseconds after 1970-01-01T00:00:00Z.
    pub fn new(at: Instant, unix_millis: u64) -> Self {
        Self { at, unix_millis }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z at `now`.
    pub(crate) fn unix_millis(&self, now: Instant) -> i64 {
        let elapsed = now.saturating_duration_since(self.at).as_millis();
        i64::try_from(u128::from(self.unix_millis) + elapsed).unwrap_or(i64::MAX)
    }

    /// Seconds since 1970-01-01T00:00:00Z at `now`.
    pub(crate) fn unix_time(&self, now: Instant) -> UnixTime {
        UnixTime(u64::try_from(self.unix_millis(now) / 1_000).unwrap_or_default())
    }
}
