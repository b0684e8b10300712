//! By which public address a client reached the page: behind a 1:1 NAT media can use it, too.
//!
//! It is what the `Host` header says, an address or a name to look up. A client can write anything there, but
//! what comes of it is offered to that client alone; all it can cost others is lookups, which are few at a time and
//! remembered.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use roomful_sfu::reached::is_public;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use super::canonical;
use super::origin::{host, ip, is_forwarded, is_registrable};

/// A join waits no longer for a lookup. Longer, and a name server that is down delays every call; shorter,
/// and the first caller of a cold name server goes without.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(500);

/// Lookups that run at a time, each in a thread of its own, also after nobody waits for them any more. More lets whoever
/// invents names take more threads; fewer leaves callers of several names without one on a bad day.
const MAX_LOOKUPS: usize = 8;

/// Names remembered; the oldest gives way. A server has one or two; more only serves those who invent names.
const MAX_NAMES: usize = 64;

/// How long a found address is believed. Longer outlives a change of the address, shorter looks up more often.
const FOUND_FOR: Duration = Duration::from_secs(60);

/// How long finding nothing is believed: each time it ends a caller may wait [`LOOKUP_TIMEOUT`] in vain.
const NOT_FOUND_FOR: Duration = Duration::from_secs(10);

/// Longest name that is looked up (RFC 1035 §2.3.4).
const MAX_NAME_LENGTH: usize = 253;

/// Finds and remembers. Bounded in names and lookups.
pub(super) struct ReachedAddresses {
    names: Mutex<BTreeMap<String, Remembered>>,
    lookups: Arc<Semaphore>,
}

/// Who asks for a name that is being looked up waits for the same lookup.
#[derive(Clone)]
struct Remembered {
    since: Instant,
    address: Arc<OnceCell<Option<IpAddr>>>,
}

/// What a `Host` header says.
#[derive(Debug, PartialEq, Eq)]
enum Reached {
    At(IpAddr),
    By(String),
}

impl ReachedAddresses {
    pub(super) fn new() -> Self {
        Self { names: Mutex::default(), lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }

    /// The public address by which `client`, who sent `headers`, reached this server, as far as it can be told
    /// within [`LOOKUP_TIMEOUT`].
    pub(super) async fn find(&self, client: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
        match reached(client, headers)? {
            Reached::At(address) => Some(address),
            Reached::By(name) => {
                self.remember(name.clone(), Instant::now(), self.look_up(name)).await
            }
        }
    }

    /// What is remembered of `name`, else what comes of `lookup`.
    async fn remember(
        &self,
        name: String,
        now: Instant,
        lookup: impl Future<Output = Option<IpAddr>>,
    ) -> Option<IpAddr> {
        let remembered = self.remembered(name, now);
        *remembered.address.get_or_init(|| lookup).await
    }

    fn remembered(&self, name: String, now: Instant) -> Remembered {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, remembered| remembered.is_valid(now));
        if names.len() >= MAX_NAMES && !names.contains_key(&name) {
            let oldest = names.iter().min_by_key(|(_, remembered)| remembered.since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                names.remove(&oldest);
            }
        }
        names
            .entry(name)
            .or_insert_with(|| Remembered { since: now, address: Arc::default() })
            .clone()
    }

    async fn look_up(&self, name: String) -> Option<IpAddr> {
        let permit = self.lookups.clone().try_acquire_owned().ok()?;
        // The system's lookup cannot be called off: the task holds the permit until it ends.
        let lookup = tokio::spawn(async move {
            let found = tokio::net::lookup_host((name, 0)).await;
            drop(permit);
            choose(found.ok()?.map(|address| address.ip()))
        });
        timeout(LOOKUP_TIMEOUT, lookup).await.ok()?.ok()?
    }
}

impl Remembered {
    fn is_valid(&self, now: Instant) -> bool {
        let lifetime = match self.address.get() {
            Some(Some(_)) => FOUND_FOR,
            Some(None) | None => NOT_FOUND_FOR,
        };
        now.saturating_duration_since(self.since) < lifetime
    }
}

/// IPv4 if there is any: IPv6 addresses stand on interfaces, where they are found anyway.
fn choose(found: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    found.map(|ip| ip.to_canonical()).filter(|ip| is_public(*ip)).min_by_key(IpAddr::is_ipv6)
}

/// `None` for clients of this machine and for hosts that cannot be public. A proxy on this machine passes on who
/// reached it from elsewhere.
fn reached(client: SocketAddr, headers: &HeaderMap) -> Option<Reached> {
    if canonical(client).ip().is_loopback() && !is_forwarded(headers) {
        return None;
    }
    let host = host(headers)?;
    if let Some(ip) = ip(&host) {
        return is_public(ip).then(|| Reached::At(ip.to_canonical()));
    }
    let name = host.host().to_ascii_lowercase();
    (is_registrable(&name) && name.len() <= MAX_NAME_LENGTH).then_some(Reached::By(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    #[test]
    fn a_public_host_says_where_the_client_arrived() {
        let visitor = "192.0.2.1:5000";
        assert_eq!(arrival(visitor, &[("host", "203.0.113.7:7880")]), at("203.0.113.7"));
        assert_eq!(arrival(visitor, &[("host", "[2001:db8::7]")]), at("2001:db8::7"));
        assert_eq!(arrival(visitor, &[("host", "Meet.Example:443")]), by("meet.example"));
        for other in [
            "10.0.0.5:7880",
            "127.0.0.1",
            "[::1]:7880",
            "[fe80::1]",
            "localhost:7880",
            "desk",
            "desk.local",
            "a@203.0.113.7",
            "",
        ] {
            assert_eq!(arrival(visitor, &[("host", other)]), None, "{other}");
        }
        assert_eq!(arrival(visitor, &[]), None);
    }

    #[test]
    fn of_this_machines_clients_only_those_behind_its_proxy_arrived_from_elsewhere() {
        let local = "[::ffff:127.0.0.1]:5000";
        assert_eq!(arrival(local, &[("host", "meet.example")]), None);
        let proxied = [("host", "meet.example"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(arrival(local, &proxied), by("meet.example"));
    }

    #[test]
    fn of_several_addresses_a_public_one_and_of_these_ipv4_is_chosen() {
        let chosen = |found: &[&str]| choose(found.iter().map(|ip| ip.parse().unwrap()));
        let (v4, v6) = ("203.0.113.7", "2001:db8::7");
        assert_eq!(chosen(&[v6, "10.0.0.1", v4]), v4.parse().ok());
        assert_eq!(chosen(&["127.0.0.1", v6]), v6.parse().ok());
        assert_eq!(chosen(&["127.0.0.1", "10.0.0.1"]), None);
    }

    #[tokio::test]
    async fn a_name_is_looked_up_again_only_after_a_while() {
        let addresses = ReachedAddresses::new();
        let (start, found) = (Instant::now(), "203.0.113.7".parse().ok());
        let ask = async |after: Duration, answer| {
            addresses.remember("meet.example".into(), start + after, async move { answer }).await
        };
        assert_eq!(ask(Duration::ZERO, None).await, None);
        assert_eq!(ask(NOT_FOUND_FOR / 2, found).await, None);
        assert_eq!(ask(NOT_FOUND_FOR, found).await, found);
        assert_eq!(ask(FOUND_FOR, None).await, found);
        assert_eq!(ask(NOT_FOUND_FOR + FOUND_FOR, None).await, None);
    }

    #[tokio::test]
    async fn callers_of_one_name_share_a_lookup() {
        let addresses = ReachedAddresses::new();
        let found = "203.0.113.7".parse().ok();
        let now = Instant::now();
        let slow = async {
            tokio::task::yield_now().await;
            found
        };
        let (first, second) = tokio::join!(
            addresses.remember("meet.example".into(), now, slow),
            addresses.remember("meet.example".into(), now, async { panic!("looked up again") }),
        );
        assert_eq!((first, second), (found, found));
    }

    #[test]
    fn invented_names_take_no_more_than_their_place() {
        let addresses = ReachedAddresses::new();
        let start = Instant::now();
        for number in 0..3 * MAX_NAMES {
            let now = start + Duration::from_millis(u64::try_from(number).unwrap());
            addresses.remembered(format!("{number}.example"), now);
        }
        let names = addresses.names.lock().unwrap();
        assert_eq!(names.len(), MAX_NAMES);
        assert!(names.contains_key(&format!("{}.example", 3 * MAX_NAMES - 1)), "the newest stays");
    }

    fn at(ip: &str) -> Option<Reached> {
        Some(Reached::At(ip.parse().unwrap()))
    }

    fn by(name: &str) -> Option<Reached> {
        Some(Reached::By(name.into()))
    }

    fn arrival(client: &str, given: &[(&'static str, &'static str)]) -> Option<Reached> {
        let headers = given
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        reached(client.parse().unwrap(), &headers)
    }
}
