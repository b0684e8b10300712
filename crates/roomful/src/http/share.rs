//! What one address may have of the server, so that nobody takes everyone's place.
//!
//! Unless the operator says how much, addresses of this machine and of private networks may have everything: the proxy
//! stands there through which all the others come, or a network whose people know each other.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How much of something one address may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// So much; `None`: as much as there is.
    pub most: Option<NonZeroU32>,
    /// This machine and private networks have no limit.
    pub spares_private: bool,
}

impl Limit {
    /// As the operator set it, where 0 stands for none; `default` of public addresses if not.
    pub(crate) fn new(set: Option<u32>, default: NonZeroU32) -> Self {
        match set {
            Some(most) => Self { most: NonZeroU32::new(most), spares_private: false },
            None => Self { most: Some(default), spares_private: true },
        }
    }

    /// How much `address` may have, and under which name that is counted; `None`: as much as there is.
    fn of(self, address: IpAddr) -> Option<(IpAddr, u32)> {
        let address = network(address.to_canonical());
        let is_spared = self.spares_private && is_private(address);
        self.most.filter(|_| !is_spared).map(|most| (address, most.get()))
    }
}

/// Connections open of each address.
#[derive(Debug, Clone)]
pub(super) struct ConnectionShares {
    limit: Limit,
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// One connection of an address that is counted, while it is held.
#[derive(Debug)]
pub(super) struct ConnectionShare {
    address: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl ConnectionShares {
    pub(super) fn new(limit: Limit) -> Self {
        Self { limit, open: Arc::default() }
    }

    /// Counts a connection of `address`; there is nothing to hold where nothing is counted.
    ///
    /// # Errors
    /// It has as many as it may have.
    pub(super) fn take(&self, address: IpAddr) -> Result<Option<ConnectionShare>, TooMany> {
        let Some((address, most)) = self.limit.of(address) else { return Ok(None) };
        let mut open = lock(&self.open);
        let count = open.entry(address).or_default();
        if *count >= most {
            return Err(TooMany);
        }
        *count += 1;
        Ok(Some(ConnectionShare { address, open: Arc::clone(&self.open) }))
    }
}

impl Drop for ConnectionShare {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// An address has as much as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// Joins of each address: a bucket that fills with so many a second.
#[derive(Debug)]
pub(super) struct JoinShares {
    limit: Limit,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

/// Joins that an address has left.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// Seconds of joins that may come at once. More lets one address keep a worker busy for longer, fewer turns people away
/// who come back together: the whole office after a restart.
const AT_ONCE: f64 = 10.0;

/// Addresses remembered before those are looked for that need not be.
const REMEMBERED: usize = 1024;

impl JoinShares {
    pub(super) fn new(limit: Limit) -> Self {
        Self { limit, buckets: Mutex::default() }
    }

    /// Counts a join of `address`.
    ///
    /// # Errors
    /// Too many came lately.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> Result<(), TooMany> {
        let Some((address, most)) = self.limit.of(address) else { return Ok(()) };
        let rate = f64::from(most);
        let mut buckets = lock(&self.buckets);
        if buckets.len() >= REMEMBERED && !buckets.contains_key(&address) {
            // A full one says no more than none. At most as many stay as joined within the last seconds.
            buckets.retain(|_, bucket| bucket.left_at(now, rate) < rate * AT_ONCE);
        }
        let bucket = buckets.entry(address).or_insert(Bucket { left: rate * AT_ONCE, at: now });
        let left = bucket.left_at(now, rate);
        if left < 1.0 {
            return Err(TooMany);
        }
        *bucket = Bucket { left: left - 1.0, at: now };
        Ok(())
    }
}

impl Bucket {
    fn left_at(self, now: Instant, rate: f64) -> f64 {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        (self.left + filled).min(rate * AT_ONCE)
    }
}

/// IPv6 is counted by networks of 64 bits: a subscriber has at least one as a whole (RFC 6177 §2).
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Nobody comes from there over the Internet: RFC 1918, RFC 6598, RFC 4193, link-local and loopback.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            address.is_loopback() || address.is_private() || address.is_link_local() || is_shared
        }
        // The loopback address is in the network of zeros.
        IpAddr::V6(address) => {
            address.is_unspecified() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

/// A thread that panicked while it held the lock ends the process; until then the numbers are good enough.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn unset(default: u32) -> Limit {
        Limit::new(None, NonZeroU32::new(default).unwrap())
    }

    #[test]
    fn an_address_has_as_many_connections_as_it_may_until_it_closes_one() {
        let shares = ConnectionShares::new(unset(2));
        let first = shares.take(ip("203.0.113.7")).unwrap();
        let _second = shares.take(ip("::ffff:203.0.113.7")).unwrap();
        assert_eq!(shares.take(ip("203.0.113.7")).err(), Some(TooMany));
        assert!(shares.take(ip("203.0.113.8")).unwrap().is_some(), "another has its own");
        drop(first);
        let third = shares.take(ip("203.0.113.7"));
        assert!(third.is_ok());
        drop((third, _second));
        assert!(lock(&shares.open).is_empty(), "who has none is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let shares = ConnectionShares::new(unset(1));
        let _one = shares.take(ip("2001:db8:1:2::1")).unwrap();
        assert!(shares.take(ip("2001:db8:1:2:ffff::1")).is_err());
        assert!(shares.take(ip("2001:db8:1:3::1")).is_ok());
    }

    #[test]
    fn private_addresses_have_a_limit_only_where_somebody_set_it() {
        let private = ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "100.64.0.1", "fe80::1"];
        for address in private.map(ip).into_iter().chain([ip("fd00::1"), ip("::ffff:10.0.0.1")]) {
            let free = ConnectionShares::new(unset(1));
            assert!(free.take(address).unwrap().is_none(), "{address}");
            let set = ConnectionShares::new(Limit::new(Some(1), NonZeroU32::MIN));
            let _one = set.take(address).unwrap();
            assert!(set.take(address).is_err(), "{address}");
        }
        let none = ConnectionShares::new(Limit::new(Some(0), NonZeroU32::MIN));
        assert!(none.take(ip("203.0.113.7")).unwrap().is_none(), "0 is no limit");
    }

    #[test]
    fn joins_may_come_at_once_and_then_at_their_rate() {
        let shares = JoinShares::new(unset(2));
        let start = Instant::now();
        let taken = |at: Instant| {
            (0..100).take_while(|_| shares.take(ip("203.0.113.7"), at).is_ok()).count()
        };
        assert_eq!(taken(start), 20);
        assert_eq!(taken(start + Duration::from_millis(1500)), 3);
        assert_eq!(taken(start + Duration::from_secs(3600)), 20, "no more are saved up");
    }

    #[test]
    fn addresses_that_have_all_their_joins_left_are_forgotten() {
        let shares = JoinShares::new(unset(1));
        let start = Instant::now();
        let address = |n: u32| IpAddr::from((0x0101_0000 + n).to_be_bytes());
        for n in 0..2_000 {
            shares.take(address(n), start).unwrap();
        }
        assert_eq!(lock(&shares.buckets).len(), 2_000, "none of these could be forgotten");
        shares.take(address(2_000), start + Duration::from_secs(2)).unwrap();
        assert_eq!(lock(&shares.buckets).len(), 1);
    }
}
