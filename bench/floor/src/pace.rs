//! When the next burst is due.

use std::time::{Duration, Instant};

/// An even beat, or as fast as it goes.
pub(crate) struct Pace {
    next: Instant,
    interval: Option<Duration>,
}

impl Pace {
    /// A beat of `rate` bursts a second; zero means without waiting.
    pub(crate) fn new(rate: u32, now: Instant) -> Self {
        let interval = (rate > 0).then(|| Duration::from_secs(1) / rate);
        Self { next: now, interval }
    }

    /// How long to wait at `now` for the next burst. Beats that were missed are caught up with, as a camera does not
    /// wait for a slow server either.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        let Some(interval) = self.interval else { return Duration::ZERO };
        let wait = self.next.saturating_duration_since(now);
        self.next += interval;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_burst_does_not_move_those_after_it() {
        let start = Instant::now();
        let mut pace = Pace::new(10, start);
        assert_eq!(pace.wait(start), Duration::ZERO);
        assert_eq!(pace.wait(start + Duration::from_millis(150)), Duration::ZERO, "50 ms late");
        assert_eq!(
            pace.wait(start + Duration::from_millis(150)),
            Duration::from_millis(50),
            "the third is due at 200 ms all the same"
        );
    }

    #[test]
    fn unpaced_never_waits() {
        let start = Instant::now();
        let mut pace = Pace::new(0, start);
        assert_eq!((pace.wait(start), pace.wait(start)), (Duration::ZERO, Duration::ZERO));
    }
}
