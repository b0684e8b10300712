//! Bytes assembled by hand from the figures of the RFCs, read and written.

use super::*;
use crate::Ssrc;
use crate::units::{Bitrate, NtpShort, NtpTime};

const US: Ssrc = Ssrc(0x0102_0304);
const THEM: Ssrc = Ssrc(0xa1a2_a3a4);

/// What `write` puts into a compound.
fn written(write: impl FnOnce(&mut RtcpWriter<'_>) -> bool) -> Vec<u8> {
    let mut buffer = [0xee; 1500];
    let mut writer = RtcpWriter::new(&mut buffer);
    assert!(write(&mut writer), "it fits");
    let len = writer.len();
    assert!(buffer[len..].iter().all(|byte| *byte == 0xee), "wrote past its end");
    buffer[..len].to_vec()
}

/// The only packet of a compound.
fn only(compound: &[u8]) -> Rtcp<'_> {
    let mut all = packets(compound);
    let first = all.next().expect("a packet").expect("well formed");
    assert!(all.next().is_none(), "one packet");
    first
}

fn failure(compound: &[u8]) -> RtcpError {
    let mut all = packets(compound);
    let error = all.find_map(Result::err).expect("malformed");
    assert!(all.next().is_none(), "the error is the last item");
    error
}

const INFO: SenderInfo = SenderInfo {
    ntp: NtpTime(0xb44d_b705_2000_0000),
    rtp_timestamp: 0x1122_3344,
    packets: 17,
    octets: 0x0001_0000,
};

const BLOCK: ReportBlock = ReportBlock {
    ssrc: THEM,
    fraction_lost: 0x40,
    cumulative_lost: -2,
    highest_seq: 0x0001_ffee,
    jitter: 90,
    last_sender_report: NtpShort(0xb705_2000),
    delay_since_last_sender_report: NtpShort(0x0005_4000),
};

#[rustfmt::skip]
const BLOCK_BYTES: [u8; 24] = [
    0xa1, 0xa2, 0xa3, 0xa4, 0x40, 0xff, 0xff, 0xfe, 0x00, 0x01, 0xff, 0xee, 0x00, 0x00, 0x00, 0x5a,
    0xb7, 0x05, 0x20, 0x00, 0x00, 0x05, 0x40, 0x00,
];

#[test]
fn a_sender_report_reads_and_writes_as_in_section_6_4_1() {
    #[rustfmt::skip]
    let mut bytes = vec![
        0x81, 200, 0, 12, 1, 2, 3, 4,
        0xb4, 0x4d, 0xb7, 0x05, 0x20, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 17, 0, 1, 0, 0,
    ];
    bytes.extend(BLOCK_BYTES);
    assert_eq!(written(|writer| writer.sender_report(US, INFO, [BLOCK])), bytes);
    let Rtcp::SenderReport(report) = only(&bytes) else { panic!("a sender report") };
    assert_eq!((report.ssrc, report.info), (US, INFO));
    assert!(report.blocks.eq([BLOCK]));
}

#[test]
fn a_receiver_report_reads_and_writes_as_in_section_6_4_2() {
    let mut bytes = vec![0x81, 201, 0, 7, 1, 2, 3, 4];
    bytes.extend(BLOCK_BYTES);
    assert_eq!(written(|writer| writer.receiver_report(US, [BLOCK])), bytes);
    let Rtcp::ReceiverReport(report) = only(&bytes) else { panic!("a receiver report") };
    assert_eq!(report.ssrc, US);
    assert!(report.blocks.eq([BLOCK]));
}

#[test]
fn what_a_profile_appends_to_a_report_is_stepped_over() {
    let bytes = [0x80, 201, 0, 3, 1, 2, 3, 4, 9, 9, 9, 9, 9, 9, 9, 9];
    let Rtcp::ReceiverReport(report) = only(&bytes) else { panic!("a receiver report") };
    assert_eq!(report.blocks.count(), 0);
}

#[test]
fn a_sum_of_losses_too_large_for_24_bits_is_the_largest_that_fits() {
    for (lost, read) in [(i32::MAX, 0x7f_ffff), (i32::MIN, -0x80_0000), (-1, -1)] {
        let block = ReportBlock { cumulative_lost: lost, ..BLOCK };
        let bytes = written(|writer| writer.receiver_report(US, [block]));
        let Rtcp::ReceiverReport(report) = only(&bytes) else { panic!("a receiver report") };
        assert!(report.blocks.eq([ReportBlock { cumulative_lost: read, ..BLOCK }]));
    }
}

#[test]
fn a_name_reads_and_writes_as_in_section_6_5_for_every_remainder() {
    let bytes = [0x81, 202, 0, 3, 1, 2, 3, 4, 1, 4, b'r', b'o', b'o', b'm', 0, 0];
    assert_eq!(written(|writer| writer.sdes(US, b"room")), bytes);
    for len in [0, 1, 2, 3, 4, 5, 254, 255] {
        let name = vec![b'x'; len];
        let bytes = written(|writer| writer.sdes(US, &name));
        let Rtcp::Sdes(chunks) = only(&bytes) else { panic!("a description") };
        assert!(chunks.eq([SdesChunk { ssrc: US, cname: Some(name.as_slice()) }]), "{len} bytes");
    }
    let mut buffer = [0; 1500];
    assert!(!RtcpWriter::new(&mut buffer).sdes(US, &[b'x'; 256]));
}

#[test]
fn of_several_descriptions_with_several_items_each_name_is_found() {
    #[rustfmt::skip]
    let bytes = [
        0x82, 202, 0, 6,
        1, 2, 3, 4, 2, 3, b'A', b'n', b'n', 1, 2, b'c', b'1', 0, 0, 0,
        0xa1, 0xa2, 0xa3, 0xa4, 7, 0, 0, 0,
    ];
    let Rtcp::Sdes(chunks) = only(&bytes) else { panic!("a description") };
    let expected = [
        SdesChunk { ssrc: US, cname: Some(b"c1".as_slice()) },
        SdesChunk { ssrc: THEM, cname: None },
    ];
    assert!(chunks.eq(expected), "{:?}", chunks.collect::<Vec<_>>());
}

#[test]
fn a_goodbye_reads_and_writes_as_in_section_6_6() {
    let bytes = [0x82, 203, 0, 2, 1, 2, 3, 4, 0xa1, 0xa2, 0xa3, 0xa4];
    assert_eq!(written(|writer| writer.bye([US, THEM])), bytes);
    let with_reason = [0x81, 203, 0, 3, 1, 2, 3, 4, 5, b'l', b'a', b't', b'e', b'r', 0, 0];
    for (bytes, expected) in [(&bytes[..], &[US, THEM][..]), (&with_reason, &[US])] {
        let Rtcp::Bye(bye) = only(bytes) else { panic!("a goodbye") };
        assert!(bye.ssrcs.eq(expected.iter().copied()));
    }
}

#[test]
fn a_nack_packs_seventeen_numbers_into_a_word() {
    #[rustfmt::skip]
    let bytes = [
        0x81, 205, 0, 4, 1, 2, 3, 4, 0xa1, 0xa2, 0xa3, 0xa4,
        0xff, 0xfe, 0x80, 0x05, 0x00, 0x0f, 0x00, 0x00,
    ];
    let seqs = [65_534, 65_535, 1, 14, 15];
    assert_eq!(written(|writer| writer.nack(US, THEM, seqs)), bytes);
    let Rtcp::Nack(nack) = only(&bytes) else { panic!("a NACK") };
    assert_eq!((nack.sender, nack.media), (US, THEM));
    assert!(nack.seqs.eq(seqs));
}

#[test]
fn a_nack_for_nothing_is_not_written_and_repetitions_cost_nothing() {
    let mut buffer = [0; 100];
    let mut writer = RtcpWriter::new(&mut buffer);
    assert!(!writer.nack(US, THEM, []));
    assert!(writer.is_empty());
    assert!(writer.nack(US, THEM, [7, 7, 8, 7]));
    assert_eq!(writer.len(), 16);
}

#[test]
fn keyframe_requests_read_and_write_as_in_their_rfcs() {
    let pli = [0x81, 206, 0, 2, 1, 2, 3, 4, 0xa1, 0xa2, 0xa3, 0xa4];
    assert_eq!(written(|writer| writer.pli(US, THEM)), pli);
    let Rtcp::Pli(read) = only(&pli) else { panic!("a PLI") };
    assert_eq!(read, Pli { sender: US, media: THEM });

    let fir = [0x84, 206, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0xa1, 0xa2, 0xa3, 0xa4, 7, 0, 0, 0];
    let entry = FirEntry { media: THEM, request: 7 };
    assert_eq!(written(|writer| writer.fir(US, [entry])), fir);
    let Rtcp::Fir(read) = only(&fir) else { panic!("a FIR") };
    assert_eq!(read.sender, US);
    assert!(read.entries().eq([entry]));
}

#[test]
fn a_remb_reads_and_writes_as_in_its_draft() {
    #[rustfmt::skip]
    let bytes = [
        0x8f, 206, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0, b'R', b'E', b'M', b'B',
        1, 0x0f, 0xd0, 0x90, 0xa1, 0xa2, 0xa3, 0xa4,
    ];
    // Exponent 3, mantissa 0x3d090: two million.
    assert_eq!(written(|writer| writer.remb(US, Bitrate(2_000_000), [THEM])), bytes);
    let Rtcp::Remb(remb) = only(&bytes) else { panic!("a REMB") };
    assert_eq!((remb.sender, remb.bitrate), (US, Bitrate(2_000_000)));
    assert!(remb.ssrcs.eq([THEM]));
}

#[test]
fn a_remb_keeps_eighteen_bits_of_any_rate_and_survives_absurd_ones() {
    for rate in [0, 1, 0x3_ffff, 0x4_0000, 123_456_789, u64::MAX] {
        let bytes = written(|writer| writer.remb(US, Bitrate(rate), []));
        let Rtcp::Remb(remb) = only(&bytes) else { panic!("a REMB") };
        let Bitrate(read) = remb.bitrate;
        assert!(read <= rate && rate - read <= rate >> 17, "{rate} became {read}");
    }
    let mut absurd = written(|writer| writer.remb(US, Bitrate(1), []));
    absurd[17] = 0xff;
    let Rtcp::Remb(remb) = only(&absurd) else { panic!("a REMB") };
    assert_eq!(remb.bitrate, Bitrate(u64::MAX));
}

#[test]
fn extended_reports_give_up_their_reference_times() {
    #[rustfmt::skip]
    let bytes = [
        0x80, 207, 0, 13, 1, 2, 3, 4,
        4, 0, 0, 2, 0xb4, 0x4d, 0xb7, 0x05, 0x20, 0, 0, 0,
        42, 1, 0, 1, 9, 9, 9, 9,
        5, 0, 0, 6,
        0xa1, 0xa2, 0xa3, 0xa4, 0xb7, 0x05, 0x20, 0x00, 0, 5, 0x40, 0,
        1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let Rtcp::ExtendedReport(report) = only(&bytes) else { panic!("an extended report") };
    assert_eq!(report.ssrc, US);
    let blocks: Vec<_> = report.blocks.collect();
    let [XrBlock::ReferenceTime(ntp), XrBlock::Other(42), XrBlock::Dlrr(answers)] = blocks[..]
    else {
        panic!("{blocks:?}")
    };
    assert_eq!(ntp, INFO.ntp);
    let (last_reference, delay_since) = (NtpShort(0xb705_2000), NtpShort(0x0005_4000));
    let first = answers.clone().next();
    assert_eq!(first, Some(DlrrBlock { ssrc: THEM, last_reference, delay_since }));
    assert_eq!(answers.count(), 2);
}

/// The example runs through every form of chunk; symbols and deltas are laid out by hand.
#[test]
fn transport_wide_feedback_reads_as_in_its_draft() {
    #[rustfmt::skip]
    let bytes = [
        0xaf, 205, 0, 9, 1, 2, 3, 4, 0xa1, 0xa2, 0xa3, 0xa4,
        0xff, 0xfe, 0, 23, 0x00, 0x00, 0x02, 7,
        0x20, 0x02,             // two of small delta
        0x00, 0x03,             // three lost
        0x90, 0x01,             // narrow vector: the second and the fourteenth arrived
        0xd8, 0x00,             // wide vector: small, large, and two lost
        4, 8, 1, 2, 3, 0xff, 0xf0,
        0, 0, 0, 0, 5,
    ];
    let Rtcp::TransportFeedback(feedback) = only(&bytes) else { panic!("feedback") };
    assert_eq!((feedback.sender, feedback.media), (US, THEM));
    assert_eq!((feedback.first_seq, feedback.count, feedback.number), (65_534, 23, 7));
    let arrived: Vec<_> =
        feedback.statuses().filter_map(|(seq, at)| at.map(|FeedbackTime(at)| (seq, at))).collect();
    let expected = [(65_534, 516), (65_535, 524), (4, 525), (16, 527), (17, 530), (18, 514)];
    assert_eq!(arrived, expected);
    assert!(
        feedback.statuses().map(|(seq, _)| seq).eq((0..23).map(|n| 65_534_u16.wrapping_add(n)))
    );
    assert_eq!(feedback.spans().nth(2), Some(Span::Lost { first: 0, count: 3 }));
}

/// The first run length chunk and the first vector chunk that the draft gives as examples (§3.1.3,
/// §3.1.4): 221 lost, then one lost, five arrived, three lost, three arrived, two lost.
#[test]
fn the_chunks_in_the_drafts_examples_read_as_it_says() {
    #[rustfmt::skip]
    let bytes = [
        0x8f, 205, 0, 7, 1, 2, 3, 4, 0xa1, 0xa2, 0xa3, 0xa4,
        0, 0, 0, 235, 0, 0, 0, 0,
        0b0000_0000, 0b1101_1101, 0b1001_1111, 0b0001_1100,
        0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let Rtcp::TransportFeedback(feedback) = only(&bytes) else { panic!("feedback") };
    let arrived = feedback.statuses().filter_map(|(seq, at)| at.map(|_| seq));
    assert!(arrived.eq([222, 223, 224, 225, 226, 230, 231, 232]));
}

#[test]
fn a_few_bytes_that_report_a_multitude_lost_are_one_span_each_eight_thousand() {
    let mut bytes = vec![0x8f, 205, 0, 8, 1, 2, 3, 4, 0xa1, 0xa2, 0xa3, 0xa4];
    bytes.extend([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend([0x1f, 0xff].repeat(9));
    bytes.extend([0, 0]);
    bytes[3] = (bytes.len() / 4 - 1) as u8;
    let Rtcp::TransportFeedback(feedback) = only(&bytes) else { panic!("feedback") };
    assert_eq!(feedback.spans().count(), 9);
    assert_eq!(feedback.statuses().count(), 65_535);
}

#[test]
fn feedback_that_promises_more_than_it_holds_is_malformed() {
    let head = [0x8f, 205, 0, 5, 1, 2, 3, 4, 0xa1, 0xa2, 0xa3, 0xa4];
    let malformed = RtcpError::Malformed(RtcpKind::TransportFeedback);
    // Its packets, then chunks and deltas of one word.
    let tails: [(&str, [u8; 12]); 4] = [
        ("chunks are missing", [0, 0, 0, 200, 0, 0, 0, 0, 0x80, 0, 0x80, 0]),
        ("deltas are missing", [0, 0, 0, 3, 0, 0, 0, 0, 0x20, 3, 1, 2]),
        ("a symbol is reserved", [0, 0, 0, 1, 0, 0, 0, 0, 0xf0, 0, 0, 0]),
        ("a run is of reserved symbols", [0, 0, 0, 1, 0, 0, 0, 0, 0x60, 1, 0, 0]),
    ];
    for (what, tail) in tails {
        assert_eq!(failure(&[&head[..], &tail].concat()), malformed, "{what}");
    }
}

#[test]
fn a_compound_is_read_to_its_end_and_unknown_packets_are_stepped_over() {
    let mut bytes = written(|writer| {
        writer.sender_report(US, INFO, []) && writer.sdes(US, b"name") && writer.pli(US, THEM)
    });
    // An application packet, and feedback of a format not used here.
    bytes.extend([0x83, 204, 0, 2, 1, 2, 3, 4, b'n', b'a', b'm', b'e']);
    bytes.extend([0x83, 205, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
    bytes.extend([0x8f, 206, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, b'B', b'E', b'R', b'M']);
    bytes.extend(written(|writer| writer.bye([US])));
    let all: Vec<_> = packets(&bytes).map(Result::unwrap).collect();
    assert!(matches!(
        all[..],
        [
            Rtcp::SenderReport(_),
            Rtcp::Sdes(_),
            Rtcp::Pli(_),
            Rtcp::Unknown { packet_type: 204, format: 3 },
            Rtcp::Unknown { packet_type: 205, format: 3 },
            Rtcp::Unknown { packet_type: 206, format: 15 },
            Rtcp::Bye(_),
        ]
    ));
}

#[test]
fn padding_is_not_read_as_content() {
    let padded = [0xa1, 203, 0, 2, 1, 2, 3, 4, 0, 0, 0, 4];
    assert!(matches!(only(&padded), Rtcp::Bye(bye) if bye.ssrcs.eq([US])));
    let error = RtcpError::Padding { packet_type: 203 };
    assert_eq!(failure(&[0xa0, 203, 0, 0]), error, "no byte to count it");
    assert_eq!(failure(&[0xa1, 203, 0, 1, 1, 2, 3, 0]), error, "none at all");
    assert_eq!(failure(&[0xa1, 203, 0, 1, 1, 2, 3, 5]), error, "more than there is");
    let swallowed = RtcpError::Malformed(RtcpKind::Bye);
    assert_eq!(failure(&[0xa1, 203, 0, 1, 1, 2, 3, 4]), swallowed);
}

#[test]
fn each_fault_of_framing_is_named() {
    assert_eq!(failure(&[0x80, 200, 0]), RtcpError::Stray(3));
    assert_eq!(failure(&[0x40, 200, 0, 0]), RtcpError::Version(1));
    let error = RtcpError::Length { packet_type: 200, claimed: 12, left: 8 };
    assert_eq!(failure(&[0x80, 200, 0, 2, 1, 2, 3, 4]), error);
    assert_eq!(error.to_string(), "an RTCP packet of type 200 claims 12 bytes, 8 are left");
}

#[test]
fn more_than_a_packet_can_count_is_not_written() {
    let mut buffer = [0; 1500];
    let mut writer = RtcpWriter::new(&mut buffer);
    assert!(writer.receiver_report(US, [BLOCK; 31]));
    assert!(!writer.receiver_report(US, [BLOCK; 32]));
    assert!(!writer.bye([US; 32]));
    assert_eq!(writer.len(), 8 + 31 * 24);
}

#[test]
fn what_does_not_fit_leaves_no_trace() {
    let writes: [fn(&mut RtcpWriter<'_>) -> bool; 8] = [
        |writer| writer.sender_report(US, INFO, [BLOCK]),
        |writer| writer.receiver_report(US, [BLOCK]),
        |writer| writer.sdes(US, b"name"),
        |writer| writer.nack(US, THEM, [1, 100]),
        |writer| writer.pli(US, THEM),
        |writer| writer.fir(US, [FirEntry { media: THEM, request: 0 }]),
        |writer| writer.remb(US, Bitrate(1), [THEM]),
        |writer| writer.bye([US]),
    ];
    for (kind, write) in writes.iter().enumerate() {
        let whole = written(write).len();
        for room in 0..whole {
            let mut buffer = [0; 1500];
            let mut writer = RtcpWriter::new(&mut buffer[..8 + room]);
            assert!(writer.bye([US]));
            assert!(!write(&mut writer), "kind {kind} in {room} of {whole} bytes");
            assert_eq!(writer.len(), 8);
        }
    }
}
