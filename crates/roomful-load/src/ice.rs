//! A minimal controlling ICE agent (RFC 8445): one local socket, one remote candidate at a time, every
//! check nominates. Enough for servers, which are reachable where they say, and quick: the first check
//! leaves as soon as the answer is known.

mod stun;

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

/// One participant's agent.
pub(crate) struct Agent {
    local: Credentials,
    remote: Option<Remote>,
    tie_breaker: u64,
    next_check: Option<Instant>,
    /// The checks an answer may still come to, the newest last.
    open: [Option<TransactionId>; 4],
    answered: Option<Instant>,
}

struct Remote {
    password: String,
    username: String,
}

/// What a datagram meant.
pub(crate) enum Heard {
    /// A check of the server: send this back.
    Reply(Vec<u8>),
    /// Our check was answered for the first time: media may flow.
    Connected,
    /// Nothing to do.
    Nothing,
}

impl Agent {
    pub(crate) fn new(local: Credentials) -> Self {
        let tie_breaker = fastrand::u64(..);
        Self { local, remote: None, tie_breaker, next_check: None, open: [None; 4], answered: None }
    }

    /// The server answered: checks start now. The same credentials again change nothing.
    pub(crate) fn set_remote(&mut self, remote: &Credentials, now: Instant) {
        let username = format!("{}:{}", remote.ufrag, self.local.ufrag);
        if self.remote.as_ref().is_none_or(|known| known.username != username) {
            self.remote = Some(Remote { password: remote.password.clone(), username });
            self.next_check = Some(now);
        }
    }

    /// Whether a check was ever answered.
    pub(crate) fn is_connected(&self) -> bool {
        self.answered.is_some()
    }

    /// Whether the server stopped answering.
    pub(crate) fn has_expired(&self, now: Instant) -> bool {
        self.answered.is_some_and(|at| now.saturating_duration_since(at) > CONSENT_EXPIRES)
    }

    /// The check that is due now, if one is.
    pub(crate) fn poll_check(&mut self, now: Instant) -> Option<Vec<u8>> {
        let remote = self.remote.as_ref()?;
        if self.next_check.is_none_or(|at| at > now) {
            return None;
        }
        let pause = if self.answered.is_some() {
            CONSENT.mul_f64(0.8 + 0.4 * fastrand::f64())
        } else {
            RETRY
        };
        self.next_check = Some(now + pause);
        let transaction = TransactionId(std::array::from_fn(|_| fastrand::u8(..)));
        self.open.rotate_left(1);
        self.open[3] = Some(transaction);
        Some(stun::check(&Check {
            transaction,
            username: &remote.username,
            password: &remote.password,
            priority: PRIORITY,
            tie_breaker: self.tie_breaker,
        }))
    }

    /// A datagram that looks like STUN, from the server at `source`.
    pub(crate) fn handle_datagram(
        &mut self,
        bytes: &[u8],
        source: SocketAddr,
        now: Instant,
    ) -> Heard {
        let Some(message) = Received::parse(bytes) else { return Heard::Nothing };
        match message.kind {
            Kind::Request if message.is_authentic(&self.local.password) => {
                Heard::Reply(stun::success(message.transaction, source, &self.local.password))
            }
            Kind::Success => self.handle_success(&message, now),
            Kind::Request | Kind::Error => Heard::Nothing,
        }
    }

    fn handle_success(&mut self, message: &Received<'_>, now: Instant) -> Heard {
        let Some(remote) = &self.remote else { return Heard::Nothing };
        let open = self.open.iter_mut().find(|open| **open == Some(message.transaction));
        let Some(open) = open.filter(|_| message.is_authentic(&remote.password)) else {
            return Heard::Nothing;
        };
        *open = None;
        if self.answered.replace(now).is_some() {
            return Heard::Nothing;
        }
        self.next_check = Some(now + CONSENT.mul_f64(0.8 + 0.4 * fastrand::f64()));
        Heard::Connected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_leaves_at_once_and_its_answer_connects() {
        let now = Instant::now();
        let (mut agent, server) = connecting(now);
        let check = agent.poll_check(now).expect("a check");
        assert!(agent.poll_check(now).is_none(), "one is enough");
        let heard = agent.handle_datagram(&answer(&check, &server), source(), now);
        assert!(matches!(heard, Heard::Connected));
        assert!(agent.is_connected());
        let again = agent.handle_datagram(&answer(&check, &server), source(), now);
        assert!(matches!(again, Heard::Nothing), "connected only once");
    }

    #[test]
    fn an_unanswered_check_is_repeated_and_either_may_be_answered() {
        let now = Instant::now();
        let (mut agent, server) = connecting(now);
        let first = agent.poll_check(now).unwrap();
        agent.poll_check(now + RETRY).expect("another");
        let heard = agent.handle_datagram(&answer(&first, &server), source(), now + RETRY);
        assert!(matches!(heard, Heard::Connected));
    }

    #[test]
    fn an_answer_with_a_wrong_password_connects_nothing() {
        let now = Instant::now();
        let (mut agent, _) = connecting(now);
        let check = agent.poll_check(now).unwrap();
        let liar = Credentials { ufrag: "s".into(), password: "guess".into() };
        assert!(matches!(
            agent.handle_datagram(&answer(&check, &liar), source(), now),
            Heard::Nothing
        ));
        assert!(!agent.is_connected());
    }

    #[test]
    fn consent_is_asked_for_again_and_expires_without_answers() {
        let now = Instant::now();
        let (mut agent, server) = connecting(now);
        let check = agent.poll_check(now).unwrap();
        agent.handle_datagram(&answer(&check, &server), source(), now);
        assert!(agent.poll_check(now + CONSENT / 2).is_none());
        assert!(agent.poll_check(now + CONSENT * 2).is_some());
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
                tie_breaker: 1,
            })
        };
        let password = agent.local.password.clone();
        let Heard::Reply(reply) = agent.handle_datagram(&ask(&password), source(), now) else {
            panic!("no reply")
        };
        let reply = Received::parse(&reply).unwrap();
        assert_eq!((reply.kind, reply.transaction), (Kind::Success, TransactionId([7; 12])));
        assert!(matches!(agent.handle_datagram(&ask("guess"), source(), now), Heard::Nothing));
    }

    fn connecting(now: Instant) -> (Agent, Credentials) {
        let mut agent = Agent::new(Credentials::random());
        let server = Credentials { ufrag: "server".into(), password: "of the server".into() };
        assert!(agent.poll_check(now).is_none(), "nobody to ask yet");
        agent.set_remote(&server, now);
        (agent, server)
    }

    fn answer(check: &[u8], server: &Credentials) -> Vec<u8> {
        let check = Received::parse(check).unwrap();
        stun::success(check.transaction, source(), &server.password)
    }

    fn source() -> SocketAddr {
        "127.0.0.1:5000".parse().unwrap()
    }
}
