//! Whatever bytes arrive, reading them ends, and says at most that they are malformed.

#[path = "fuzz_bodies/rtcp.rs"]
mod fuzz_bodies;

use fuzz_bodies::{rtcp_parse, twcc_feedback};
use roomful_rtp::Ssrc;
use roomful_rtp::rtcp::{FeedbackStart, FirEntry, ReportBlock, RtcpWriter, SenderInfo, packets};
use roomful_rtp::units::{Bitrate, NtpShort, NtpTime};

const US: Ssrc = Ssrc(0x0102_0304);
const THEM: Ssrc = Ssrc(0xa1a2_a3a4);

/// One packet of every kind, with more than one of whatever it can hold.
fn every_kind() -> Vec<Vec<u8>> {
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

#[test]
fn every_kind_reads_as_one_packet_without_fault() {
    for bytes in every_kind() {
        assert_eq!(packets(&bytes).filter(Result::is_ok).count(), 1, "{bytes:02x?}");
        assert_eq!(packets(&bytes).count(), 1, "{bytes:02x?}");
    }
}

#[test]
fn a_packet_cut_short_anywhere_is_malformed() {
    for bytes in every_kind() {
        for len in 1..bytes.len() {
            let last = packets(&bytes[..len]).last();
            assert!(matches!(last, Some(Err(_))), "{len} of {bytes:02x?}");
        }
    }
}

/// As above, with a length that admits to the cut: now the fields inside are what is missing.
#[test]
fn a_packet_that_says_it_is_shorter_than_it_is_reads_without_panic() {
    for mut bytes in every_kind() {
        while bytes.len() > 4 {
            bytes.truncate(bytes.len() - 4);
            bytes[3] = (bytes.len() / 4 - 1) as u8;
            for count in 0..32 {
                bytes[0] = bytes[0] & 0xe0 | count;
                rtcp_parse(&bytes);
            }
        }
    }
}

#[test]
fn any_byte_of_any_packet_may_be_anything() {
    for bytes in every_kind() {
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                rtcp_parse(&bytes);
            }
        }
    }
}

#[test]
fn compounds_shuffled_and_battered_read_without_panic() {
    let kinds = every_kind();
    let mut random = fastrand::Rng::with_seed(4585);
    for round in 0..100_000 {
        let mut bytes = Vec::new();
        for _ in 0..random.usize(1..4) {
            bytes.extend(random.choice(&kinds).unwrap());
        }
        for _ in 0..random.usize(0..6) {
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes[at] = random.u8(..),
                1 => bytes[at] ^= 1 << random.u8(..8),
                2 => bytes.truncate(at + 1),
                _ => bytes.extend_from_within(at..),
            }
        }
        rtcp_parse(&bytes);
        if round % 4 == 0 {
            twcc_feedback(&bytes);
        }
    }
}

#[test]
fn whatever_arrives_when_feedback_tells_only_what_arrived() {
    let mut random = fastrand::Rng::with_seed(15);
    for _ in 0..500 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(4000).collect();
        twcc_feedback(&bytes);
    }
}
