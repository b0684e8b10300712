//! What a receiver tells the sender of one stream (RFC 3550 §6.4.1, §A.1, §A.3, §A.8).

use std::time::{Duration, Instant};

use crate::Ssrc;
use crate::rtcp::{ReportBlock, SenderInfo};
use crate::units::{NtpShort, rtp_ticks};

/// Statistics of one received stream, for its report blocks.
///
/// It is told of packets that SRTP let pass, so no probation is needed (RFC 3550 §A.1 has one against
/// stray packets). A packet repaired over a stream of its own (RFC 4588) still counts as lost here:
/// the sender judges the path by it.
#[derive(Clone, Debug)]
pub struct Reception {
    ssrc: Ssrc,
    clock_rate: u32,
    span: Option<Span>,
    jitter: Jitter,
    sender_report: Option<(NtpShort, Instant)>,
}

/// From the first packet of a stream to its highest.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u64,
    highest: u64,
    received: u64,
    /// As of the last report.
    expected_before: u64,
    received_before: u64,
}

impl Reception {
    /// A larger step, either way, is a new beginning of the stream rather than a loss (`MAX_DROPOUT` of
    /// RFC 3550 §A.1). Smaller: a long outage goes unreported. Larger: a sender that restarts at another
    /// number is told that it lost everything in between.
    pub const MAX_JUMP: u64 = 3000;

    /// Nothing received yet. `clock_rate` is that of the stream's timestamps, in Hz.
    pub const fn new(ssrc: Ssrc, clock_rate: u32) -> Self {
        let jitter = Jitter { sixteenths: 0, last: None };
        Self { ssrc, clock_rate, span: None, jitter, sender_report: None }
    }

    /// A packet arrived: its sequence number, extended past 16 bits by the caller, and its timestamp.
    pub fn handle_packet(&mut self, seq: u64, rtp_timestamp: u32, arrival: Instant) {
        let is_known = |span: &&mut Span| seq.abs_diff(span.highest) <= Self::MAX_JUMP;
        match self.span.as_mut().filter(is_known) {
            Some(span) => span.extend(seq),
            None => {
                self.span = Some(Span::at(seq));
                self.jitter.last = None;
            }
        }
        self.jitter.update(rtp_timestamp, arrival, self.clock_rate);
    }

    /// A sender report of the stream arrived.
    pub fn handle_sender_report(&mut self, info: &SenderInfo, arrival: Instant) {
        self.sender_report = Some((info.ntp.short(), arrival));
    }

    /// The block to put into the next report; `None` before the first packet. Begins the next
    /// interval of `fraction_lost`.
    pub fn report_block(&mut self, now: Instant) -> Option<ReportBlock> {
        let span = self.span.as_mut()?;
        let fraction_lost = span.next_fraction_lost();
        let (last, since) = match self.sender_report {
            Some((last, at)) => (last, NtpShort::from_duration(now.saturating_duration_since(at))),
            None => (NtpShort(0), NtpShort(0)),
        };
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost,
            cumulative_lost: span.lost(),
            // The low half is the number on the wire, the high half counts its wraps.
            highest_seq: span.highest as u32,
            jitter: self.jitter.ticks(),
            last_sender_report: last,
            delay_since_last_sender_report: since,
        })
    }

    /// Packets lost since the beginning; negative if duplicates outnumber them.
    pub fn lost(&self) -> i32 {
        self.span.as_ref().map_or(0, Span::lost)
    }

    /// Packets received since the beginning, duplicates included.
    pub fn received(&self) -> u64 {
        self.span.map_or(0, |span| span.received)
    }

    /// Mean deviation of the spacing at arrival from the spacing at departure.
    pub fn jitter(&self) -> Duration {
        let ticks = u64::from(self.jitter.ticks());
        let nanos = (ticks * 1_000_000_000).checked_div(u64::from(self.clock_rate));
        Duration::from_nanos(nanos.unwrap_or(0))
    }
}

impl Span {
    const fn at(seq: u64) -> Self {
        Self { first: seq, highest: seq, received: 1, expected_before: 0, received_before: 0 }
    }

    fn extend(&mut self, seq: u64) {
        self.highest = self.highest.max(seq);
        // What was sent before the packet that arrived first is expected only once it arrives.
        self.first = self.first.min(seq);
        self.received += 1;
    }

    const fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }

    fn lost(&self) -> i32 {
        let lost = i128::from(self.expected()) - i128::from(self.received);
        lost.clamp(i128::from(i32::MIN), i128::from(i32::MAX)) as i32
    }

    /// RFC 3550 §A.3, in 1/256; 0 where more arrived than was expected.
    fn next_fraction_lost(&mut self) -> u8 {
        let expected = self.expected() - self.expected_before;
        let received = self.received - self.received_before;
        self.expected_before = self.expected();
        self.received_before = self.received;
        let lost = expected.saturating_sub(received);
        // Never 256: whatever raises what is expected has itself arrived.
        let fraction = (lost * 256).checked_div(expected).unwrap_or(0);
        u8::try_from(fraction).unwrap_or(u8::MAX)
    }
}

/// RFC 3550 §A.8, in the integer form given there.
#[derive(Clone, Copy, Debug)]
struct Jitter {
    /// The estimate, sixteenfold.
    sixteenths: u64,
    /// Timestamp and arrival of the last packet.
    last: Option<(u32, Instant)>,
}

impl Jitter {
    /// A larger step of one packet is no jitter but a clock set anew or an outage, and would drown the
    /// estimate for minutes. Ten seconds: longer than any network holds a packet.
    const MAX_STEP: Duration = Duration::from_secs(10);

    fn update(&mut self, rtp_timestamp: u32, arrival: Instant, clock_rate: u32) {
        let Some((last_timestamp, last_arrival)) = self.last.replace((rtp_timestamp, arrival))
        else {
            return;
        };
        let at_arrival = rtp_ticks(arrival.saturating_duration_since(last_arrival), clock_rate);
        let at_departure = rtp_timestamp.wrapping_sub(last_timestamp);
        let step = (at_arrival.wrapping_sub(at_departure) as i32).unsigned_abs();
        if step > rtp_ticks(Self::MAX_STEP, clock_rate) {
            return;
        }
        self.sixteenths = self.sixteenths - ((self.sixteenths + 8) >> 4) + u64::from(step);
    }

    fn ticks(self) -> u32 {
        u32::try_from(self.sixteenths >> 4).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;
    use crate::units::NtpTime;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn stream() -> Reception {
        Reception::new(Ssrc(7), 90_000)
    }

    /// Takes in the packets, all at once and of one frame.
    fn receive(reception: &mut Reception, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            reception.handle_packet(seq, 0, start_of_time());
        }
    }

    fn block(reception: &mut Reception) -> ReportBlock {
        reception.report_block(start_of_time()).unwrap()
    }

    #[test]
    fn a_stream_nobody_heard_of_is_not_reported() {
        assert_eq!(stream().report_block(start_of_time()), None);
    }

    #[test]
    fn a_whole_stream_reports_no_loss_and_counts_its_wraps() {
        let mut reception = stream();
        receive(&mut reception, 65_530..65_540);
        let block = block(&mut reception);
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 0));
        assert_eq!(block.highest_seq, 0x0001_0003);
    }

    #[test]
    fn loss_is_told_as_a_fraction_since_the_last_report_and_as_a_sum() {
        let mut reception = stream();
        receive(&mut reception, (0..100).filter(|seq| seq % 4 != 1));
        let first = block(&mut reception);
        assert_eq!((first.fraction_lost, first.cumulative_lost), (64, 25));
        receive(&mut reception, 100..200);
        let second = block(&mut reception);
        assert_eq!((second.fraction_lost, second.cumulative_lost), (0, 25));
        receive(&mut reception, (200..300).filter(|seq| seq % 2 == 1));
        let third = block(&mut reception);
        assert_eq!((third.fraction_lost, third.cumulative_lost), (128, 75));
    }

    #[test]
    fn duplicates_make_the_sum_negative_but_never_the_fraction() {
        let mut reception = stream();
        receive(&mut reception, [0, 1, 2, 2, 2]);
        let block = block(&mut reception);
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, -2));
    }

    #[test]
    fn a_packet_that_overtook_the_first_one_is_no_duplicate() {
        let mut reception = stream();
        receive(&mut reception, [11, 10, 12]);
        assert_eq!(reception.lost(), 0);
        assert_eq!(reception.received(), 3);
    }

    #[test]
    fn losing_all_but_one_packet_is_the_largest_fraction() {
        let mut reception = stream();
        receive(&mut reception, [0]);
        block(&mut reception);
        receive(&mut reception, [3000]);
        assert_eq!(block(&mut reception).fraction_lost, 255);
    }

    #[test]
    fn a_jump_is_a_new_beginning_and_no_loss() {
        let mut reception = stream();
        receive(&mut reception, [0, 1, 2, 3003, 3004]);
        let block = block(&mut reception);
        assert_eq!((block.cumulative_lost, block.highest_seq), (0, 3004));
        assert_eq!(reception.received(), 2);
    }

    #[test]
    fn a_report_after_silence_has_no_fraction() {
        let mut reception = stream();
        receive(&mut reception, 0..10);
        block(&mut reception);
        assert_eq!(block(&mut reception).fraction_lost, 0);
    }

    #[test]
    fn even_spacing_is_no_jitter_whatever_the_delay() {
        let mut reception = stream();
        for packet in 0..100_u32 {
            let arrival = start_of_time() + MILLISECOND * 33 * packet;
            reception.handle_packet(packet.into(), (packet * 2970).wrapping_sub(5), arrival);
        }
        assert_eq!(block(&mut reception).jitter, 0);
    }

    /// Arrivals off by 10 ms in turn deviate by 10 ms each, towards which §A.8 converges.
    #[test]
    fn uneven_spacing_is_jitter_in_timestamp_units() {
        let mut reception = stream();
        for packet in 0..500_u32 {
            let late = MILLISECOND * 10 * (packet % 2);
            let arrival = start_of_time() + MILLISECOND * 33 * packet + late;
            reception.handle_packet(packet.into(), packet * 2970, arrival);
        }
        let jitter = block(&mut reception).jitter;
        assert!((895..=900).contains(&jitter), "{jitter} instead of 900");
        assert_eq!(reception.jitter().as_millis(), 9);
    }

    #[test]
    fn the_first_step_of_jitter_is_a_sixteenth() {
        let mut reception = stream();
        reception.handle_packet(0, 0, start_of_time());
        reception.handle_packet(1, 0, start_of_time() + MILLISECOND * 16);
        assert_eq!(block(&mut reception).jitter, 90);
    }

    #[test]
    fn a_timestamp_out_of_nowhere_does_not_drown_the_jitter() {
        let mut reception = stream();
        reception.handle_packet(0, 0, start_of_time());
        reception.handle_packet(1, 1 << 30, start_of_time());
        reception.handle_packet(2, (1 << 30) + 160, start_of_time());
        assert_eq!(block(&mut reception).jitter, 10);
    }

    #[test]
    fn a_report_quotes_the_last_sender_report_and_its_age() {
        let mut reception = stream();
        receive(&mut reception, [0]);
        assert_eq!(block(&mut reception).last_sender_report, NtpShort(0));
        let ntp = NtpTime(0xb44d_b705_2000_0000);
        let info = SenderInfo { ntp, rtp_timestamp: 0, packets: 0, octets: 0 };
        reception.handle_sender_report(&info, start_of_time());
        let block = reception.report_block(start_of_time() + MILLISECOND * 5250).unwrap();
        assert_eq!(block.last_sender_report, NtpShort(0xb705_2000));
        assert_eq!(block.delay_since_last_sender_report, NtpShort(0x0005_4000));
    }
}
