//! What sealing and opening promise, seen from outside.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use roomful_rtp::Ssrc;
use roomful_rtp::rtp::{HeaderFields, write_header};
use roomful_rtp::srtp::{
    DtlsRole, KeyError, MasterKey, MasterKeys, OpenError, Opener, SealError, Sealer, SrtpProfile,
};

const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmHmacSha1_80];

const SSRC: u32 = 0xcafe_babe;

/// What a handshake exports: all bytes different.
fn exported(profile: SrtpProfile) -> Vec<u8> {
    (0..profile.exported_len()).map(|byte| byte as u8).collect()
}

/// A sealer, and the opener at the other end.
fn pair(profile: SrtpProfile) -> (Sealer, Opener) {
    let keys = |role| MasterKeys::from_exported(profile, &exported(profile), role).unwrap();
    let sealer = Sealer::new(&keys(DtlsRole::Client).seal).unwrap();
    let opener = Opener::new(&keys(DtlsRole::Server).open).unwrap();
    (sealer, opener)
}

/// A plain packet, with an extension and a payload that tells packets apart.
fn plain(ssrc: u32, index: u64) -> (Vec<u8>, usize) {
    let fields = HeaderFields {
        marker: false,
        payload_type: 111,
        sequence: index as u16,
        timestamp: index as u32,
        ssrc: Ssrc(ssrc),
    };
    let mut out = vec![0; 64];
    let header_len = write_header(&mut out, &fields, [(3, &b"abc"[..])].into_iter()).unwrap();
    out.truncate(header_len);
    out.extend(index.to_be_bytes());
    (out, header_len)
}

fn sealed(sealer: &Sealer, ssrc: u32, index: u64) -> Vec<u8> {
    let (mut packet, header_len) = plain(ssrc, index);
    let plain_len = packet.len();
    packet.resize(plain_len + sealer.profile().rtp_overhead(), 0);
    let len = sealer.seal_rtp(&mut packet, header_len, plain_len, index).unwrap();
    assert_eq!(len, packet.len());
    packet
}

/// Opens a packet of [`sealed`], and sees that it is the plain one again.
fn open(opener: &mut Opener, packet: &[u8]) -> Result<u64, OpenError> {
    let mut packet = packet.to_vec();
    let opened = opener.open_rtp(&mut packet)?;
    let (expected, header_len) = plain(opened.header.ssrc.0, opened.index);
    assert_eq!(packet[..opened.plain_len], expected);
    assert_eq!(opened.header.header_len(), header_len);
    Ok(opened.index)
}

/// A sealed report of some sender.
fn sealed_report(sealer: &mut Sealer, ssrc: u32) -> Vec<u8> {
    let mut report = vec![0x80, 201, 0, 1];
    report.extend(ssrc.to_be_bytes());
    report.extend([0x80, 203, 0, 1, 1, 2, 3, 4]);
    let plain_len = report.len();
    report.resize(plain_len + sealer.profile().rtcp_overhead(), 0);
    let len = sealer.seal_rtcp(&mut report, plain_len).unwrap();
    assert_eq!(len, report.len());
    report
}

fn open_report(opener: &mut Opener, report: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut report = report.to_vec();
    let len = opener.open_rtcp(&mut report)?;
    report.truncate(len);
    Ok(report)
}

fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// The packets by which libsrtp checks itself (recomputed with Python's `cryptography`).
#[test]
fn whole_packets_are_those_of_libsrtp() {
    let counter_mode = (
        SrtpProfile::Aes128CmHmacSha1_80,
        "e1f97a0d3e018be0d64fa32c06de4139",
        "0ec675ad498afeebb6960b3aabe6",
        "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb",
        "81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798",
    );
    let gcm = (
        SrtpProfile::AeadAes128Gcm,
        "000102030405060708090a0b0c0d0e0f",
        "a0a1a2a3a4a5a6a7a8a9aaab",
        "800f1234decafbadcafebabe c5002ede04cfdd2eb91159e0880aa06e d2976826f796b201df3131a127e8a392",
        "81c8000bcafebabe c98b8b5df0392a55852b6c21ac8e7025 c52c6fbea2b3b446ea31123ba88ce61e 80000001",
    );
    for (profile, key, salt, rtp, rtcp) in [counter_mode, gcm] {
        let master = MasterKey::new(profile, &hex(key), &hex(salt)).unwrap();
        let mut sealer = Sealer::new(&master).unwrap();
        let mut opener = Opener::new(&master).unwrap();
        let body = [0xab; 16];
        let seal_room = [0; 20];
        let plain = [&hex("800f1234decafbadcafebabe")[..], &body].concat();
        let mut packet = [&plain[..], &seal_room].concat();
        let len = sealer.seal_rtp(&mut packet, 12, plain.len(), 0x1234).unwrap();
        assert_eq!(packet[..len], hex(rtp));
        assert_eq!(
            opener.open_rtp(&mut packet[..len]).map(|o| (o.plain_len, o.index)),
            Ok((28, 0x1234))
        );
        assert_eq!(packet[..28], plain);

        // libsrtp begins with index 1.
        sealed_report(&mut sealer, SSRC);
        let plain = [&hex("81c8000bcafebabe")[..], &body].concat();
        let mut packet = [&plain[..], &seal_room].concat();
        let len = sealer.seal_rtcp(&mut packet, plain.len()).unwrap();
        assert_eq!(packet[..len], hex(rtcp));
        assert_eq!(opener.open_rtcp(&mut packet[..len]), Ok(24));
        assert_eq!(packet[..24], plain);
    }
}

#[test]
fn each_side_opens_what_the_other_seals_and_not_its_own() {
    for profile in PROFILES {
        for role in [DtlsRole::Client, DtlsRole::Server] {
            let other = if role == DtlsRole::Client { DtlsRole::Server } else { DtlsRole::Client };
            let keys = MasterKeys::from_exported(profile, &exported(profile), role).unwrap();
            let others = MasterKeys::from_exported(profile, &exported(profile), other).unwrap();
            let mut sealer = Sealer::new(&keys.seal).unwrap();
            let packet = sealed(&sealer, SSRC, 1);
            let report = sealed_report(&mut sealer, SSRC);
            let mut own = Opener::new(&keys.open).unwrap();
            assert_eq!(open(&mut own, &packet), Err(OpenError::Unauthentic));
            assert_eq!(open_report(&mut own, &report), Err(OpenError::Unauthentic));
            let mut opener = Opener::new(&others.open).unwrap();
            assert_eq!(open(&mut opener, &packet), Ok(1));
            assert!(open_report(&mut opener, &report).is_ok());
        }
    }
}

#[test]
fn exported_keys_lie_as_in_rfc_5764_section_4_2() {
    let profile = SrtpProfile::Aes128CmHmacSha1_80;
    let exported = exported(profile);
    let keys = MasterKeys::from_exported(profile, &exported, DtlsRole::Client).unwrap();
    let client = MasterKey::new(profile, &exported[..16], &exported[32..46]).unwrap();
    let server = MasterKey::new(profile, &exported[16..32], &exported[46..60]).unwrap();
    assert!(keys.seal == client && keys.open == server);
}

#[test]
fn keying_material_of_another_length_is_refused() {
    for profile in PROFILES {
        let expected = profile.exported_len();
        for found in [0, expected - 1, expected + 1] {
            let keys = MasterKeys::from_exported(profile, &vec![0; found], DtlsRole::Client);
            assert_eq!(keys.err(), Some(KeyError::WrongLength { expected, found }));
        }
        assert!(MasterKey::new(profile, &[0; 15], &[0; 14]).is_err());
        assert!(MasterKey::new(profile, &vec![0; profile.key_len()], &[0; 15]).is_err());
    }
}

#[test]
fn keys_are_not_printed() {
    let key = MasterKey::new(SrtpProfile::AeadAes128Gcm, &[0x5a; 16], &[0x5a; 12]).unwrap();
    let printed = format!("{key:?} {:?}", Sealer::new(&key).unwrap());
    assert!(!printed.contains("90") && !printed.contains("5a"), "{printed}");
}

#[test]
fn a_packet_with_any_bit_flipped_is_refused() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let packet = sealed(&sealer, SSRC, 500);
        let report = sealed_report(&mut sealer, SSRC);
        for bit in 0..packet.len() * 8 {
            let mut bent = packet.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let error = open(&mut opener, &bent).unwrap_err();
            // Bits of version, CSRC count and extension length make another packet, or none.
            let is_structure = bit / 8 == 0 || (14..16).contains(&(bit / 8));
            assert!(error == OpenError::Unauthentic || is_structure, "bit {bit}: {error}");
        }
        for bit in 0..report.len() * 8 {
            let mut bent = report.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(open_report(&mut opener, &bent).is_err(), "bit {bit}");
        }
        assert_eq!(opener.streams(), 0, "nothing is remembered of what is not authentic");
        assert_eq!(open(&mut opener, &packet), Ok(500));
        assert!(open_report(&mut opener, &report).is_ok());
    }
}

#[test]
fn a_packet_cut_short_is_refused() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let packet = sealed(&sealer, SSRC, 500);
        let report = sealed_report(&mut sealer, SSRC);
        for len in 0..packet.len() {
            assert!(open(&mut opener, &packet[..len]).is_err(), "{len}");
        }
        for len in 0..report.len() {
            assert!(open_report(&mut opener, &report[..len]).is_err(), "{len}");
        }
    }
}

#[test]
fn rtcp_in_the_clear_or_of_another_version_is_refused() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let report = sealed_report(&mut sealer, SSRC);
        let index_at = match profile {
            SrtpProfile::Aes128CmHmacSha1_80 => report.len() - 14,
            _ => report.len() - 4,
        };
        let mut clear = report.clone();
        clear[index_at] &= 0x7f;
        assert_eq!(open_report(&mut opener, &clear), Err(OpenError::BadHeader));
        let mut other = report;
        other[0] = 0x40;
        assert_eq!(open_report(&mut opener, &other), Err(OpenError::BadHeader));
    }
}

#[test]
fn a_packet_replayed_is_refused() {
    for profile in PROFILES {
        let (mut sealer, mut opener) = pair(profile);
        let packets = [10, 12, 11, 9].map(|index| sealed(&sealer, SSRC, index));
        for packet in &packets {
            assert!(open(&mut opener, packet).is_ok());
        }
        for packet in &packets {
            assert_eq!(open(&mut opener, packet), Err(OpenError::Replayed));
        }
        let report = sealed_report(&mut sealer, SSRC);
        assert!(open_report(&mut opener, &report).is_ok());
        assert_eq!(open_report(&mut opener, &report), Err(OpenError::Replayed));
    }
}

#[test]
fn a_packet_behind_the_window_is_refused() {
    let (sealer, mut opener) = pair(SrtpProfile::AeadAes128Gcm);
    let newest = 5_000;
    assert_eq!(open(&mut opener, &sealed(&sealer, SSRC, newest)), Ok(newest));
    let oldest = newest - Opener::RTP_WINDOW + 1;
    assert_eq!(open(&mut opener, &sealed(&sealer, SSRC, oldest)), Ok(oldest));
    let older = sealed(&sealer, SSRC, oldest - 1);
    assert_eq!(open(&mut opener, &older), Err(OpenError::TooOld));
}

#[test]
fn reports_of_each_sender_are_counted_for_themselves() {
    let profile = SrtpProfile::AeadAes128Gcm;
    let (mut one, mut opener) = pair(profile);
    let (mut other, _) = pair(profile);
    // As in libsrtp, where every SSRC counts its reports from the same number.
    for _ in 0..200 {
        assert!(open_report(&mut opener, &sealed_report(&mut one, 1)).is_ok());
    }
    assert!(open_report(&mut opener, &sealed_report(&mut other, 2)).is_ok());
    assert_eq!(
        open_report(&mut opener, &sealed_report(&mut other, 1)),
        Err(OpenError::TooOld),
        "number 1 after 199"
    );
}

#[test]
fn numbers_wrap_in_order() {
    for profile in PROFILES {
        let (sealer, mut opener) = pair(profile);
        for index in 65_000..140_000 {
            let packet = sealed(&sealer, SSRC, index);
            if index == 65_000 || index % 7 != 0 {
                assert_eq!(open(&mut opener, &packet), Ok(index));
            }
        }
    }
}

#[test]
fn packets_reordered_around_the_wrap_are_opened() {
    let (sealer, mut opener) = pair(SrtpProfile::Aes128CmHmacSha1_80);
    for index in [65_530, 65_537, 65_534, 65_536, 65_535, 65_533, 65_700, 65_532, 65_538] {
        assert_eq!(open(&mut opener, &sealed(&sealer, SSRC, index)), Ok(index));
    }
}

#[test]
fn a_loss_of_almost_half_the_numbers_is_bridged_and_a_longer_one_is_not() {
    for start in [0, 1, 30_000, 32_768, 65_535, 100_000] {
        let (sealer, mut opener) = pair(SrtpProfile::AeadAes128Gcm);
        // Walks to `start`, so that the opener knows how often the numbers wrapped.
        for index in (0..start).step_by(30_000).chain([start]) {
            assert_eq!(open(&mut opener, &sealed(&sealer, SSRC, index)), Ok(index));
        }
        let far = sealed(&sealer, SSRC, start + (1 << 15) + (1 << 16));
        assert!(open(&mut opener, &far).is_err());
        let next = start + (1 << 15) - 1;
        assert_eq!(open(&mut opener, &sealed(&sealer, SSRC, next)), Ok(next), "from {start}");
    }
}

#[test]
fn a_late_packet_from_before_the_first_wrap_is_not_taken_for_one_before_the_beginning() {
    let (sealer, mut opener) = pair(SrtpProfile::AeadAes128Gcm);
    assert_eq!(open(&mut opener, &sealed(&sealer, SSRC, 5)), Ok(5));
    // RFC 3711 would guess a rollover counter of -1.
    assert_eq!(open(&mut opener, &sealed(&sealer, SSRC, 65_000)), Ok(65_000));
}

#[test]
fn forged_packets_move_no_window() {
    let (sealer, mut opener) = pair(SrtpProfile::AeadAes128Gcm);
    assert_eq!(open(&mut opener, &sealed(&sealer, SSRC, 100)), Ok(100));
    for index in [101, 20_000, 32_000, 60_000] {
        let mut forged = sealed(&sealer, SSRC, index);
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(open(&mut opener, &forged), Err(OpenError::Unauthentic));
    }
    for index in [99, 101] {
        assert_eq!(open(&mut opener, &sealed(&sealer, SSRC, index)), Ok(index));
    }
}

#[test]
fn a_flood_of_new_streams_costs_the_silent_ones_and_a_bounded_memory() {
    let (sealer, mut opener) = pair(SrtpProfile::AeadAes128Gcm);
    let speaking = 7;
    for flood in 0..3_000 {
        assert_eq!(open(&mut opener, &sealed(&sealer, 1_000 + flood, 1)), Ok(1));
        let index = u64::from(flood) * 30;
        assert_eq!(open(&mut opener, &sealed(&sealer, speaking, index)), Ok(index), "{flood}");
    }
    assert_eq!(opener.streams(), Opener::MAX_STREAMS);
}

#[test]
fn a_forgotten_stream_begins_anew() {
    let (sealer, mut opener) = pair(SrtpProfile::AeadAes128Gcm);
    for index in [60_000, 70_000] {
        assert_eq!(open(&mut opener, &sealed(&sealer, SSRC, index)), Ok(index));
    }
    opener.forget(Ssrc(SSRC));
    assert_eq!(opener.streams(), 0);
    assert_eq!(open(&mut opener, &sealed(&sealer, SSRC, 70_001)), Err(OpenError::Unauthentic));
    assert_eq!(open(&mut opener, &sealed(&sealer, SSRC, 3)), Ok(3));
}

#[test]
fn what_cannot_be_sealed_is_refused_unchanged() {
    let (mut sealer, _) = pair(SrtpProfile::AeadAes128Gcm);
    let (before, header_len) = plain(SSRC, 70_000);
    let len = before.len();
    let mut packet = [&before[..], &[0; 15]].concat();
    let mut seal =
        |header_len, plain_len, index| sealer.seal_rtp(&mut packet, header_len, plain_len, index);
    assert_eq!(seal(header_len, len, 70_000), Err(SealError::NoRoom));
    assert_eq!(seal(11, len - 1, 70_000), Err(SealError::BadLength));
    assert_eq!(seal(len, len - 1, 70_000), Err(SealError::BadLength));
    assert_eq!(seal(header_len, usize::MAX, 70_000), Err(SealError::BadLength));
    assert_eq!(seal(header_len, len - 1, 70_001), Err(SealError::WrongIndex));
    assert_eq!(seal(header_len, len - 1, (1 << 48) + 70_000), Err(SealError::KeyUsedUp));
    assert_eq!(packet[..len], before);
    assert_eq!(sealer.seal_rtcp(&mut [0; 40], 7), Err(SealError::BadLength));
    assert_eq!(sealer.seal_rtcp(&mut [0; 40], 41), Err(SealError::BadLength));
    assert_eq!(sealer.seal_rtcp(&mut [0; 40], 21), Err(SealError::NoRoom));
    assert!(sealer.seal_rtcp(&mut [0; 40], 20).is_ok());
}

#[test]
fn profiles_have_the_numbers_and_lengths_of_their_rfcs() {
    let of = |profile: SrtpProfile| {
        (profile.id(), profile.exported_len(), profile.rtp_overhead(), profile.rtcp_overhead())
    };
    assert_eq!(of(SrtpProfile::Aes128CmHmacSha1_80), (1, 60, 10, 14));
    assert_eq!(of(SrtpProfile::AeadAes128Gcm), (7, 56, 16, 20));
    assert_eq!(of(SrtpProfile::AeadAes256Gcm), (8, 88, 16, 20));
}
