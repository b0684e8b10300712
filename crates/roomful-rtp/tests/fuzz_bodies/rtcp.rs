//! What the fuzz targets `rtcp_parse` and `twcc_feedback` do with bytes. The tests of this crate run
//! the same over seeded mutations, so that every run of the tests covers some of it.

#![allow(clippy::panic, reason = "a panic is what a fuzz target has to say")]
#![allow(clippy::disallowed_methods, reason = "an Instant cannot be made from nothing")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use roomful_rtp::Ssrc;
use roomful_rtp::rtcp::{Rtcp, RtcpWriter, TransportFeedback, XrBlock, packets};
use roomful_rtp::twcc::{ArrivalLog, Fate, PathMeter, SentLog};

/// Goes through everything that can be read from `compound`, and counts it so that nothing of it is
/// optimised away.
pub(crate) fn rtcp_parse(compound: &[u8]) -> usize {
    packets(compound).map(|packet| packet.map_or(1, |packet| 1 + read(packet))).sum()
}

fn read(packet: Rtcp<'_>) -> usize {
    match packet {
        Rtcp::SenderReport(report) => report.blocks.count(),
        Rtcp::ReceiverReport(report) => report.blocks.count(),
        Rtcp::Sdes(chunks) => chunks.map(|chunk| chunk.cname.map_or(0, <[u8]>::len)).sum(),
        Rtcp::Bye(bye) => bye.ssrcs.count(),
        Rtcp::Nack(nack) => nack.seqs.count(),
        Rtcp::Pli(_) | Rtcp::Unknown { .. } => 0,
        Rtcp::Fir(fir) => fir.entries().count(),
        Rtcp::TransportFeedback(feedback) => {
            assert_eq!(feedback.statuses().count(), usize::from(feedback.count), "checked whole");
            feedback.spans().count()
        }
        Rtcp::Remb(remb) => remb.ssrcs.count(),
        Rtcp::ExtendedReport(report) => report
            .blocks
            .map(|block| match block {
                XrBlock::Dlrr(answers) => answers.count(),
                XrBlock::ReferenceTime(_) | XrBlock::Other(_) => 1,
            })
            .sum(),
    }
}

/// A sender of some packets believes `bytes`, and a receiver lives through arrivals that `bytes`
/// describe.
pub(crate) fn twcc_feedback(bytes: &[u8]) {
    believe(bytes);
    receive(bytes);
}

const SENT: u64 = 300;

/// Whatever feedback claims, each packet sent is lost at most once, then arrives at most once.
fn believe(compound: &[u8]) {
    let start = start_of_time();
    let (mut log, mut meter) = (SentLog::new(), PathMeter::default());
    for n in 0..SENT {
        log.sent(1000, start + Duration::from_millis(n));
    }
    let mut fates = BTreeMap::new();
    for packet in packets(compound).flatten() {
        let Rtcp::TransportFeedback(feedback) = packet else { continue };
        for told in log.handle_feedback(&feedback) {
            assert!(u64::from(told.seq) < SENT, "{} was never sent", told.seq);
            let before = fates.insert(told.seq, told.fate);
            match told.fate {
                Fate::Lost | Fate::Arrived(_) => assert_eq!(before, None),
                Fate::ArrivedLate(_) => assert_eq!(before, Some(Fate::Lost)),
            }
            meter.handle(&told);
        }
    }
    assert!(log.in_flight() <= SENT * 1000);
    assert!(meter.loss_fraction().is_none_or(|loss| (0.0..=1.0).contains(&loss)));
    std::hint::black_box((meter.acknowledged(), meter.queueing_delay()));
}

/// Every four bytes are one arrival: a step of the number, a step of time, and now and then feedback
/// into a datagram of any size, which must say what arrived and nothing else.
fn receive(bytes: &[u8]) {
    let mut now = start_of_time();
    let mut log = ArrivalLog::default();
    let mut arrived = vec![false; 1 << 16];
    let mut seq = 0_u16;
    for &[step, scale, wait, room] in bytes.as_chunks::<4>().0 {
        seq = seq.wrapping_add_signed(i16::from(step as i8) << (scale % 9));
        now += Duration::from_micros(u64::from(wait) << (scale / 16));
        log.record(seq, usize::from(scale), now);
        arrived[usize::from(seq)] = true;
        if room % 4 == 0 {
            let mut buffer = [0; 256];
            let mut writer = RtcpWriter::new(&mut buffer[..usize::from(room)]);
            let count = log.write_feedback(Ssrc(1), Ssrc(2), &mut writer, now);
            let len = writer.len();
            let all: Vec<_> = packets(&buffer[..len]).map(feedback_only).collect();
            assert_eq!(all.len(), count);
            for (seq, at) in all.iter().flat_map(TransportFeedback::statuses) {
                assert!(at.is_none() || arrived[usize::from(seq)], "{seq} never arrived");
            }
        }
    }
}

fn feedback_only<E: std::fmt::Debug>(packet: Result<Rtcp<'_>, E>) -> TransportFeedback<'_> {
    match packet {
        Ok(Rtcp::TransportFeedback(feedback)) => feedback,
        other => panic!("wrote {other:?}"),
    }
}

fn start_of_time() -> Instant {
    Instant::now()
}
