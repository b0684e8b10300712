//! Which of a participant's addresses media is sent to.
//!
//! A participant may move without noticing: a NAT forgets its binding and gives the next datagram another
//! port. Its next check arrives from there and is answered, but the ICE agent goes on sending to the pair it
//! nominated before until that has been silent for 15 s. Here the last address from which a nominating check
//! was answered wins at once: the answer shows that the check carried the right password.
//!
//! The answer may come later than the check: where this server offers, checks overtake the answer that brings the
//! password to answer them with, and some clients nominate only once.

use std::collections::VecDeque;

use crate::route::Route;

/// See the module text.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// Checks that nominate and are not answered yet, the oldest first. Lossy: nobody has authenticated them.
    checks: VecDeque<Transaction>,
    /// The way of the last answered check that nominates.
    nominated: Option<Route>,
}

/// What a check and its answer have in common (RFC 8489 §5): magic cookie and transaction id.
type Transaction = [u8; 16];

/// Checks that may wait for their answers. A client checks each of its addresses against each of ours, once before it
/// hears anything: fewer forget the nomination of one with many addresses, more let strangers take memory.
const MAX_CHECKS: usize = 32;

impl Path {
    /// A datagram arrived, not yet authenticated.
    pub(super) fn handle_datagram(&mut self, payload: &[u8]) {
        let Some(check) = transaction(payload).filter(|_| nominates(payload)) else { return };
        if self.checks.contains(&check) {
            return;
        }
        if self.checks.len() == MAX_CHECKS {
            self.checks.pop_front();
        }
        self.checks.push_back(check);
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
        if payload.starts_with(&BINDING_SUCCESS)
            && let Some(answered) = transaction(payload)
            && let Some(place) = self.checks.iter().position(|check| *check == answered)
        {
            self.checks.remove(place);
            self.nominated = Some(route);
        }
        match payload.first() {
            Some(first) if *first > STUN_FIRST_BYTES => self.nominated.unwrap_or(route),
            _ => route,
        }
    }
}

fn transaction(message: &[u8]) -> Option<Transaction> {
    message.get(4..20)?.try_into().ok()
}

/// Whether this is a STUN binding request with USE-CANDIDATE (RFC 8445 §7.1.2, §16.1).
fn nominates(payload: &[u8]) -> bool {
    const USE_CANDIDATE: u16 = 0x0025;
    crate::stun::binding_request_attributes(payload)
        .is_some_and(|mut attributes| attributes.any(|(kind, _)| kind == USE_CANDIDATE))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const MEDIA: [u8; 1] = [0x80];

    fn to(port: u16) -> Route {
        let [local, remote] = [1, port].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        Route::udp(local, remote)
    }

    fn check(number: u8, nominating: bool) -> Vec<u8> {
        let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        request.extend([number; 12]);
        request.extend(if nominating { [0, 0x25, 0, 0] } else { [0, 0x24, 0, 0] });
        request
    }

    fn answer(number: u8) -> Vec<u8> {
        let mut answer = check(number, false);
        answer[0] = 1;
        answer
    }

    fn sent_to(path: &mut Path) -> u16 {
        path.direct(to(2), &MEDIA).remote.port()
    }

    #[test]
    fn media_follows_an_answered_check_that_nominates() {
        let mut path = Path::default();
        assert_eq!(sent_to(&mut path), 2);
        path.handle_datagram(&check(1, true));
        assert_eq!(sent_to(&mut path), 2, "not before it is answered");
        path.direct(to(3), &answer(1));
        assert_eq!(sent_to(&mut path), 3);
    }

    #[test]
    fn a_check_that_is_answered_after_others_have_come_nominates_all_the_same() {
        let mut path = Path::default();
        path.handle_datagram(&check(1, true));
        for other in 2..10 {
            path.handle_datagram(&check(other, false));
        }
        path.direct(to(5), &answer(5));
        assert_eq!(sent_to(&mut path), 2);
        path.direct(to(3), &answer(1));
        assert_eq!(sent_to(&mut path), 3);
    }

    #[test]
    fn media_stays_where_it_is_for_checks_that_do_not_nominate_or_are_not_answered() {
        let mut path = Path::default();
        path.handle_datagram(&check(1, false));
        path.direct(to(3), &answer(1));
        assert_eq!(sent_to(&mut path), 2);
        path.handle_datagram(&check(2, true));
        path.direct(to(3), &answer(3));
        assert_eq!(sent_to(&mut path), 2);
    }

    #[test]
    fn checks_of_strangers_take_no_more_memory_than_they_may() {
        let mut path = Path::default();
        for number in 0..=u8::MAX {
            path.handle_datagram(&check(number, true));
            path.handle_datagram(&check(number, true));
        }
        assert_eq!(path.checks.len(), MAX_CHECKS);
        path.direct(to(3), &answer(u8::MAX));
        assert_eq!(sent_to(&mut path), 3);
        for cut in 0..20 {
            path.handle_datagram(&check(1, true)[..cut]);
            path.direct(to(4), &answer(1)[..cut]);
        }
        assert_eq!(sent_to(&mut path), 3);
    }

    #[test]
    fn a_check_is_answered_where_it_came_from() {
        let mut path = Path::default();
        path.handle_datagram(&check(1, true));
        path.direct(to(3), &answer(1));
        assert_eq!(path.direct(to(5), &answer(2)), to(5));
    }
}
