//! Which of a participant's addresses media is sent to.
//!
//! A participant may move without noticing: a NAT forgets its binding and gives the next datagram another
//! port. Its next check arrives from there and is answered, but the ICE agent goes on sending to the pair it
//! nominated before until that has been silent for 15 s. Here the last address from which a nominating check
//! was answered wins at once: the answer shows that the check carried the right password.

use std::net::SocketAddr;

use crate::route::{Protocol, Route};

/// See the module text.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// Where a check that nominates came from, until it is answered.
    checked: Option<(Protocol, SocketAddr)>,
    /// The way of the last answered check that nominates.
    nominated: Option<Route>,
}

impl Path {
    /// A datagram arrived, not yet authenticated.
    pub(super) fn handle_datagram(&mut self, route: Route, payload: &[u8]) {
        self.checked = nominates(payload).then(|| route.far_end());
    }

    /// The way media takes, once a check nominated one.
    pub(super) fn nominated(&self) -> Option<Route> {
        self.nominated
    }

    /// Where a datagram of the ICE agent's is really sent: answers to checks where they came from, everything
    /// else along the nominated path.
    pub(super) fn direct(&mut self, route: Route, payload: &[u8]) -> Route {
        const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
        const STUN_FIRST_BYTES: u8 = 3;
        if payload.starts_with(&BINDING_SUCCESS) && self.checked == Some(route.far_end()) {
            self.nominated = Some(route);
        }
        match payload.first() {
            Some(first) if *first > STUN_FIRST_BYTES => self.nominated.unwrap_or(route),
            _ => route,
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

    fn to(port: u16) -> Route {
        let [local, remote] = [1, port].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        Route::udp(local, remote)
    }

    fn check(nominating: bool) -> Vec<u8> {
        let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        request.extend([7; 12]);
        request.extend(if nominating { [0, 0x25, 0, 0] } else { [0, 0x24, 0, 0] });
        request
    }

    fn sent_to(path: &mut Path) -> u16 {
        path.direct(to(2), &MEDIA).remote.port()
    }

    #[test]
    fn media_follows_an_answered_check_that_nominates() {
        let mut path = Path::default();
        assert_eq!(sent_to(&mut path), 2);
        path.handle_datagram(to(3), &check(true));
        assert_eq!(sent_to(&mut path), 2, "not before it is answered");
        path.direct(to(3), &ANSWER);
        assert_eq!(sent_to(&mut path), 3);
    }

    #[test]
    fn media_stays_where_it_is_for_checks_that_do_not_nominate_or_are_not_answered() {
        let mut path = Path::default();
        path.handle_datagram(to(3), &check(false));
        path.direct(to(3), &ANSWER);
        assert_eq!(sent_to(&mut path), 2);
        path.handle_datagram(to(3), &check(true));
        path.handle_datagram(to(4), &check(true));
        path.direct(to(3), &ANSWER);
        assert_eq!(sent_to(&mut path), 2);
    }

    #[test]
    fn a_check_is_answered_where_it_came_from() {
        let mut path = Path::default();
        path.handle_datagram(to(3), &check(true));
        path.direct(to(3), &ANSWER);
        assert_eq!(path.direct(to(5), &ANSWER), to(5));
    }
}
