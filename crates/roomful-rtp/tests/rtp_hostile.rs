//! Whatever bytes arrive, reading and opening them ends, and says at most that they are malformed.

#[path = "fuzz_bodies/rtp.rs"]
mod fuzz_bodies;

use fuzz_bodies::{rtp_parse, rtp_seeds, sequence_seeds, srtp_open, srtp_seeds, srtp_sequence};

/// Calls `target` with every seed, then with `rounds` of them battered.
fn batter(seeds: &[Vec<u8>], rounds: u32, target: impl Fn(&[u8])) {
    seeds.iter().for_each(|seed| target(seed));
    let mut random = fastrand::Rng::with_seed(3711);
    for _ in 0..rounds {
        let mut bytes = random.choice(seeds).cloned().unwrap_or_default();
        for _ in 0..random.usize(1..6) {
            if bytes.is_empty() {
                break;
            }
            // Headers are short: half of the blows go there.
            let reach = if random.bool() { bytes.len().min(24) } else { bytes.len() };
            let at = random.usize(..reach);
            match random.u8(..6) {
                0 | 1 => bytes[at] = random.u8(..),
                2 | 3 => bytes[at] ^= 1 << random.u8(..8),
                4 => bytes.truncate(at),
                _ => bytes.insert(at, random.u8(..)),
            }
        }
        target(&bytes);
    }
}

#[test]
fn battered_packets_are_read_without_panic_and_what_is_read_is_written_the_same() {
    batter(&rtp_seeds(), 100_000, rtp_parse);
}

#[test]
fn of_battered_packets_only_sealed_ones_open() {
    batter(&srtp_seeds(), 20_000, srtp_open);
}

#[test]
fn in_any_order_each_packet_opens_once_and_under_its_own_number() {
    batter(&sequence_seeds(), 20_000, srtp_sequence);
}

#[test]
fn seeds_cover_headers_of_every_form() {
    use roomful_rtp::rtp::{ExtensionForm, RtpHeader};
    let forms: Vec<_> = rtp_seeds()
        .iter()
        .filter_map(|seed| RtpHeader::parse(seed).ok())
        .map(|header| header.extension_form())
        .collect();
    assert_eq!(forms.len(), rtp_seeds().len(), "each of them is a packet");
    for form in [
        ExtensionForm::None,
        ExtensionForm::OneByte,
        ExtensionForm::TwoByte,
        ExtensionForm::Unknown,
    ] {
        assert!(forms.contains(&form), "{form:?}");
    }
}
