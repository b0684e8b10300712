//! The first thing anybody reads of a datagram, and of a connection: whom a check names.

use crate::demux::{binding_request_ufrag, is_media};

/// Checks and what looks like them, for [`stun_parse`].
pub fn stun_seeds() -> Vec<Vec<u8>> {
    let username = attribute(0x0006, b"annfrag:theirs");
    let software = attribute(0x8022, b"abc");
    let priority = attribute(0x0024, &[0x6e, 0, 0x1e, 0xff]);
    let mut answer = binding_request(&username);
    answer[0] = 1;
    vec![
        binding_request(&username),
        binding_request(&[software, priority.clone(), username.clone()].concat()),
        binding_request(&attribute(0x0006, b"nobody")),
        binding_request(&attribute(0x0006, b"\xff:\xfe")),
        binding_request(&[attribute(0x0006, b""), username].concat()),
        binding_request(&priority[..5]),
        answer,
        vec![0x80; 12],
    ]
}

/// Reads a datagram's name; what is found stands in it, and is found again in a check made with it.
pub fn stun_parse(bytes: &[u8]) {
    let Some(ufrag) = binding_request_ufrag(bytes) else { return };
    assert!(!is_media(bytes), "STUN is no media");
    assert!(!ufrag.contains(':'));
    let name = format!("{ufrag}:").into_bytes();
    assert!(bytes.windows(name.len()).any(|window| window == name));
    let again = binding_request(&attribute(0x0006, &name));
    assert_eq!(binding_request_ufrag(&again), Some(ufrag));
}

/// A binding request (RFC 8489 §5, §6) with these attributes.
pub(super) fn binding_request(attributes: &[u8]) -> Vec<u8> {
    let length = (attributes.len() as u16).to_be_bytes();
    [&[0, 1], &length[..], &[0x21, 0x12, 0xa4, 0x42], &[7; 12], attributes].concat()
}

/// One attribute (RFC 8489 §14), padded.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = [kind.to_be_bytes(), (value.len() as u16).to_be_bytes()].concat();
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}
