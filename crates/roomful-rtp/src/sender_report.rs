//! Sender reports to subscribers, made from those of the publisher.

use std::time::{Duration, Instant};

use crate::rtcp::{ReportBlock, SenderInfo};
use crate::rtt::SentReports;
use crate::units::{NtpTime, rtp_ticks};

/// Which moment on the publisher's wall clock a timestamp of one of its streams stands for, by its
/// last sender report.
///
/// A subscriber plays sound and picture of a participant together by comparing such pairs, so what
/// counts is that the pairs of both streams come from one clock. The publisher's own is that clock:
/// its times are passed on as they are (decision 0071).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMapping {
    ntp: NtpTime,
    rtp_timestamp: u32,
    arrival: Instant,
}

impl ClockMapping {
    /// A mapping older than this is not used any more. Clocks drift apart by up to 100 µs a second, and
    /// 10 ms between sound and picture go unnoticed. Shorter: a stream whose publisher reports seldom
    /// goes without. Longer: it goes out of step.
    pub const MAX_AGE: Duration = Duration::from_secs(60);

    /// By a report that arrived at `arrival`.
    pub fn new(info: &SenderInfo, arrival: Instant) -> Self {
        Self { ntp: info.ntp, rtp_timestamp: info.rtp_timestamp, arrival }
    }

    /// The pair for `now`: the publisher's wall clock (less its distance) and the timestamp of its
    /// stream, which counts `clock_rate` Hz. `None` if the report is too old to tell.
    ///
    /// Both move on from the report by the same time, so however late it arrived, and however late
    /// this is asked, the pair lies on the line that the publisher drew.
    pub fn at(&self, now: Instant, clock_rate: u32) -> Option<(NtpTime, u32)> {
        let age = now.saturating_duration_since(self.arrival);
        if age > Self::MAX_AGE {
            return None;
        }
        let rtp_timestamp = self.rtp_timestamp.wrapping_add(rtp_ticks(age, clock_rate));
        Some((self.ntp.plus(age), rtp_timestamp))
    }
}

/// What was sent of one stream to one subscriber, for its sender reports.
#[derive(Clone, Debug)]
pub struct SentStream {
    clock_rate: u32,
    packets: u32,
    octets: u32,
    reports: SentReports,
}

impl SentStream {
    /// Nothing sent yet. `clock_rate` is that of the stream's timestamps, in Hz.
    pub fn new(clock_rate: u32) -> Self {
        Self { clock_rate, packets: 0, octets: 0, reports: SentReports::default() }
    }

    /// The stream's timestamps count `clock_rate` Hz from now on: it is coded otherwise.
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        self.clock_rate = clock_rate;
    }

    /// A packet with this much payload, without header and padding, is sent.
    pub fn handle_sent(&mut self, payload_len: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_len as u32);
    }

    /// The report to send now. `source` is the mapping of the encoding that is forwarded now, and
    /// `offset` what is added to its timestamps on the way to this subscriber (wrapping).
    ///
    /// `None` before anything was sent, and where the publisher's clock is not known: a guess in its
    /// place would tear sound and picture apart. RFC 3550 §6.4 wants a receiver report then.
    pub fn report(
        &mut self,
        source: &ClockMapping,
        offset: u32,
        now: Instant,
    ) -> Option<SenderInfo> {
        if self.packets == 0 {
            return None;
        }
        let (ntp, rtp_timestamp) = source.at(now, self.clock_rate)?;
        self.reports.handle_sent(ntp.short(), now);
        let rtp_timestamp = rtp_timestamp.wrapping_add(offset);
        Some(SenderInfo { ntp, rtp_timestamp, packets: self.packets, octets: self.octets })
    }

    /// The round trip to the subscriber, by its block about this stream that arrived now. See
    /// [`SentReports::rtt`].
    pub fn rtt(&self, block: &ReportBlock, now: Instant) -> Option<Duration> {
        self.reports.rtt(block, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ssrc;
    use crate::reception::Reception;
    use crate::testing::start_of_time;

    const VIDEO: u32 = 90_000;
    const SOUND: u32 = 48_000;

    fn at(millis: u64) -> Instant {
        start_of_time() + Duration::from_millis(millis)
    }

    /// A publisher's report of a stream whose timestamp was 0 at the beginning of its own time.
    fn reported(millis: u64, clock_rate: u32) -> SenderInfo {
        let since = Duration::from_millis(millis);
        SenderInfo {
            ntp: NtpTime(0x1234_5678_0000_0000).plus(since),
            rtp_timestamp: rtp_ticks(since, clock_rate),
            packets: 9,
            octets: 9,
        }
    }

    fn started(clock_rate: u32) -> SentStream {
        let mut stream = SentStream::new(clock_rate);
        stream.handle_sent(1000);
        stream
    }

    #[test]
    fn a_report_counts_what_this_subscriber_was_sent() {
        let mut stream = SentStream::new(VIDEO);
        let source = ClockMapping::new(&reported(0, VIDEO), at(0));
        assert_eq!(stream.report(&source, 0, at(0)), None, "nothing sent");
        stream.handle_sent(1000);
        stream.handle_sent(200);
        let info = stream.report(&source, 0, at(0)).unwrap();
        assert_eq!((info.packets, info.octets), (2, 1200));
    }

    #[test]
    fn the_pair_moves_on_from_the_publishers_report_and_by_the_rewrite_offset() {
        let source = ClockMapping::new(&reported(500, VIDEO), at(2000));
        let info = started(VIDEO).report(&source, 7_u32.wrapping_sub(100), at(3500)).unwrap();
        let expected = reported(2000, VIDEO);
        assert_eq!(info.ntp, expected.ntp);
        assert_eq!(info.rtp_timestamp, expected.rtp_timestamp + 7 - 100);
    }

    #[test]
    fn counters_and_timestamps_wrap() {
        let mut stream = started(VIDEO);
        stream.packets = u32::MAX;
        stream.octets = u32::MAX - 10;
        stream.handle_sent(11);
        stream.handle_sent(5);
        let source = ClockMapping::new(&reported(0, VIDEO), at(0));
        let info = stream.report(&source, u32::MAX, at(1000)).unwrap();
        assert_eq!((info.packets, info.octets, info.rtp_timestamp), (1, 5, 89_999));
    }

    #[test]
    fn an_old_report_is_not_stretched_for_ever() {
        let source = ClockMapping::new(&reported(0, VIDEO), at(0));
        let mut stream = started(VIDEO);
        assert!(stream.report(&source, 0, at(60_000)).is_some());
        assert_eq!(stream.report(&source, 0, at(60_001)), None);
    }

    /// The publisher said one thing at one moment, in sound and picture. Its reports of both arrive
    /// with different delays and are passed on at different times; the subscriber must still find that
    /// both timestamps stand for the same moment.
    #[test]
    fn sound_and_picture_stay_together_whatever_the_delay_of_their_reports() {
        let (sound_offset, picture_offset) = (123_456_789, 4_000_000_000);
        let sound = ClockMapping::new(&reported(3000, SOUND), at(3020));
        let picture = ClockMapping::new(&reported(4000, VIDEO), at(4390));
        let sound_info = started(SOUND).report(&sound, sound_offset, at(5000)).unwrap();
        let picture_info = started(VIDEO).report(&picture, picture_offset, at(7777)).unwrap();

        let moment = Duration::from_millis(10_000);
        let heard_at = played(&sound_info, rtp_ticks(moment, SOUND) + sound_offset, SOUND);
        let seen = rtp_ticks(moment, VIDEO).wrapping_add(picture_offset);
        let seen_at = played(&picture_info, seen, VIDEO);
        let apart = heard_at.abs_diff(seen_at) as f64 / (1_u64 << 32) as f64;
        assert!(apart < 0.000_1, "{apart} s apart");
    }

    /// The NTP time at which a subscriber takes `timestamp` to be captured.
    fn played(info: &SenderInfo, timestamp: u32, clock_rate: u32) -> u64 {
        let ticks = i128::from(timestamp.wrapping_sub(info.rtp_timestamp) as i32);
        (i128::from(info.ntp.0) + (ticks << 32) / i128::from(clock_rate)) as u64
    }

    #[test]
    fn the_round_trip_comes_out_though_the_reports_tell_the_publishers_time() {
        let source = ClockMapping::new(&reported(500, VIDEO), at(2000));
        let mut stream = started(VIDEO);
        let info = stream.report(&source, 0, at(2500)).unwrap();
        let mut subscriber = Reception::new(Ssrc(1), VIDEO);
        subscriber.handle_packet(1, 1, at(2530));
        subscriber.handle_sender_report(&info, at(2530));
        let block = subscriber.report_block(at(3000)).unwrap();
        let rtt = stream.rtt(&block, at(3040)).unwrap();
        assert!(rtt.abs_diff(Duration::from_millis(70)) < Duration::from_micros(20), "{rtt:?}");
    }
}
