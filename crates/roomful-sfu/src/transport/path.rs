//! Which of a participant's addresses media is sent to.
//!
//! A participant may move without noticing: a NAT forgets its binding and gives the next datagram another
//! port. Its next check arrives from there and is answered, but the ICE agent goes on sending to the pair it
//! nominated before until that has been silent for 15 s. Here the last address from which a nominating check
//! was answered wins at once: the answer shows that the check carried the right password.

use std::net::SocketAddr;

/// The local and the remote address of a way that media takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MediaPath {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
}

/// See the module text.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// Where a check that nominates came from, until it is answered.
    checked: Option<SocketAddr>,
    /// The way of the last answered check that nominates.
    nominated: Option<MediaPath>,
}

impl Path {
    /// A datagram arrived, not yet authenticated.
    pub(super) fn handle_datagram(&mut self, source: SocketAddr, payload: &[u8]) {
        self.checked = nominates(payload).then_some(source);
    }

    /// The way media takes, once a check nominated one.
    pub(super) fn nominated(&self) -> Option<MediaPath> {
        self.nominated
    }

    /// Where a datagram of the ICE agent's is really sent: answers to checks where they came from, everything
    /// else along the nominated path.
    pub(super) fn direct(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) -> (SocketAddr, SocketAddr) {
        const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
        const STUN_FIRST_BYTES: u8 = 3;
        if payload.starts_with(&BINDING_SUCCESS) && self.checked == Some(destination) {
            self.nominated = Some(MediaPath { source, destination });
        }
        match payload.first() {
            Some(first) if *first > STUN_FIRST_BYTES => {
                self.nominated.map_or((source, destination), |path| (path.source, path.destination))
            }
            _ => (source, destination),
        }
    }
}

/// Whether this is a STUN binding request with USE-CANDIDATE (RFC 8445 §7.1.2, §16.1).
fn nominates(payload: &[u8]) -> bool {
    const USE_CANDIDATE: u16 = 0x0025;
    crate::stun::binding_request_attributes(payload)
        .is_some_and(|mut attributes| attributes.any(|(kind, _)| kind == USE_CANDIDATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: [u8; 2] = [0x01, 0x01];
    const MEDIA: [u8; 1] = [0x80];

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn check(nominating: bool) -> Vec<u8> {
        let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        request.extend([7; 12]);
        request.extend(if nominating { [0, 0x25, 0, 0] } else { [0, 0x24, 0, 0] });
        request
    }

    fn sent_to(path: &mut Path) -> u16 {
        path.direct(address(1), address(2), &MEDIA).1.port()
    }

    #[test]
    fn media_follows_an_answered_check_that_nominates() {
        let mut path = Path::default();
        assert_eq!(sent_to(&mut path), 2);
        path.handle_datagram(address(3), &check(true));
        assert_eq!(sent_to(&mut path), 2, "not before it is answered");
        path.direct(address(1), address(3), &ANSWER);
        assert_eq!(sent_to(&mut path), 3);
    }

    #[test]
    fn media_stays_where_it_is_for_checks_that_do_not_nominate_or_are_not_answered() {
        let mut path = Path::default();
        path.handle_datagram(address(3), &check(false));
        path.direct(address(1), address(3), &ANSWER);
        assert_eq!(sent_to(&mut path), 2);
        path.handle_datagram(address(3), &check(true));
        path.handle_datagram(address(4), &check(true));
        path.direct(address(1), address(3), &ANSWER);
        assert_eq!(sent_to(&mut path), 2);
    }

    #[test]
    fn a_check_is_answered_where_it_came_from() {
        let mut path = Path::default();
        path.handle_datagram(address(3), &check(true));
        path.direct(address(1), address(3), &ANSWER);
        assert_eq!(path.direct(address(1), address(5), &ANSWER).1, address(5));
    }
}
