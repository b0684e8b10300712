use super::*;

const PLAIN: HeaderFields = HeaderFields {
    marker: true,
    payload_type: 96,
    sequence: 0x1234,
    timestamp: 0x5678_9abc,
    ssrc: Ssrc(0xdead_beef),
};

/// A packet with these extension elements and this payload.
fn packet(elements: &[(u8, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut out = [0xaa; 2048];
    let len = write_header(&mut out, &PLAIN, elements.iter().copied()).unwrap();
    [&out[..len], payload].concat()
}

/// A packet whose extension has this profile and these bytes.
fn with_extension(profile: u16, bytes: &[u8]) -> Vec<u8> {
    assert_eq!(bytes.len() % 4, 0);
    let mut packet = packet(&[], b"");
    packet[0] |= EXTENSION_BIT;
    packet.extend(profile.to_be_bytes());
    packet.extend(((bytes.len() / 4) as u16).to_be_bytes());
    packet.extend(bytes);
    packet
}

fn elements(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let header = RtpHeader::parse(packet).unwrap();
    header.extensions(packet).map(|(id, value)| (id, value.to_vec())).collect()
}

#[test]
fn the_fixed_header_lies_where_rfc_3550_draws_it() {
    #[rustfmt::skip]
    let packet = [0x80, 0xe0, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xad, 0xbe, 0xef, b'h', b'i'];
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!(HeaderFields::from(&header), PLAIN);
    assert_eq!(header.header_len(), 12);
    assert_eq!(header.extension_form(), ExtensionForm::None);
    assert_eq!(header.payload(&packet), Ok(&b"hi"[..]));
    assert_eq!(header.extensions(&packet).count(), 0);
    let mut written = [0; 14];
    assert_eq!(write_header(&mut written, &PLAIN, std::iter::empty()), Some(12));
    assert_eq!(written[..12], packet[..12]);
}

#[test]
fn contributing_sources_are_skipped() {
    let mut packet = packet(&[], &[1, 2, 3, 4, 5, 6, 7, 8, b'x']);
    packet[0] |= 2;
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!(header.header_len(), 20);
    assert_eq!(header.payload(&packet), Ok(&b"x"[..]));
}

#[test]
fn every_part_of_a_header_may_be_missing() {
    let mut whole = with_extension(0xbede, &[0x10, 7, 0, 0]);
    whole.splice(12..12, [0; 8]);
    whole[0] |= 2;
    assert_eq!(whole.len(), 28);
    for len in 0..whole.len() {
        let expected = match len {
            0..12 => RtpError::TooShort,
            12..20 => RtpError::SourcesCutShort,
            _ => RtpError::ExtensionCutShort,
        };
        assert_eq!(RtpHeader::parse(&whole[..len]), Err(expected), "{len}");
    }
    assert!(RtpHeader::parse(&whole).is_ok());
}

#[test]
fn other_versions_are_not_rtp() {
    for version in [0, 1, 3] {
        let mut packet = packet(&[], b"");
        packet[0] = version << 6;
        assert_eq!(RtpHeader::parse(&packet), Err(RtpError::WrongVersion));
    }
}

#[test]
fn padding_is_taken_off_and_never_more_than_there_is() {
    let mut out = [0xaa; 64];
    let header_len = write_header(&mut out, &PLAIN, std::iter::empty()).unwrap();
    out[header_len..][..4].copy_from_slice(b"data");
    let len = write_padding(&mut out, header_len + 4, 5).unwrap();
    assert_eq!(out[header_len + 4..len], [0, 0, 0, 0, 5]);
    let payload = |out: &[u8]| {
        let header = RtpHeader::parse(out).unwrap();
        header.payload(out).map(<[u8]>::to_vec)
    };
    assert_eq!(payload(&out[..len]), Ok(b"data".to_vec()));
    for (count, expected) in [
        (9, Ok(Vec::new())),
        (10, Err(RtpError::BadPadding)),
        (255, Err(RtpError::BadPadding)),
        (0, Err(RtpError::BadPadding)),
    ] {
        out[len - 1] = count;
        assert_eq!(payload(&out[..len]), expected, "{count}");
    }
    assert_eq!(payload(&out[..header_len]), Err(RtpError::BadPadding), "padding of nothing");
}

#[test]
fn padding_that_does_not_fit_is_not_written() {
    let mut packet = [0; 20];
    assert_eq!(write_padding(&mut packet, 12, 9), None);
    assert_eq!(write_padding(&mut packet, 21, 1), None);
    assert_eq!(write_padding(&mut packet, 12, 0), None);
    assert_eq!(packet, [0; 20]);
}

#[test]
fn a_payload_is_asked_of_the_packet_it_is_in() {
    let packet = packet(&[(1, b"abcd")], b"payload");
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!(header.payload(&packet[..15]), Err(RtpError::TooShort));
    assert_eq!(header.extensions(&packet[..15]).count(), 0);
}

#[test]
fn small_elements_take_the_one_byte_form() {
    let packet = packet(&[(1, b"a"), (14, &[9; 16])], b"payload");
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!(header.extension_form(), ExtensionForm::OneByte);
    // 1 + 1 and 1 + 16 bytes, padded to 20, after 4 of header.
    assert_eq!(header.header_len(), 12 + 4 + 20);
    assert_eq!(packet[12..18], [0xbe, 0xde, 0, 5, 0x10, b'a']);
    assert_eq!(packet[18], 0xef);
    assert_eq!(packet[35], 0, "padding is written, not left as it was");
    assert_eq!(elements(&packet), [(1, b"a".to_vec()), (14, vec![9; 16])]);
    assert_eq!(header.extension(&packet, 14), Some(&[9; 16][..]));
    assert_eq!(header.extension(&packet, 2), None);
    assert_eq!(header.payload(&packet), Ok(&b"payload"[..]));
}

#[test]
fn one_element_too_large_for_a_byte_takes_all_to_the_two_byte_form() {
    for large in [(15, vec![1]), (1, vec![1; 17]), (1, vec![]), (255, vec![7; 255])] {
        let list = [(3, &b"abc"[..]), (large.0, &large.1[..])];
        let packet = packet(&list, b"payload");
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.extension_form(), ExtensionForm::TwoByte);
        assert_eq!(packet[12..16], [0x10, 0, 0, ((header.header_len() - 16) / 4) as u8]);
        assert_eq!(elements(&packet), [(3, b"abc".to_vec()), large]);
        assert_eq!(header.payload(&packet), Ok(&b"payload"[..]));
    }
}

#[test]
fn what_has_no_place_in_a_header_is_not_written() {
    let mut out = [0; 400];
    let mut write = |len: usize, list: &[(u8, &[u8])]| {
        write_header(&mut out[..len], &PLAIN, list.iter().copied())
    };
    assert_eq!(write(400, &[(0, b"a")]), None);
    assert_eq!(write(400, &[(1, &[0; 256])]), None);
    assert_eq!(write(11, &[]), None);
    assert_eq!(write(12, &[]), Some(12));
    assert_eq!(write(19, &[(1, b"a")]), None);
    assert_eq!(write(20, &[(1, b"a")]), Some(20));
}

#[test]
fn the_example_of_rfc_8285_is_read() {
    // §4.2: padding stands in front of, between and behind elements; bytes of value may be zero.
    let bytes = [0x10, 0xaa, 0x21, 0xbb, 0xbb, 0, 0, 0x33, 1, 2, 0, 4];
    let packet = with_extension(0xbede, &bytes);
    let expected = [(1, vec![0xaa]), (2, vec![0xbb, 0xbb]), (3, vec![1, 2, 0, 4])];
    assert_eq!(elements(&packet), expected);
}

#[test]
fn the_two_byte_form_has_sixteen_names_and_elements_without_bytes() {
    for profile in 0x1000..=0x100f {
        let packet = with_extension(profile, &[1, 0, 0, 2, 1, 0xaa, 0, 0]);
        assert_eq!(elements(&packet), [(1, vec![]), (2, vec![0xaa])]);
    }
}

#[test]
fn reserved_identifiers_end_the_walk() {
    let packet = with_extension(0xbede, &[0x10, 1, 0xf0, 2, 0x30, 3, 0, 0]);
    assert_eq!(elements(&packet), [(1, vec![1])]);
    let packet = with_extension(0xbede, &[0x10, 1, 0x01, 2, 3, 0x30, 3, 0]);
    assert_eq!(elements(&packet), [(1, vec![1])], "padding with a length");
}

#[test]
fn an_element_cut_short_ends_the_walk() {
    for (profile, bytes) in [(0xbede, [0x10, 1, 0x25, 2]), (0x1000, [1, 0, 2, 9])] {
        let packet = with_extension(profile, &bytes);
        assert_eq!(elements(&packet).len(), 1, "{profile:x}");
    }
    assert_eq!(elements(&with_extension(0x1000, &[0, 0, 0, 1])), []);
}

#[test]
fn extensions_of_other_forms_are_skipped() {
    let packet = with_extension(0xabcd, &[0x10, 1, 2, 3]);
    let header = RtpHeader::parse(&packet).unwrap();
    assert_eq!(header.extension_form(), ExtensionForm::Unknown);
    assert_eq!(header.header_len(), 20);
    assert_eq!(elements(&packet), []);
}

#[test]
fn rtcp_is_told_by_its_packet_type() {
    for kind in 0..=255 {
        assert_eq!(is_rtcp(&[0x80, kind]), (192..=223).contains(&kind));
    }
    assert!(!is_rtcp(&[0x80]));
}

#[test]
fn random_headers_come_back_as_they_were_written() {
    let mut random = fastrand::Rng::with_seed(8285);
    for _ in 0..20_000 {
        let fields = HeaderFields {
            marker: random.bool(),
            payload_type: random.u8(..128),
            sequence: random.u16(..),
            timestamp: random.u32(..),
            ssrc: Ssrc(random.u32(..)),
        };
        let large = random.u8(..4) == 0;
        let list: Vec<(u8, Vec<u8>)> = (0..random.usize(..8))
            .map(|_| {
                let id = random.u8(1..if large { 255 } else { 15 });
                let len = if large { random.usize(..256) } else { random.usize(1..17) };
                (id, (0..len).map(|_| random.u8(..)).collect())
            })
            .collect();
        let mut out = [0; 4096];
        let borrowed = list.iter().map(|(id, value)| (*id, &value[..]));
        let len = write_header(&mut out, &fields, borrowed).unwrap();
        let header = RtpHeader::parse(&out).unwrap();
        assert_eq!(HeaderFields::from(&header), fields);
        assert_eq!(header.header_len(), len);
        assert_eq!(elements(&out), list);
    }
}
