//! `Network`: two links for each client, one per direction, for datagrams; and beside them a reliable,
//! ordered pipe with the same latency, which is what a WebSocket makes of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::world::ClientId;

/// Which way, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bitrate(pub u64);

/// How one link behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// One way.
    pub latency: Duration,
    /// Up to this much more, evenly drawn for each datagram; order is kept.
    pub jitter: Duration,
    /// The share of datagrams lost, 0 to 1.
    pub loss: f64,
    /// The share of datagrams, 0 to 1, held back by [`REORDER_DELAY`] so that later ones overtake them.
    pub reorder: f64,
    /// What the link carries; `None` is no limit.
    pub bandwidth: Option<Bitrate>,
    /// Bytes that wait for a limited link; what does not fit is lost.
    pub queue: usize,
    /// Whether anything passes at all.
    pub up: bool,
}

/// How far a reordered datagram falls behind: some frames' worth of packets.
pub const REORDER_DELAY: Duration = Duration::from_millis(15);

/// What happened to the datagrams of one link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Given to the link.
    pub sent: u64,
    /// Of those, lost by chance, in a full queue or on a link that is down.
    pub lost: u64,
}

/// Everything on its way.
#[derive(Debug)]
pub struct Network<T> {
    links: BTreeMap<(ClientId, Direction), Link<T>>,
    in_flight: BTreeMap<(Instant, u64), T>,
    sent: u64,
    rng: fastrand::Rng,
}

#[derive(Debug)]
struct Link<T> {
    conditions: Conditions,
    counts: LinkCounts,
    /// When the last queued byte will have left.
    busy_until: Option<Instant>,
    last_datagram: Option<Instant>,
    last_reliable: Option<Instant>,
    /// Reliable traffic that waits for the link to come up.
    held: Vec<T>,
}

impl Conditions {
    /// A wire without faults.
    pub fn latency(latency: Duration) -> Self {
        Self {
            latency,
            jitter: Duration::ZERO,
            loss: 0.0,
            reorder: 0.0,
            bandwidth: None,
            queue: 0,
            up: true,
        }
    }

    /// The same with this share of datagrams lost.
    pub fn with_loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }

    /// The same with this much jitter.
    pub fn with_jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// The same with this share of datagrams overtaken.
    pub fn with_reordering(self, reorder: f64) -> Self {
        Self { reorder, ..self }
    }

    /// The same with this bandwidth and bytes of queue before it.
    pub fn with_bandwidth(self, bandwidth: Bitrate, queue: usize) -> Self {
        Self { bandwidth: Some(bandwidth), queue, ..self }
    }

    /// The same, cut.
    pub fn down(self) -> Self {
        Self { up: false, ..self }
    }
}

impl<T> Network<T> {
    /// A network without clients, whose chances come from `rng`.
    pub fn new(rng: fastrand::Rng) -> Self {
        Self { links: BTreeMap::new(), in_flight: BTreeMap::new(), sent: 0, rng }
    }

    /// Sets how a link behaves from now on; what a cut link held back leaves when it comes up.
    pub fn set_conditions(
        &mut self,
        client: ClientId,
        direction: Direction,
        conditions: Conditions,
        now: Instant,
    ) {
        let link = self.links.entry((client, direction)).or_insert_with(|| Link::new(conditions));
        link.conditions = conditions;
        if conditions.up {
            for what in std::mem::take(&mut link.held) {
                self.send_reliably(client, direction, what, now);
            }
        }
    }

    /// How a link behaves; `None` for an unknown client.
    pub fn conditions(&self, client: ClientId, direction: Direction) -> Option<Conditions> {
        self.links.get(&(client, direction)).map(|link| link.conditions)
    }

    /// What happened on a link so far.
    pub fn counts(&self, client: ClientId, direction: Direction) -> LinkCounts {
        self.links.get(&(client, direction)).map(|link| link.counts).unwrap_or_default()
    }

    /// Sends a datagram of `bytes` bytes. Lossy.
    pub fn send(
        &mut self,
        client: ClientId,
        direction: Direction,
        bytes: usize,
        what: T,
        now: Instant,
    ) {
        let Some(link) = self.links.get_mut(&(client, direction)) else { return };
        link.counts.sent += 1;
        match link.datagram_arrival(bytes, now, &mut self.rng) {
            Some(at) => self.put(at, what),
            None => link.counts.lost += 1,
        }
    }

    /// Sends over the reliable pipe: in order, late rather than never.
    pub fn send_reliably(&mut self, client: ClientId, direction: Direction, what: T, now: Instant) {
        let Some(link) = self.links.get_mut(&(client, direction)) else { return };
        if !link.conditions.up {
            link.held.push(what);
            return;
        }
        let at = link.last_reliable.map_or(now, |last| last.max(now + link.conditions.latency));
        let at = at.max(now + link.conditions.latency);
        link.last_reliable = Some(at);
        self.put(at, what);
    }

    /// The next thing that has arrived by `now`.
    pub fn poll(&mut self, now: Instant) -> Option<T> {
        let entry = self.in_flight.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// When something arrives next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|((at, _), _)| *at)
    }

    fn put(&mut self, at: Instant, what: T) {
        self.sent += 1;
        self.in_flight.insert((at, self.sent), what);
    }
}

impl<T> Link<T> {
    fn new(conditions: Conditions) -> Self {
        Self {
            conditions,
            counts: LinkCounts::default(),
            busy_until: None,
            last_datagram: None,
            last_reliable: None,
            held: Vec::new(),
        }
    }

    /// `None`: it never arrives.
    fn datagram_arrival(
        &mut self,
        bytes: usize,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Instant> {
        let is = self.conditions;
        if !is.up || rng.f64() < is.loss {
            return None;
        }
        let left = self.leaves_at(bytes, now)?;
        let jitter = is.jitter.mul_f64(rng.f64());
        let arrival = left + is.latency + jitter;
        if rng.f64() < is.reorder {
            return Some(arrival + REORDER_DELAY);
        }
        let in_order = self.last_datagram.map_or(arrival, |last| last.max(arrival));
        self.last_datagram = Some(in_order);
        Some(in_order)
    }

    fn leaves_at(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let Some(Bitrate(rate)) = self.conditions.bandwidth else { return Some(now) };
        let starts = self.busy_until.map_or(now, |busy| busy.max(now));
        let waiting = (starts - now).as_secs_f64() * rate as f64 / 8.0;
        if waiting + bytes as f64 > self.conditions.queue as f64 {
            return None;
        }
        let leaves = starts + Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64);
        self.busy_until = Some(leaves);
        Some(leaves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: ClientId = ClientId(0);

    fn network(conditions: Conditions) -> (Network<u32>, Instant) {
        let now = crate::world::start_of_time();
        let mut network = Network::new(fastrand::Rng::with_seed(1));
        network.set_conditions(ANN, Direction::Up, conditions, now);
        (network, now)
    }

    fn arrivals(network: &mut Network<u32>) -> Vec<(Instant, u32)> {
        std::iter::from_fn(|| {
            let at = network.poll_timeout()?;
            network.poll(at).map(|what| (at, what))
        })
        .collect()
    }

    #[test]
    fn a_datagram_arrives_after_the_latency() {
        let latency = Duration::from_millis(20);
        let (mut network, now) = network(Conditions::latency(latency));
        network.send(ANN, Direction::Up, 100, 7, now);
        assert_eq!(network.poll(now), None);
        assert_eq!(arrivals(&mut network), [(now + latency, 7)]);
    }

    #[test]
    fn the_share_that_is_lost_is_the_share_asked_for() {
        let (mut network, now) = network(Conditions::latency(Duration::ZERO).with_loss(0.1));
        for what in 0..10_000 {
            network.send(ANN, Direction::Up, 100, what, now);
        }
        let arrived = arrivals(&mut network).len();
        assert!((8_850..9_150).contains(&arrived), "{arrived}");
        assert_eq!(network.counts(ANN, Direction::Up).lost, 10_000 - arrived as u64);
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let jitter = Duration::from_millis(10);
        let ordered = Conditions::latency(Duration::ZERO).with_jitter(jitter);
        for (conditions, in_order) in [(ordered, true), (ordered.with_reordering(0.1), false)] {
            let (mut network, now) = network(conditions);
            for what in 0..1_000 {
                network.send(ANN, Direction::Up, 100, what, now + Duration::from_millis(1) * what);
            }
            let order: Vec<_> = arrivals(&mut network).into_iter().map(|(_, what)| what).collect();
            assert_eq!(order.is_sorted(), in_order);
        }
    }

    #[test]
    fn a_narrow_link_queues_and_then_drops() {
        let narrow = Conditions::latency(Duration::ZERO).with_bandwidth(Bitrate(8_000), 300);
        let (mut network, now) = network(narrow);
        for what in 0..4 {
            network.send(ANN, Direction::Up, 100, what, now);
        }
        let tenth = Duration::from_millis(100);
        let expected = [(now + tenth, 0), (now + tenth * 2, 1), (now + tenth * 3, 2)];
        assert_eq!(arrivals(&mut network), expected);
    }

    #[test]
    fn a_cut_link_loses_datagrams_and_holds_messages() {
        let wire = Conditions::latency(Duration::ZERO);
        let (mut network, now) = network(wire.down());
        network.send(ANN, Direction::Up, 100, 1, now);
        network.send_reliably(ANN, Direction::Up, 2, now);
        network.send_reliably(ANN, Direction::Up, 3, now);
        assert_eq!(network.poll_timeout(), None);
        let later = now + Duration::from_secs(1);
        network.set_conditions(ANN, Direction::Up, wire, later);
        assert_eq!(arrivals(&mut network), [(later, 2), (later, 3)]);
    }
}
