//! What the fuzz targets `rtp_parse`, `srtp_open` and `srtp_sequence` do with bytes. The tests of this crate run the
//! same over seeded mutations, so that every run of the tests covers some of it.

#![allow(clippy::unwrap_used, reason = "a panic is what a fuzz target has to say")]

use std::collections::BTreeSet;

use roomful_rtp::Ssrc;
use roomful_rtp::rtp::{
    self, HeaderFields, RtpError, RtpHeader, extension, red, rtx, write_header, write_padding,
};
use roomful_rtp::srtp::{MasterKey, OpenError, Opener, Sealer, SrtpProfile};

/// Packets to begin with, for [`rtp_parse`].
pub(crate) fn rtp_seeds() -> Vec<Vec<u8>> {
    let fields = |payload_type| HeaderFields {
        marker: true,
        payload_type,
        sequence: 65_534,
        timestamp: 90_000,
        ssrc: Ssrc(0xcafe_babe),
    };
    let long = [7; 40];
    let one_byte: [(u8, &[u8]); 5] =
        [(1, b"0"), (2, &[0xa0]), (3, &[1, 2, 3]), (5, &[0, 9]), (14, b"hi")];
    let two_byte: [(u8, &[u8]); 3] = [(1, b"0"), (15, &long), (16, b"")];
    let mut seeds = vec![
        packet(&fields(111), &[], b"opus", 0),
        packet(&fields(96), &one_byte, b"\x90\x80\x81\x02 picture", 0),
        packet(&fields(97), &two_byte, b"\0\x01again", 0),
        packet(&fields(96), &one_byte, b"", 255),
    ];
    // Sound, and that of the two packets before it (RFC 2198).
    let redundant = b"\xef\0\x78\x03\xef\0\x3c\x03\x6fabcdefown";
    seeds.push(packet(&fields(63), &[], redundant, 0));
    let mut with_sources = packet(&fields(96), &[], &[9; 20], 3);
    with_sources[0] |= 3;
    seeds.push(with_sources);
    // Reserved identifier, padding between elements, a form nobody knows.
    seeds.push([&[0x90, 96], &[0; 10][..], b"\xbe\xde\0\x02\x10\x01\0\0\xf2\x01\x02\x03"].concat());
    seeds.push([&[0x90, 96], &[0; 10][..], b"\x12\x34\0\x01abcd"].concat());
    seeds
}

fn packet(fields: &HeaderFields, elements: &[(u8, &[u8])], payload: &[u8], padding: u8) -> Vec<u8> {
    let mut out = vec![0; 600];
    let header_len = write_header(&mut out, fields, elements.iter().copied()).unwrap();
    out[header_len..][..payload.len()].copy_from_slice(payload);
    let len = header_len + payload.len();
    let len = if padding == 0 { len } else { write_padding(&mut out, len, padding).unwrap() };
    out.truncate(len);
    out
}

/// Reads a packet and everything in it; whatever was read is written, and must read the same again.
pub(crate) fn rtp_parse(bytes: &[u8]) {
    rtp::is_rtcp(bytes);
    let Ok(header) = RtpHeader::parse(bytes) else { return };
    assert!((rtp::MIN_HEADER_LEN..=bytes.len()).contains(&header.header_len()));
    let elements: Vec<_> = header.extensions(bytes).collect();
    for (_, value) in &elements {
        read_value(value);
    }
    let payload = header.payload(bytes);
    match payload {
        Ok(payload) => assert!(header.header_len() + payload.len() <= bytes.len()),
        Err(error) => assert_eq!(error, RtpError::BadPadding),
    }
    let payload = payload.unwrap_or_default();
    if let Some((number, original)) = rtx::read(payload) {
        let mut out = vec![0; payload.len()];
        assert_eq!(rtx::write(&mut out, number, original), Some(payload.len()));
        assert_eq!(out, payload);
    }
    read_redundant(payload);
    let fields = HeaderFields::from(&header);
    // Elements in the longer form, and padding.
    let mut out = vec![0xaa; bytes.len() * 2 + 300];
    let header_len = write_header(&mut out, &fields, elements.iter().copied()).unwrap();
    out[header_len..][..payload.len()].copy_from_slice(payload);
    let len = write_padding(&mut out, header_len + payload.len(), 200).unwrap();
    let again = RtpHeader::parse(&out[..len]).unwrap();
    assert_eq!(HeaderFields::from(&again), fields);
    assert!(again.extensions(&out).eq(elements));
    assert_eq!(again.payload(&out[..len]), Ok(payload));
}

/// Reads redundant audio; under other names it is the same, and no byte of it is read twice.
fn read_redundant(payload: &[u8]) {
    let Ok(read) = red::Red::parse(payload) else { return };
    let data = read.blocks().map(|block| block.data.len()).sum::<usize>() + read.primary().len();
    assert_eq!(4 * read.blocks().len() + 1 + data, payload.len());
    let mut renamed = payload.to_vec();
    red::set_payload_types(&mut renamed, 96);
    let again = red::Red::parse(&renamed).unwrap();
    assert_eq!((again.primary_type(), again.primary()), (96, read.primary()));
    for (new, old) in again.blocks().zip(read.blocks()) {
        assert_eq!(new, red::Block { payload_type: 96, ..old });
    }
}

/// Reads a value as each of the types it could be; what one accepts it writes the same.
fn read_value(value: &[u8]) {
    let starts_with = |bytes: &[u8]| assert_eq!(bytes, &value[..bytes.len()]);
    extension::AbsSendTime::parse(value).inspect(|read| starts_with(&read.to_bytes()));
    extension::TransportSequence::parse(value).inspect(|read| starts_with(&read.to_bytes()));
    extension::AudioLevel::parse(value).inspect(|read| starts_with(&read.to_bytes()));
    extension::VideoOrientation::parse(value).inspect(|read| starts_with(&read.to_bytes()));
    extension::PlayoutDelay::parse(value).inspect(|read| starts_with(&read.to_bytes()));
    extension::name(value).inspect(|read| starts_with(read.as_bytes()));
}

const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmHmacSha1_80];

fn ends(profile: SrtpProfile) -> (Sealer, Opener) {
    let key =
        MasterKey::new(profile, &[1; 32][..profile.key_len()], &[2; 14][..profile.salt_len()]);
    let key = key.unwrap();
    (Sealer::new(&key).unwrap(), Opener::new(&key).unwrap())
}

/// Inputs to begin with, for [`srtp_open`]: the first byte chooses the profile.
pub(crate) fn srtp_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, profile) in (0..).zip(PROFILES) {
        let (mut sealer, _) = ends(profile);
        for plain in rtp_seeds() {
            seeds.push([&[number], &plain[..]].concat());
            seeds.push([&[number], &sealed(&sealer, &plain).unwrap()[..]].concat());
        }
        let report = b"\x80\xc9\0\x01\0\0\0\x01\x80\xcb\0\x01\0\0\0\x01";
        seeds.push([&[number], &sealed_report(&mut sealer, report).unwrap()[..]].concat());
    }
    seeds
}

fn sealed(sealer: &Sealer, plain: &[u8]) -> Option<Vec<u8>> {
    let header = RtpHeader::parse(plain).ok()?;
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + sealer.profile().rtp_overhead(), 0);
    let index = header.sequence.into();
    let len = sealer.seal_rtp(&mut packet, header.header_len(), plain.len(), index).unwrap();
    assert_eq!(len, packet.len());
    Some(packet)
}

fn sealed_report(sealer: &mut Sealer, plain: &[u8]) -> Option<Vec<u8>> {
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + sealer.profile().rtcp_overhead(), 0);
    let len = sealer.seal_rtcp(&mut packet, plain.len()).ok()?;
    assert_eq!(len, packet.len());
    Some(packet)
}

/// Opens arbitrary bytes, where only what sealing could have made may open; then seals them, where opening must give them
/// back.
pub(crate) fn srtp_open(bytes: &[u8]) {
    let Some((profile, bytes)) = bytes.split_first() else { return };
    let (mut sealer, mut opener) = ends(PROFILES[usize::from(*profile) % PROFILES.len()]);
    let mut packet = bytes.to_vec();
    if let Ok(opened) = opener.open_rtp(&mut packet) {
        assert_eq!(sealed(&sealer, &packet[..opened.plain_len]).as_deref(), Some(bytes));
        let again = opener.open_rtp(&mut bytes.to_vec());
        assert_eq!(again, Err(OpenError::Replayed));
        opener.forget(opened.header.ssrc);
    }
    assert_eq!(opener.streams(), 0);
    let mut packet = bytes.to_vec();
    if opener.open_rtcp(&mut packet).is_ok() {
        assert_eq!(opener.open_rtcp(&mut bytes.to_vec()), Err(OpenError::Replayed));
    }
    if let Some(mut packet) = sealed(&sealer, bytes) {
        let opened = opener.open_rtp(&mut packet).unwrap();
        assert_eq!(packet[..opened.plain_len], *bytes);
    }
    // Of another sender than any report above, which may have used the same number.
    let mut report = bytes.to_vec();
    report.iter_mut().skip(4).take(4).for_each(|byte| *byte ^= 0x55);
    report.iter_mut().take(1).for_each(|flags| *flags = 0x80 | *flags & 0x3f);
    if let Some(mut packet) = sealed_report(&mut sealer, &report) {
        let len = opener.open_rtcp(&mut packet).unwrap();
        assert_eq!(packet[..len], report);
    }
}

/// Scripts to begin with, for [`srtp_sequence`].
pub(crate) fn sequence_seeds() -> Vec<Vec<u8>> {
    vec![
        [0, 0, 1].repeat(40),
        [0, 0, 1, 1, 0, 3].repeat(20),
        // Over several wraps, with late and repeated packets.
        [0, 127, 255, 1, 0, 200, 1, 3, 0, 2, 0, 7].repeat(12),
        [[0, 0x03, 0xbf], [1, 0x03, 0xbf], [1, 0x03, 0xc0], [2, 1, 1]].concat(),
    ]
}

/// Every three bytes send one packet of a stream: further on, late, or forged. What opens is compared with a set of
/// everything opened before.
pub(crate) fn srtp_sequence(bytes: &[u8]) {
    let (sealer, mut opener) = ends(SrtpProfile::AeadAes128Gcm);
    let mut opened = BTreeSet::new();
    let mut highest = 0_u64;
    for &[kind, high, low] in bytes.as_chunks::<3>().0 {
        // Less than half the numbers: further is lost for good (RFC 3711 §3.3.1).
        let step = u64::from(u16::from_be_bytes([high, low]) & 0x7fff);
        let index = if kind % 3 == 0 { highest + step } else { highest.saturating_sub(step) };
        let fields = HeaderFields {
            marker: false,
            payload_type: 96,
            sequence: index as u16,
            timestamp: 0,
            ssrc: Ssrc(1),
        };
        let mut packet = [0; 32];
        let len = write_header(&mut packet, &fields, std::iter::empty()).unwrap();
        let len = sealer.seal_rtp(&mut packet, len, len, index).unwrap();
        let is_forged = kind % 3 == 2;
        packet[len - 1] ^= u8::from(is_forged);
        let expected = match opened.last() {
            Some(last) if index + Opener::RTP_WINDOW <= *last => Err(OpenError::TooOld),
            _ if opened.contains(&index) => Err(OpenError::Replayed),
            _ if is_forged => Err(OpenError::Unauthentic),
            _ => Ok(index),
        };
        let result = opener.open_rtp(&mut packet[..len]).map(|opened| opened.index);
        assert_eq!(result, expected, "index {index} after {:?}", opened.last());
        if result.is_ok() {
            opened.insert(index);
            highest = highest.max(index);
        }
    }
}
