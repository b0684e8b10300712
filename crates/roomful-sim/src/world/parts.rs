//! The workers of a world: one core each, and the links that join the parts of a room on them.
//!
//! Every room's home is the first unless a test says otherwise; clients sit down in turn, so that neighbours in a test
//! are in different parts.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomful_sfu::Sfu;
use roomful_sfu::administration::{ForwardParticipant, RequestId};
use roomful_sfu::ids::{Identity, RoomName};
use roomful_sfu::link::{LinkId, LinkMedia, LinkMessage};
use roomful_sfu::transmit::TransmitBuffer;

use super::{ClientId, SERVER, World};

thread_local! {
    static PARTS: Cell<usize> = const { Cell::new(0) };
}

/// While it lives, every [`World`] that begins on this thread has that many workers: the same claims can be asked of a
/// room in one piece and of one in several.
#[derive(Debug)]
#[must_use]
pub struct Spread(usize);

impl Spread {
    /// Over so many workers, at least one.
    pub fn over(parts: usize) -> Self {
        Self(PARTS.replace(parts.max(1)))
    }
}

impl Drop for Spread {
    fn drop(&mut self) {
        PARTS.set(self.0);
    }
}

/// How many workers a world that begins now has: `ROOMFUL_SIM_PARTS` if nothing else is said, so that every claim can be
/// asked of a spread room without being written again.
pub(super) fn parts_now() -> usize {
    match PARTS.get() {
        0 => std::env::var("ROOMFUL_SIM_PARTS")
            .ok()
            .and_then(|parts| parts.parse().ok())
            .unwrap_or(1),
        parts => parts,
    }
    .max(1)
}

/// One worker.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) sfu: Sfu,
    pub(super) timeout: Instant,
    pub(super) transmits: TransmitBuffer,
}

/// A worker, by its place in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartIndex(pub(super) usize);

/// Where rooms begin.
pub(super) const HOME: PartIndex = PartIndex(0);

/// What carries messages and media from one worker to another: two workers of one machine, or two machines side by
/// side.
#[derive(Debug)]
pub(super) struct LinkWires {
    last: u64,
    /// Where the other end of each end is, and its name.
    ends: BTreeMap<LinkId, (PartIndex, LinkId)>,
    /// Rooms that begin elsewhere than at [`HOME`].
    homes: BTreeMap<RoomName, PartIndex>,
    on_the_way: VecDeque<(Instant, PartIndex, LinkId, Carried)>,
    /// The share of media that is lost on the way.
    loss: f64,
    /// Packets that set out so far.
    packets: usize,
    /// The same of messages.
    messages: usize,
}

#[derive(Debug)]
enum Carried {
    Message(LinkMessage),
    Media(LinkMedia),
    Closing,
}

/// How long a link takes: a wake of the other thread, or a cable.
const LINK_LATENCY: Duration = Duration::from_micros(200);

impl LinkWires {
    pub(super) fn new() -> Self {
        Self {
            last: 0,
            ends: BTreeMap::new(),
            homes: BTreeMap::new(),
            on_the_way: VecDeque::new(),
            loss: 0.0,
            packets: 0,
            messages: 0,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.on_the_way.front().map(|(at, ..)| *at)
    }

    /// A link between two workers; returns the name of the first one's end.
    fn open(&mut self, from: PartIndex, to: PartIndex) -> LinkId {
        let (near, far) = (LinkId(self.last + 1), LinkId(self.last + 2));
        self.last += 2;
        self.ends.insert(near, (to, far));
        self.ends.insert(far, (from, near));
        near
    }

    fn carry(&mut self, link: LinkId, what: Carried, now: Instant) {
        let Some((to, far)) = self.ends.get(&link).copied() else { return };
        if matches!(what, Carried::Closing) {
            self.ends.remove(&link);
            self.ends.remove(&far);
        }
        self.on_the_way.push_back((now + LINK_LATENCY, to, far, what));
    }
}

impl World {
    /// The worker a client is connected to.
    pub(super) fn part_of(&self, client: ClientId) -> PartIndex {
        PartIndex(client.0 % self.parts.len())
    }

    /// Where that worker receives media.
    pub(super) fn address_of(&self, client: ClientId) -> SocketAddr {
        address(self.part_of(client))
    }

    /// The core of one worker.
    pub(super) fn sfu(&mut self, part: PartIndex) -> &mut Sfu {
        &mut self.parts[part.0].sfu
    }

    /// Loses that share of the media that goes over links.
    pub fn set_link_loss(&mut self, loss: f64) {
        self.links.loss = loss;
    }

    /// Packets that set out over links so far.
    pub fn link_packets(&self) -> usize {
        self.links.packets
    }

    /// Messages that set out over links so far.
    pub fn link_messages(&self) -> usize {
        self.links.messages
    }

    /// Cuts every link; whatever is on the way is lost.
    pub fn cut_links(&mut self) {
        self.links.on_the_way.clear();
        for (part, end) in std::mem::take(&mut self.links.ends).into_values() {
            let now = self.now;
            self.sfu(part).handle_link_closed(end, now);
            self.drain(part);
        }
    }

    /// The room of that name begins on worker `part`, which there must be, from now on.
    pub fn set_home(&mut self, room: &str, part: usize) {
        self.links.homes.insert(RoomName::new(room), PartIndex(part % self.parts.len()));
    }

    /// The worker on which a room of that name begins.
    pub(super) fn home_of(&self, room: &RoomName) -> PartIndex {
        self.links.homes.get(room).copied().unwrap_or(HOME)
    }

    /// Makes a participant of one room a guest in another, as the shell does.
    pub fn forward(&mut self, room: &str, who: &str, destination: &str) -> RequestId {
        let wish = ForwardParticipant {
            room: RoomName::new(room),
            identity: Identity::new(who),
            destination: RoomName::new(destination),
        };
        let (from, to) = (self.home_of(&wish.room), self.home_of(&wish.destination));
        let (request, now) = (self.next_request(), self.now);
        let link = self.links.open(from, to);
        self.sfu(from).forward(request, link, wish, now);
        self.drain(from);
        request
    }

    /// Opens a link to the home, if a part of that room is to begin on a worker that has none.
    pub(super) fn prepare_part(&mut self, part: PartIndex, grant: &roomful_sfu::token::Grant) {
        let now = self.now;
        let home = self.home_of(&grant.room);
        if part == home || self.sfu(part).link_home(&grant.room).is_some() {
            return;
        }
        let link = self.links.open(part, home);
        self.sfu(part).begin_part(link, grant, now);
        self.drain(part);
    }

    pub(super) fn send_over_link(&mut self, link: LinkId, message: LinkMessage) {
        self.links.messages += 1;
        self.links.carry(link, Carried::Message(message), self.now);
    }

    pub(super) fn close_link(&mut self, link: LinkId) {
        self.links.carry(link, Carried::Closing, self.now);
    }

    pub(super) fn send_link_media(&mut self, from: PartIndex) {
        while let Some((link, media)) = self.parts[from.0].sfu.poll_link_media() {
            self.links.packets += media.packets();
            if self.links.loss == 0.0 || self.rng.f64() >= self.links.loss {
                self.links.carry(link, Carried::Media(media), self.now);
            }
        }
    }

    /// Delivers what links bring now.
    pub(super) fn deliver_links(&mut self) {
        let now = self.now;
        while self.links.poll_timeout().is_some_and(|at| at <= now) {
            let Some((_, to, link, what)) = self.links.on_the_way.pop_front() else { return };
            let sfu = self.sfu(to);
            match what {
                Carried::Message(message) => sfu.handle_link(link, message, now),
                Carried::Media(media) => sfu.handle_link_media(link, &media, now),
                Carried::Closing => sfu.handle_link_closed(link, now),
            }
            self.drain(to);
        }
    }
}

/// Where a worker receives media.
pub(super) fn address(part: PartIndex) -> SocketAddr {
    let offset = u16::try_from(part.0).unwrap_or_default();
    SocketAddr::new(SERVER.ip(), SERVER.port() + offset)
}
