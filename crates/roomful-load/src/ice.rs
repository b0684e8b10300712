//! A minimal ICE agent (RFC 8445): one local socket, all remote candidates checked at once,
//! the first answer decides, and is nominated (at once, where the server has one address only). Enough for
//! servers, which are reachable where they say, and quick: the first checks leave as soon as the answer is
//! known.

mod stun;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stun::{Check, Kind, Received, TransactionId};

/// Pause between unanswered checks (the smallest RFC 8445 §14.2 allows). Longer, and one that came before
/// the server knew this participant costs that much of its join.
const RETRY: Duration = Duration::from_millis(50);

/// Pause between consent checks, varied by ±20 % (RFC 7675 §5.1 asks for 5 s; browsers take half).
const CONSENT: Duration = Duration::from_millis(2500);

/// Consent is lost when nothing was answered for this long (RFC 7675 §5.1).
const CONSENT_EXPIRES: Duration = Duration::from_secs(30);

/// Addresses of a server that are checked. A server with more has none that is better.
const MAX_CANDIDATES: usize = 16;

/// Checks an answer is waited for: two rounds of all candidates. An answer to an older one is not
/// recognised, and the next round's has to do.
const MAX_OPEN: usize = 2 * MAX_CANDIDATES;

/// A host candidate over UDP (RFC 8445 §5.1.2.1): type preference 126, one interface, component 1.
const PRIORITY: u32 = (126 << 24) | (65_535 << 8) | 255;

/// One side's name fragment and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) ufrag: String,
    pub(crate) password: String,
}

impl Credentials {
    /// Random, of the sizes RFC 8445 §5.3 asks for.
    pub(crate) fn random() -> Self {
        let text = |length: usize| (0..length).map(|_| fastrand::alphanumeric()).collect();
        Self { ufrag: text(8), password: text(24) }
    }
}

/// Who decides which pair of addresses is used (RFC 8445 §6.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// This side: it made the offer, or the server is a lite one.
    Controlling,
    /// The server.
    Controlled,
}

/// One participant's agent.
pub(crate) struct Agent {
    role: Role,
    local: Credentials,
    remote: Option<Remote>,
    tie_breaker: u64,
    /// The server's addresses, in the order they became known.
    candidates: Vec<SocketAddr>,
    next_check: Option<Instant>,
    /// The checks an answer may still come to, and where they went; the newest last.
    open: VecDeque<(TransactionId, SocketAddr)>,
    /// The address that answered first, and when it last did.
    selected: Option<(SocketAddr, Instant)>,
}

struct Remote {
    password: String,
    username: String,
}

/// What a datagram meant.
pub(crate) enum Heard {
    /// A check of the server: send this back.
    Reply(Vec<u8>),
    /// A check was answered for the first time: this is where media goes.
    Connected(SocketAddr),
    /// Nothing to do.
    Nothing,
}

impl Agent {
    pub(crate) fn new(local: Credentials) -> Self {
        Self {
            role: Role::Controlling,
            local,
            remote: None,
            tie_breaker: fastrand::u64(..),
            candidates: Vec::new(),
            next_check: None,
            open: VecDeque::new(),
            selected: None,
        }
    }

    /// One of the server's addresses. It is checked at once if none has answered yet.
    pub(crate) fn add_candidate(&mut self, candidate: SocketAddr, now: Instant) {
        if self.candidates.len() < MAX_CANDIDATES && !self.candidates.contains(&candidate) {
            self.candidates.push(candidate);
            if self.remote.is_some() && self.selected.is_none() {
                self.next_check = Some(now);
            }
        }
    }

    /// The server's addresses.
    pub(crate) fn candidates(&self) -> &[SocketAddr] {
        &self.candidates
    }

    /// The server's description is known: checks start now. The same credentials again change nothing.
    pub(crate) fn set_remote(&mut self, remote: &Credentials, role: Role, now: Instant) {
        self.role = role;
        let username = format!("{}:{}", remote.ufrag, self.local.ufrag);
        if self.remote.as_ref().is_none_or(|known| known.username != username) {
            self.remote = Some(Remote { password: remote.password.clone(), username });
            self.next_check = Some(now);
        }
    }

    /// The server's address that answered.
    pub(crate) fn selected(&self) -> Option<SocketAddr> {
        self.selected.map(|(address, _)| address)
    }

    /// Whether a check was ever answered.
    pub(crate) fn is_connected(&self) -> bool {
        self.selected.is_some()
    }

    /// Whether the server stopped answering.
    pub(crate) fn has_expired(&self, now: Instant) -> bool {
        self.selected.is_some_and(|(_, at)| now.saturating_duration_since(at) > CONSENT_EXPIRES)
    }

    /// The checks that are due now, and where they go.
    pub(crate) fn poll_checks(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        let Some(remote) = &self.remote else { return Vec::new() };
        if self.next_check.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let (pause, destinations) = match self.selected {
            Some((selected, _)) => (consent_pause(), vec![selected]),
            None => (RETRY, self.candidates.clone()),
        };
        self.next_check = Some(now + pause);
        // Of several nominated ones the server may prefer another than answered first.
        let nominates = self.role == Role::Controlling && destinations.len() == 1;
        let mut checks = Vec::with_capacity(destinations.len());
        for destination in destinations {
            let transaction = TransactionId(std::array::from_fn(|_| fastrand::u8(..)));
            if self.open.len() == MAX_OPEN {
                self.open.pop_front();
            }
            self.open.push_back((transaction, destination));
            let check = stun::check(&Check {
                transaction,
                username: &remote.username,
                password: &remote.password,
                priority: PRIORITY,
                role: self.role,
                tie_breaker: self.tie_breaker,
                nominates,
            });
            checks.push((destination, check));
        }
        checks
    }

    /// A datagram that looks like STUN.
    pub(crate) fn handle_datagram(&mut self, bytes: &[u8], now: Instant) -> Heard {
        let Some(message) = Received::parse(bytes) else { return Heard::Nothing };
        match message.kind {
            Kind::Request if message.is_authentic(&self.local.password) => {
                // Which of the server's addresses it came from is not known before one is selected.
                let selected = self.selected.map(|(address, _)| address);
                let Some(source) = selected.or(self.candidates.first().copied()) else {
                    return Heard::Nothing;
                };
                Heard::Reply(stun::success(message.transaction, source, &self.local.password))
            }
            Kind::Success => self.handle_success(&message, now),
            Kind::Request | Kind::Error => Heard::Nothing,
        }
    }

    fn handle_success(&mut self, message: &Received<'_>, now: Instant) -> Heard {
        let Some(remote) = &self.remote else { return Heard::Nothing };
        let open = self.open.iter().position(|(id, _)| *id == message.transaction);
        let Some(open) = open.filter(|_| message.is_authentic(&remote.password)) else {
            return Heard::Nothing;
        };
        let Some((_, address)) = self.open.remove(open) else { return Heard::Nothing };
        if let Some((_, at)) = &mut self.selected {
            *at = now;
            return Heard::Nothing;
        }
        self.selected = Some((address, now));
        let is_nominated = self.candidates.len() == 1;
        self.next_check = Some(if is_nominated { now + consent_pause() } else { now });
        Heard::Connected(address)
    }
}

/// Varied, so that participants who came together do not ask together.
fn consent_pause() -> Duration {
    CONSENT.mul_f64(0.8 + 0.4 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_leaves_at_once_and_its_answer_connects() {
        let now = Instant::now();
        let (mut agent, server) = connecting(now);
        let check = due_check(&mut agent, now).expect("a check");
        assert!(due_check(&mut agent, now).is_none(), "one is enough");
        let heard = agent.handle_datagram(&answer(&check, &server), now);
        assert!(matches!(heard, Heard::Connected(at) if at == source()));
        assert!(agent.is_connected());
        let again = agent.handle_datagram(&answer(&check, &server), now);
        assert!(matches!(again, Heard::Nothing), "connected only once");
    }

    #[test]
    fn an_unanswered_check_is_repeated_and_either_may_be_answered() {
        let now = Instant::now();
        let (mut agent, server) = connecting(now);
        let first = due_check(&mut agent, now).unwrap();
        due_check(&mut agent, now + RETRY).expect("another");
        let heard = agent.handle_datagram(&answer(&first, &server), now + RETRY);
        assert!(matches!(heard, Heard::Connected(at) if at == source()));
    }

    #[test]
    fn an_answer_with_a_wrong_password_connects_nothing() {
        let now = Instant::now();
        let (mut agent, _) = connecting(now);
        let check = due_check(&mut agent, now).unwrap();
        let liar = Credentials { ufrag: "s".into(), password: "guess".into() };
        assert!(matches!(agent.handle_datagram(&answer(&check, &liar), now), Heard::Nothing));
        assert!(!agent.is_connected());
    }

    #[test]
    fn of_many_addresses_the_first_that_answers_is_taken() {
        let now = Instant::now();
        let (mut agent, server) = connecting(now);
        let second = "[2001:db8::1]:5000".parse().unwrap();
        agent.add_candidate(second, now);
        let checks = agent.poll_checks(now);
        let [(_, first), (to, other)] = &checks[..] else { panic!("both are checked") };
        assert_eq!(*to, second);
        let heard = agent.handle_datagram(&answer(other, &server), now);
        assert!(matches!(heard, Heard::Connected(at) if at == second));
        let (to, _) = agent.poll_checks(now).remove(0);
        assert_eq!(to, second, "nominated at once");
        let late = agent.handle_datagram(&answer(first, &server), now);
        assert!(matches!(late, Heard::Nothing), "and stays");
        let consent: Vec<SocketAddr> =
            agent.poll_checks(now + CONSENT * 2).into_iter().map(|(to, _)| to).collect();
        assert_eq!(consent, [second]);
    }

    #[test]
    fn consent_is_asked_for_again_and_expires_without_answers() {
        let now = Instant::now();
        let (mut agent, server) = connecting(now);
        let check = due_check(&mut agent, now).unwrap();
        agent.handle_datagram(&answer(&check, &server), now);
        assert!(due_check(&mut agent, now + CONSENT / 2).is_none());
        assert!(due_check(&mut agent, now + CONSENT * 2).is_some());
        assert!(!agent.has_expired(now + CONSENT_EXPIRES));
        assert!(agent.has_expired(now + CONSENT_EXPIRES + Duration::from_secs(1)));
    }

    #[test]
    fn the_servers_own_checks_are_answered_if_they_know_the_password() {
        let now = Instant::now();
        let (mut agent, _) = connecting(now);
        let ask = |password: &str| {
            stun::check(&Check {
                transaction: TransactionId([7; 12]),
                username: "client:server",
                password,
                priority: 1,
                role: Role::Controlling,
                tie_breaker: 1,
                nominates: false,
            })
        };
        let password = agent.local.password.clone();
        let Heard::Reply(reply) = agent.handle_datagram(&ask(&password), now) else {
            panic!("no reply")
        };
        let reply = Received::parse(&reply).unwrap();
        assert_eq!((reply.kind, reply.transaction), (Kind::Success, TransactionId([7; 12])));
        assert!(matches!(agent.handle_datagram(&ask("guess"), now), Heard::Nothing));
    }

    fn connecting(now: Instant) -> (Agent, Credentials) {
        let mut agent = Agent::new(Credentials::random());
        let server = Credentials { ufrag: "server".into(), password: "of the server".into() };
        assert!(due_check(&mut agent, now).is_none(), "nobody to ask yet");
        agent.set_remote(&server, Role::Controlling, now);
        agent.add_candidate(source(), now);
        (agent, server)
    }

    /// The only check that is due.
    fn due_check(agent: &mut Agent, now: Instant) -> Option<Vec<u8>> {
        agent.poll_checks(now).into_iter().map(|(_, check)| check).next()
    }

    fn answer(check: &[u8], server: &Credentials) -> Vec<u8> {
        let check = Received::parse(check).unwrap();
        stun::success(check.transaction, source(), &server.password)
    }

    fn source() -> SocketAddr {
        "127.0.0.1:5000".parse().unwrap()
    }
}
