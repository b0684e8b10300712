//! What may be said before anybody knows who says it. The whole way is walked by `tests/it/lanes.rs`.

use super::*;

/// A STUN binding request for the transport at `ufrag`.
fn check(ufrag: &str) -> Vec<u8> {
    let name = format!("{ufrag}:theirs");
    let padded = name.len().next_multiple_of(4);
    let mut check = vec![0, 1];
    check.extend((4 + padded as u16).to_be_bytes());
    check.extend([0x21, 0x12, 0xa4, 0x42]);
    check.extend([7; 12]);
    check.extend([0, 6]);
    check.extend((name.len() as u16).to_be_bytes());
    check.extend(name.as_bytes());
    check.resize(20 + 4 + padded, 0);
    check
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    [&(datagram.len() as u16).to_be_bytes()[..], datagram].concat()
}

#[test]
fn a_check_says_whose_a_connection_is_once_it_has_come_whole() {
    let stream = [framed(&check("ann")), framed(b"more")].concat();
    let whole = LENGTH_BYTES + check("ann").len();
    for length in 0..whole {
        assert_eq!(first_check(&stream[..length]), FirstCheck::Incomplete, "{length}");
    }
    assert_eq!(first_check(&stream[..whole]), FirstCheck::Of("ann"));
    assert_eq!(first_check(&stream), FirstCheck::Of("ann"));
}

#[test]
fn whatever_else_comes_first_is_for_nobody() {
    let mut answer = check("ann");
    answer[0] = 1;
    let mut unnamed = check("ann");
    unnamed[21] = 7;
    for datagram in [&b""[..], b"GET / HTTP/1.1\r\n", &[0x80; 100], &answer, &unnamed] {
        assert_eq!(first_check(&framed(datagram)), FirstCheck::None);
    }
    // As soon as it is announced, before it has come.
    let long = (MAX_FIRST_CHECK as u16 + 1).to_be_bytes();
    assert_eq!(first_check(&long), FirstCheck::None);
    assert_eq!(first_check(b"\x16\x03\x01\x02\0"), FirstCheck::None, "TLS");
}

#[test]
fn one_address_cannot_take_every_place_and_gives_them_back() {
    let waiting = Arc::<Waiting>::default();
    let places = |ip: &str| {
        let ip = ip.parse().unwrap();
        std::iter::from_fn(|| Place::take(&waiting, ip)).collect::<Vec<_>>()
    };
    let taken = places("192.0.2.1");
    assert_eq!(taken.len(), MAX_WAITING_EACH);
    assert!(places("::ffff:192.0.2.1").is_empty(), "the same address");
    let network = places("2001:db8::1");
    assert_eq!(network.len(), MAX_WAITING_EACH);
    assert!(places("2001:db8::2").is_empty(), "the same network");
    let all: Vec<_> = (2..100).flat_map(|host| places(&format!("192.0.2.{host}"))).collect();
    assert_eq!(taken.len() + network.len() + all.len(), MAX_WAITING);
    drop((taken, network, all));
    assert_eq!(places("192.0.2.1").len(), MAX_WAITING_EACH);
    assert_eq!(waiting.lock().len(), 0, "nothing is kept of those who left");
}
