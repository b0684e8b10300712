//! The STUN messages that ICE needs (RFC 8489, RFC 8445 §7): binding requests and successes.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::hmac;

use super::Role;

/// Marks a STUN message (RFC 8489 §5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// What the checksum is combined with (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554E;

const HEADER_BYTES: usize = 20;
const INTEGRITY_BYTES: usize = 20;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802A;

/// Which of the binding messages it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Success,
    Error,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Self::Request => 0x0001,
            Self::Success => 0x0101,
            Self::Error => 0x0111,
        }
    }
}

/// Ties an answer to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransactionId(pub(crate) [u8; 12]);

/// The fields of a check (RFC 8445 §7.1).
pub(crate) struct Check<'a> {
    pub(crate) transaction: TransactionId,
    /// The other side's name fragment, a colon, ours.
    pub(crate) username: &'a str,
    /// The other side's password.
    pub(crate) password: &'a str,
    pub(crate) priority: u32,
    pub(crate) role: Role,
    pub(crate) tie_breaker: u64,
    /// Whether media is to take this path.
    pub(crate) nominates: bool,
}

/// A binding request.
pub(crate) fn check(fields: &Check<'_>) -> Vec<u8> {
    let mut message = start(Kind::Request, fields.transaction);
    put(&mut message, USERNAME, fields.username.as_bytes());
    put(&mut message, PRIORITY, &fields.priority.to_be_bytes());
    let role = match fields.role {
        Role::Controlled => ICE_CONTROLLED,
        Role::Controlling => ICE_CONTROLLING,
    };
    put(&mut message, role, &fields.tie_breaker.to_be_bytes());
    if fields.nominates {
        put(&mut message, USE_CANDIDATE, &[]);
    }
    seal(message, fields.password)
}

/// The answer to a check that came from `source`, whose own password is `password`.
pub(crate) fn success(transaction: TransactionId, source: SocketAddr, password: &str) -> Vec<u8> {
    let mut message = start(Kind::Success, transaction);
    put(&mut message, XOR_MAPPED_ADDRESS, &masked(source, transaction));
    seal(message, password)
}

/// A message that was received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) kind: Kind,
    pub(crate) transaction: TransactionId,
    bytes: &'a [u8],
    /// Where the integrity attribute starts.
    integrity: Option<usize>,
}

impl<'a> Received<'a> {
    /// Reads a datagram. `None` if it is no message this program takes part in, or malformed.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, attributes) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[4..8] != MAGIC_COOKIE || length != attributes.len() {
            return None;
        }
        let code = u16::from_be_bytes([header[0], header[1]]);
        let kinds = [Kind::Request, Kind::Success, Kind::Error];
        let kind = kinds.into_iter().find(|kind| kind.code() == code)?;
        let transaction = TransactionId(*header.last_chunk()?);
        let mut integrity = None;
        let mut at = HEADER_BYTES;
        while at < bytes.len() {
            let head = bytes.get(at..at + 4)?;
            let size = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let end = at + 4 + size.next_multiple_of(4);
            if end > bytes.len() {
                return None;
            }
            if u16::from_be_bytes([head[0], head[1]]) == MESSAGE_INTEGRITY && integrity.is_none() {
                integrity = (size == INTEGRITY_BYTES).then_some(at);
            }
            at = end;
        }
        Some(Self { kind, transaction, bytes, integrity })
    }

    /// Whether it was made by somebody who knows the password.
    pub(crate) fn is_authentic(&self, password: &str) -> bool {
        let Some(at) = self.integrity else { return false };
        let Some(tag) = self.bytes.get(at + 4..at + 4 + INTEGRITY_BYTES) else { return false };
        let mut covered = self.bytes[..at].to_vec();
        set_length(&mut covered, at + 4 + INTEGRITY_BYTES - HEADER_BYTES);
        hmac::verify(&key(password), &covered, tag).is_ok()
    }
}

fn start(kind: Kind, transaction: TransactionId) -> Vec<u8> {
    let mut message = Vec::with_capacity(128);
    message.extend(kind.code().to_be_bytes());
    message.extend([0, 0]);
    message.extend(MAGIC_COOKIE);
    message.extend(transaction.0);
    message
}

fn put(message: &mut Vec<u8>, attribute: u16, value: &[u8]) {
    message.extend(attribute.to_be_bytes());
    message.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Appends integrity and fingerprint (RFC 8489 §14.5, §14.7): each counts itself in the length.
fn seal(mut message: Vec<u8>, password: &str) -> Vec<u8> {
    let length = message.len() - HEADER_BYTES + 4 + INTEGRITY_BYTES;
    set_length(&mut message, length);
    let tag = hmac::sign(&key(password), &message);
    put(&mut message, MESSAGE_INTEGRITY, tag.as_ref());
    let length = message.len() - HEADER_BYTES + 8;
    set_length(&mut message, length);
    let checksum = crc32fast::hash(&message) ^ FINGERPRINT_XOR;
    put(&mut message, FINGERPRINT, &checksum.to_be_bytes());
    message
}

fn set_length(message: &mut [u8], length: usize) {
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    message[2..4].copy_from_slice(&length);
}

fn key(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

/// An address as `XOR-MAPPED-ADDRESS` holds it (RFC 8489 §14.2).
fn masked(address: SocketAddr, transaction: TransactionId) -> Vec<u8> {
    let mask = || MAGIC_COOKIE.into_iter().chain(transaction.0);
    let port = address.port().to_be_bytes();
    let (family, ip): (u8, Vec<u8>) = match address.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mut value = vec![0, family];
    value.extend(port.iter().zip(mask()).map(|(byte, mask)| byte ^ mask));
    value.extend(ip.iter().zip(mask()).map(|(byte, mask)| byte ^ mask));
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId = TransactionId(*b"abcdefghijkl");

    /// RFC 5769 §2.1: the sample request, whose password is known.
    const SAMPLE: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\
        \xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\
        \x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
        \x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

    #[test]
    fn the_sample_of_rfc_5769_is_authentic() {
        let message = Received::parse(SAMPLE).unwrap();
        assert_eq!(message.kind, Kind::Request);
        assert!(message.is_authentic("VOkJxbRl1RmTxUk/WvJxBt"));
        assert!(!message.is_authentic("VOkJxbRl1RmTxUk/WvJxBu"));
    }

    #[test]
    fn the_fingerprint_is_that_of_rfc_5769() {
        let (covered, value) = SAMPLE.split_at(SAMPLE.len() - 8);
        let checksum = crc32fast::hash(covered) ^ FINGERPRINT_XOR;
        assert_eq!(value[4..], checksum.to_be_bytes());
    }

    #[test]
    fn a_check_is_read_back_and_every_flipped_bit_is_noticed() {
        let bytes = check(&Check {
            transaction: ID,
            username: "them:us",
            password: "their password",
            priority: 1,
            role: Role::Controlling,
            tie_breaker: 2,
            nominates: true,
        });
        let message = Received::parse(&bytes).unwrap();
        assert_eq!((message.kind, message.transaction), (Kind::Request, ID));
        assert!(message.is_authentic("their password"));
        // The fingerprint, the last eight bytes, is not covered.
        for bit in 0..(bytes.len() - 8) * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let refused = Received::parse(&broken)
                .is_none_or(|message| !message.is_authentic("their password"));
            assert!(refused, "bit {bit}");
        }
    }

    #[test]
    fn a_mapped_address_is_masked_as_rfc_5769_has_it() {
        let id = TransactionId(*SAMPLE[8..].first_chunk().unwrap());
        let value = masked("192.0.2.1:32853".parse().unwrap(), id);
        assert_eq!(value, b"\x00\x01\xa1\x47\xe1\x12\xa6\x43");
    }

    #[test]
    fn truncated_messages_are_refused() {
        for length in 0..SAMPLE.len() {
            assert!(Received::parse(&SAMPLE[..length]).is_none(), "{length}");
        }
    }
}
