//! How long a packet takes there and back, by the reports both sides exchange.

use std::time::{Duration, Instant};

use crate::rtcp::ReportBlock;
use crate::units::NtpShort;

/// The round trip of one transport, smoothed (RFC 6298 §2).
#[derive(Clone, Copy, Debug, Default)]
pub struct RttEstimator {
    smoothed: Option<Duration>,
    latest: Option<Duration>,
}

impl RttEstimator {
    /// A sample above this is a fault (a report that quotes another one, a machine that slept): RFC
    /// 3550 puts no bound, but nothing here could be timed by it.
    pub const MAX: Duration = Duration::from_secs(10);

    /// One eighth of each sample counts (RFC 6298 §2.3). More: one late report stretches every
    /// request. Less: a changed path is noticed late.
    const WEIGHT: u32 = 8;

    /// Takes in one measurement. See [`SentReports::rtt`].
    pub fn update(&mut self, sample: Duration) {
        if sample > Self::MAX {
            return;
        }
        self.latest = Some(sample);
        self.smoothed = Some(match self.smoothed {
            None => sample,
            Some(old) => old - old / Self::WEIGHT + sample / Self::WEIGHT,
        });
    }

    /// The estimate; `None` before the first measurement.
    pub fn rtt(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The last measurement as it was.
    pub fn latest(&self) -> Option<Duration> {
        self.latest
    }
}

/// When the last few sender reports of one stream were sent, to tell the round trip from a report
/// block that quotes one of them.
///
/// The quoted number is looked up rather than subtracted from a clock: the NTP times in our sender
/// reports are those of the publisher (decision 0071), so no clock here runs with them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SentReports {
    /// The newest last.
    sent: [Option<(NtpShort, Instant)>; SentReports::KEPT],
}

impl SentReports {
    /// Reports kept. A block quotes the last one that arrived, so with one a second this reaches back
    /// four seconds. Fewer: no measurement over slow paths. More: bytes in every stream.
    const KEPT: usize = 4;

    /// A sender report with this NTP time goes out now.
    pub fn handle_sent(&mut self, ntp: NtpShort, now: Instant) {
        self.sent.rotate_left(1);
        if let Some(newest) = self.sent.last_mut() {
            *newest = Some((ntp, now));
        }
    }

    /// The round trip by a report block of the stream's receiver that arrived now (RFC 3550 §6.4.1,
    /// "DLSR"). `None` if it quotes no report, or none of the last few. A receiver that claims to have
    /// held the report longer than it was gone is taken for one at no distance.
    pub fn rtt(&self, block: &ReportBlock, now: Instant) -> Option<Duration> {
        if block.last_sender_report == NtpShort(0) {
            return None;
        }
        let quoted = |(ntp, _): &&(NtpShort, Instant)| *ntp == block.last_sender_report;
        let (_, at) = self.sent.iter().rev().flatten().find(quoted)?;
        let gone = now.saturating_duration_since(*at);
        Some(gone.saturating_sub(block.delay_since_last_sender_report.as_duration()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ssrc;
    use crate::testing::start_of_time;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn quoting(last: u32, held: Duration) -> ReportBlock {
        ReportBlock {
            ssrc: Ssrc(7),
            fraction_lost: 0,
            cumulative_lost: 0,
            highest_seq: 0,
            jitter: 0,
            last_sender_report: NtpShort(last),
            delay_since_last_sender_report: NtpShort::from_duration(held),
        }
    }

    #[test]
    fn the_round_trip_is_what_is_left_of_the_time_the_report_was_gone() {
        let start = start_of_time();
        let mut sent = SentReports::default();
        sent.handle_sent(NtpShort(11), start);
        sent.handle_sent(NtpShort(22), start + MILLISECOND * 1000);
        let now = start + MILLISECOND * 1500;
        let quotes_second = quoting(22, MILLISECOND * 375);
        assert_eq!(sent.rtt(&quotes_second, now), Some(MILLISECOND * 125));
        let quotes_first = quoting(11, MILLISECOND * 1250);
        assert_eq!(sent.rtt(&quotes_first, now), Some(MILLISECOND * 250));
    }

    #[test]
    fn a_block_that_quotes_nothing_or_nonsense_measures_nothing() {
        let mut sent = SentReports::default();
        let now = start_of_time();
        assert_eq!(sent.rtt(&quoting(0, MILLISECOND), now), None, "nothing sent");
        for ntp in 1..=5 {
            sent.handle_sent(NtpShort(ntp), now);
        }
        assert_eq!(sent.rtt(&quoting(0, Duration::ZERO), now), None, "quotes none");
        assert_eq!(sent.rtt(&quoting(9, Duration::ZERO), now), None, "never sent");
        assert_eq!(sent.rtt(&quoting(1, Duration::ZERO), now), None, "long forgotten");
        assert_eq!(sent.rtt(&quoting(5, MILLISECOND * 900), now), Some(Duration::ZERO));
    }

    #[test]
    fn an_eighth_of_each_measurement_counts() {
        let mut estimator = RttEstimator::default();
        assert_eq!(estimator.rtt(), None);
        estimator.update(MILLISECOND * 80);
        assert_eq!(estimator.rtt(), Some(MILLISECOND * 80));
        estimator.update(MILLISECOND * 160);
        assert_eq!(estimator.rtt(), Some(MILLISECOND * 90));
        estimator.update(Duration::from_secs(11));
        assert_eq!(estimator.rtt(), Some(MILLISECOND * 90), "a fault, not a path");
        assert_eq!(estimator.latest(), Some(MILLISECOND * 160));
    }
}
