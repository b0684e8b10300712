//! What happens for every packet, and for every report, allocates nothing once it runs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use roomful_rtp::Ssrc;
use roomful_rtp::nack::NackGenerator;
use roomful_rtp::reception::Reception;
use roomful_rtp::rtcp::{Rtcp, RtcpWriter, SenderInfo, packets};
use roomful_rtp::rtt::RttEstimator;
use roomful_rtp::sender_report::{ClockMapping, SentStream};
use roomful_rtp::twcc::{ArrivalLog, PathMeter, SentLog};
use roomful_rtp::units::NtpTime;

const MEDIA: Ssrc = Ssrc(7);
const CLOCK: u32 = 90_000;

/// A publisher's path into the server and a subscriber's out of it, with everything they keep.
struct Call {
    start: Instant,
    packets: u64,
    nack: NackGenerator,
    reception: Reception,
    arrivals: ArrivalLog,
    sent: SentLog,
    meter: PathMeter,
    stream: SentStream,
    rtt: RttEstimator,
    buffer: [u8; 1500],
}

impl Call {
    #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from nothing")]
    fn new() -> Self {
        Self {
            start: Instant::now(),
            packets: 0,
            nack: NackGenerator::new(),
            reception: Reception::new(MEDIA, CLOCK),
            arrivals: ArrivalLog::default(),
            sent: SentLog::new(),
            meter: PathMeter::default(),
            stream: SentStream::new(CLOCK),
            rtt: RttEstimator::default(),
            buffer: [0; 1500],
        }
    }

    /// `count` packets, one a millisecond, of which every twentieth is lost and repaired.
    fn run(&mut self, count: u64) {
        for _ in 0..count {
            let seq = self.packets;
            self.packets += 1;
            let now = self.start + Duration::from_millis(seq);
            let transport_seq = self.sent.sent(1200, now);
            self.stream.handle_sent(1160);
            if seq % 20 != 3 {
                self.nack.handle_packet(seq, now);
                self.reception.handle_packet(seq, seq as u32 * 90, now);
                self.arrivals.record(transport_seq, 1200, now);
            }
            let asked = self.write(now);
            if let Some(seq) = asked {
                self.nack.handle_repair(seq);
            }
        }
    }

    /// Writes and reads everything due; returns what was asked for.
    fn write(&mut self, now: Instant) -> Option<u64> {
        let mut writer = RtcpWriter::new(&mut self.buffer);
        if self.packets.is_multiple_of(500) {
            let ntp = NtpTime(self.packets << 32);
            let reported = SenderInfo { ntp, rtp_timestamp: 0, packets: 0, octets: 0 };
            let source = ClockMapping::new(&reported, now);
            let info = self.stream.report(&source, 7, now).unwrap();
            assert!(writer.sender_report(MEDIA, info, self.reception.report_block(now)));
            assert!(writer.sdes(MEDIA, b"name"));
        }
        if self.nack.poll_timeout().is_some_and(|due| due <= now) {
            assert!(writer.nack(MEDIA, MEDIA, self.nack.poll(now)));
        }
        if self.arrivals.poll_timeout().is_some_and(|due| due <= now) {
            assert_eq!(self.arrivals.write_feedback(MEDIA, MEDIA, &mut writer, now), 1);
        }
        let len = writer.len();
        self.read(len, now)
    }

    fn read(&mut self, len: usize, now: Instant) -> Option<u64> {
        let mut asked = None;
        for packet in packets(&self.buffer[..len]) {
            match packet.unwrap() {
                Rtcp::SenderReport(report) => {
                    self.reception.handle_sender_report(&report.info, now);
                    for block in report.blocks {
                        self.stream
                            .rtt(&block, now)
                            .into_iter()
                            .for_each(|rtt| self.rtt.update(rtt));
                    }
                }
                Rtcp::Nack(mut nack) => asked = nack.seqs.next(),
                Rtcp::TransportFeedback(feedback) => {
                    for sent in self.sent.handle_feedback(&feedback) {
                        self.meter.handle(&sent);
                    }
                }
                _ => {}
            }
        }
        let behind = asked.map(|seq| u64::from((self.packets as u16).wrapping_sub(seq)));
        behind.map(|behind| self.packets - behind)
    }
}

#[test]
fn nothing_on_a_packets_way_allocates() {
    let mut call = Call::new();
    call.run(5000);
    let counted = allocation_counter::measure(|| call.run(100_000));
    assert_eq!(counted.count_total, 0);
    let counts = call.nack.counts();
    assert!(counts.repaired > 5000, "something did happen: {counts:?}");
    assert!(call.meter.acknowledged().is_some() && call.rtt.rtt().is_some());
}

#[test]
fn a_subscriber_of_two_streams_takes_a_fraction_of_its_budget() {
    let counted = allocation_counter::measure(|| {
        let mut call = Call::new();
        call.run(2000);
        let inline = size_of::<SentLog>() + size_of::<PathMeter>() + 2 * size_of::<SentStream>();
        assert!(call.sent.heap_size() + inline <= 3000, "{} bytes", call.sent.heap_size() + inline);
    });
    // Both logs and what was missing at most.
    assert!(counted.count_max <= 3, "{counted:?}");
}
