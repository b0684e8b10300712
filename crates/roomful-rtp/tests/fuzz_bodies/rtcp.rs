//! What the fuzz targets `rtcp_parse` and `twcc_feedback` do with bytes. The tests of this crate run
//! the same over seeded mutations, so that every run of the tests covers some of it.

#![allow(clippy::panic, reason = "a panic is what a fuzz target has to say")]
#![allow(clippy::disallowed_methods, reason = "an Instant cannot be made from nothing")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use roomful_rtp::Ssrc;
use roomful_rtp::rtcp::{
    FeedbackStart, FirEntry, ReportBlock, Rtcp, RtcpWriter, SenderInfo, TransportFeedback, XrBlock,
    packets,
};
use roomful_rtp::twcc::{ArrivalLog, Fate, PathMeter, SentLog};
use roomful_rtp::units::{Bitrate, NtpShort, NtpTime};

const US: Ssrc = Ssrc(0x0102_0304);
const THEM: Ssrc = Ssrc(0xa1a2_a3a4);

/// What both targets begin with: one packet of every kind, with more than one of whatever it can hold.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let block = ReportBlock {
        ssrc: THEM,
        fraction_lost: 1,
        cumulative_lost: 2,
        highest_seq: 3,
        jitter: 4,
        last_sender_report: NtpShort(5),
        delay_since_last_sender_report: NtpShort(6),
    };
    let info = SenderInfo { ntp: NtpTime(7), rtp_timestamp: 8, packets: 9, octets: 10 };
    let start = FeedbackStart { first_seq: 65_530, reference: 1, number: 2 };
    let deltas = (0..60_i16).map(|n| if n % 3 == 0 { None } else { Some(n * 5) });
    let request = FirEntry { media: THEM, request: 1 };
    let mut kinds = vec![
        one(|writer| writer.sender_report(US, info, [block; 3])),
        one(|writer| writer.receiver_report(US, [block; 3])),
        one(|writer| writer.sdes(US, b"somebody")),
        one(|writer| writer.bye([US, THEM])),
        one(|writer| writer.nack(US, THEM, [1, 2, 17, 18, 500])),
        one(|writer| writer.pli(US, THEM)),
        one(|writer| writer.fir(US, [request; 2])),
        one(|writer| writer.remb(US, Bitrate(3_000_000), [US, THEM])),
        one(|writer| writer.transport_feedback(US, THEM, start, deltas.clone()) == Some(60)),
    ];
    #[rustfmt::skip]
    kinds.push(vec![
        0x80, 207, 0, 9, 1, 2, 3, 4, 4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 42, 1, 0, 0,
        5, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9,
    ]);
    kinds.push(vec![0x83, 204, 0, 2, 1, 2, 3, 4, b'n', b'a', b'm', b'e']);
    kinds
}

fn one(write: impl FnOnce(&mut RtcpWriter<'_>) -> bool) -> Vec<u8> {
    let mut buffer = [0; 1500];
    let mut writer = RtcpWriter::new(&mut buffer);
    assert!(write(&mut writer));
    let len = writer.len();
    buffer[..len].to_vec()
}

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
