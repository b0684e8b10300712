//! Which bursts to send, and when the next is due.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// What a sender sends to each destination, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Bursts {
    /// Packets a burst, as many as a video frame has
    #[arg(long, default_value_t = 8)]
    pub(crate) packets: u16,
    /// Bytes of a packet on the wire
    #[arg(long, default_value_t = 1200)]
    pub(crate) bytes: u16,
    /// Bursts a second; 0 sends without waiting
    #[arg(long, default_value_t = 30)]
    pub(crate) rate: u32,
    /// Seconds to send before measuring
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds to measure
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

impl Bursts {
    /// Bytes of one burst.
    pub(crate) fn length(&self) -> usize {
        usize::from(self.packets) * usize::from(self.bytes)
    }

    /// For how long to send before measuring.
    ///
    /// # Errors
    /// If that is no number of seconds.
    pub(crate) fn warmup(&self) -> Result<Duration> {
        seconds(self.warmup)
    }

    /// For how long to measure.
    ///
    /// # Errors
    /// If that is no number of seconds.
    pub(crate) fn measured(&self) -> Result<Duration> {
        seconds(self.seconds)
    }
}

fn seconds(value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value).with_context(|| format!("{value} is no number of seconds"))
}

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
