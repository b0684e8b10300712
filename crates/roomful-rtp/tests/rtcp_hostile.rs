//! Whatever bytes arrive, reading them ends, and says at most that they are malformed.

#[path = "fuzz_bodies/rtcp.rs"]
mod fuzz_bodies;

use fuzz_bodies::{rtcp_parse, seeds, twcc_feedback};
use roomful_rtp::rtcp::packets;

#[test]
fn every_kind_reads_as_one_packet_without_fault() {
    for bytes in seeds() {
        assert_eq!(packets(&bytes).filter(Result::is_ok).count(), 1, "{bytes:02x?}");
        assert_eq!(packets(&bytes).count(), 1, "{bytes:02x?}");
    }
}

#[test]
fn a_packet_cut_short_anywhere_is_malformed() {
    for bytes in seeds() {
        for len in 1..bytes.len() {
            let last = packets(&bytes[..len]).last();
            assert!(matches!(last, Some(Err(_))), "{len} of {bytes:02x?}");
        }
    }
}

/// As above, with a length that admits to the cut: now the fields inside are what is missing.
#[test]
fn a_packet_that_says_it_is_shorter_than_it_is_reads_without_panic() {
    for mut bytes in seeds() {
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
    for bytes in seeds() {
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
    let kinds = seeds();
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
