//! What carries links between the workers of one machine: for each direction of each link a queue of messages, bounded
//! and lossless, and one of media, bounded and lossy.
//!
//! A worker never waits for another. A full queue of messages breaks its link, which both ends notice; a full queue of
//! media loses the newest. Data of participants is lost long before it fills the queue of messages: lossy data where half
//! of its share is taken, all of it where the whole is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use roomful_sfu::link::{LinkId, LinkMedia, LinkMessage};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

use super::{Envelope, Mail, WakeOnDrop, WorkerHandle};
use crate::placement::WorkerIndex;

/// Messages that may wait for one end of a link. A hall of hundreds that empties at once makes some thousands; more
/// lets a stalled worker fill memory, fewer breaks the links of large rooms.
const MESSAGES: usize = 16 * 1024;

/// Messages with data of participants that may wait among them. Less than all, so that no flood of data breaks a link.
const DATA_MESSAGES: usize = MESSAGES * 3 / 4;

/// Bytes of data of participants that may wait for one end of a link: some 30 ms of a worker that forwards nothing else.
/// More lets a stalled worker fill memory, fewer loses what large files need.
const DATA_BYTES: usize = 16 * 1024 * 1024;

/// Batches of media that may wait for one end of a link: each is what one turn of a worker brought, so these are some
/// 20 ms of a busy one. More plays late what is better lost, fewer loses media whenever the other worker is busy for
/// a moment.
const BATCHES: usize = 64;

/// Messages taken from one link in one turn. More delays the worker's own media during a burst, fewer delays the burst.
const BUDGET: usize = 64;

/// The workers of one machine, as each of them reaches the others. Known once all are started.
#[derive(Default)]
pub(crate) struct Neighbours {
    workers: OnceLock<Vec<Contact>>,
    /// The last name given to an end.
    last_end: AtomicU64,
}

/// A worker that this does not keep alive.
struct Contact {
    mailbox: mpsc::WeakSender<Envelope>,
    waker: Weak<WakeOnDrop>,
}

/// The worker at the other end of a link.
#[derive(Clone)]
struct Neighbour {
    index: WorkerIndex,
    waker: Weak<WakeOnDrop>,
}

/// One end of a link.
pub(crate) struct LinkEnd {
    messages: mpsc::Sender<LinkMessage>,
    media: mpsc::Sender<LinkMedia>,
    incoming: mpsc::Receiver<LinkMessage>,
    incoming_media: mpsc::Receiver<LinkMedia>,
    /// Data of participants that waits for the other end, in bytes.
    data: Arc<AtomicUsize>,
    /// The same that waits here.
    incoming_data: Arc<AtomicUsize>,
    other: Neighbour,
}

/// The links of one worker.
#[derive(Default)]
pub(super) struct Links {
    ends: BTreeMap<LinkId, LinkEnd>,
    /// Workers to which something was said that they were not woken for.
    unannounced: Vec<Neighbour>,
    /// The link that was first in turn the last time.
    first: Option<LinkId>,
    /// Batches of media, and messages with data of participants, that found no room.
    pub(super) dropped: u64,
}

/// What waits at one end of a link, in the order in which it is to be handled: nothing in it refers to something that
/// was said later.
#[derive(Default)]
pub(super) struct Brought {
    pub(super) messages: Vec<LinkMessage>,
    pub(super) media: Vec<LinkMedia>,
    pub(super) end: BroughtEnd,
}

/// What comes after it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum BroughtEnd {
    /// Nothing yet.
    #[default]
    Silence,
    /// More, which waits already.
    More,
    /// Nothing any more: the other end closed the link.
    Closed,
}

impl Neighbours {
    /// All are started. Only the first call counts.
    pub(crate) fn introduce(&self, workers: &[WorkerHandle]) {
        let contact = |worker: &WorkerHandle| Contact {
            mailbox: worker.mailbox.downgrade(),
            waker: Arc::downgrade(&worker.waker),
        };
        let _ = self.workers.set(workers.iter().map(contact).collect());
    }

    /// A new link from worker `from` to `to`, which may be the same; its far end is sent there. With `None` in place of
    /// this end, the other worker has no room for one more mail.
    pub(super) fn open(&self, from: WorkerIndex, to: WorkerIndex) -> (LinkId, Option<LinkEnd>) {
        // Each end has a name of its own: both may be on one worker.
        let first = self.last_end.fetch_add(2, Ordering::Relaxed) + 1;
        (LinkId(first), self.try_open(LinkId(first + 1), from, to))
    }

    fn try_open(&self, link: LinkId, from: WorkerIndex, to: WorkerIndex) -> Option<LinkEnd> {
        let workers = self.workers.get()?;
        let neighbour = |index: WorkerIndex| {
            let waker = Weak::clone(&workers.get(index.0)?.waker);
            Some(Neighbour { index, waker })
        };
        let there = workers.get(to.0)?;
        let (end, other) = ends(neighbour(from)?, neighbour(to)?);
        let mail = Mail::Link { link, end: Box::new(other) };
        there.mailbox.upgrade()?.try_send(Envelope { mail, seat: None }).ok()?;
        wake(&there.waker);
        Some(end)
    }
}

/// Both ends of a link between these workers.
fn ends(here: Neighbour, there: Neighbour) -> (LinkEnd, LinkEnd) {
    let (to_there, at_there) = mpsc::channel(MESSAGES);
    let (to_here, at_here) = mpsc::channel(MESSAGES);
    let (media_to_there, media_at_there) = mpsc::channel(BATCHES);
    let (media_to_here, media_at_here) = mpsc::channel(BATCHES);
    let (data_to_there, data_to_here) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let this = LinkEnd {
        messages: to_there,
        media: media_to_there,
        incoming: at_here,
        incoming_media: media_at_here,
        data: Arc::clone(&data_to_there),
        incoming_data: Arc::clone(&data_to_here),
        other: there,
    };
    let other = LinkEnd {
        messages: to_here,
        media: media_to_here,
        incoming: at_there,
        incoming_media: media_at_there,
        data: data_to_here,
        incoming_data: data_to_there,
        other: here,
    };
    (this, other)
}

fn wake(worker: &Weak<WakeOnDrop>) {
    if let Some(worker) = worker.upgrade()
        && let Err(error) = worker.0.wake()
    {
        tracing::debug!(%error, "cannot wake a worker");
    }
}

impl Links {
    /// A link has an end here.
    pub(super) fn insert(&mut self, link: LinkId, end: LinkEnd) {
        self.ends.insert(link, end);
    }

    /// The worker at the other end of a link.
    pub(super) fn other_end(&self, link: LinkId) -> Option<WorkerIndex> {
        self.ends.get(&link).map(|end| end.other.index)
    }

    /// Sends a message; `false` if the link is broken by it or was before. One that the other end closed is not: its
    /// last words are still to be heard.
    pub(super) fn send(&mut self, link: LinkId, message: LinkMessage) -> bool {
        let Some(end) = self.ends.get(&link) else { return false };
        let data = message.data_bytes();
        if data.is_some_and(|bytes| !end.has_room_for_data(bytes, message.is_lossy())) {
            self.dropped += 1;
            return true;
        }
        end.data.fetch_add(data.unwrap_or(0), Ordering::Relaxed);
        match end.messages.try_send(message) {
            Ok(()) => self.announce(link),
            Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.close(link);
                return false;
            }
        }
        true
    }

    /// Sends media, or loses it.
    pub(super) fn send_media(&mut self, link: LinkId, media: LinkMedia) {
        let Some(end) = self.ends.get(&link) else { return };
        if end.media.try_send(media).is_err() {
            self.dropped += 1;
        }
        self.announce(link);
    }

    /// Nothing more goes over a link; what was said is still heard at the other end.
    pub(super) fn close(&mut self, link: LinkId) {
        self.announce(link);
        self.ends.remove(&link);
    }

    /// Wakes the workers at the other ends of links over which something was said.
    pub(super) fn wake_others(&mut self) {
        for worker in self.unannounced.drain(..) {
            wake(&worker.waker);
        }
    }

    /// Every link that has an end here, beginning with another each time.
    pub(super) fn in_turn(&mut self) -> Vec<LinkId> {
        let mut links: Vec<LinkId> = self.ends.keys().copied().collect();
        let before = links.partition_point(|link| Some(*link) <= self.first);
        if before < links.len() {
            links.rotate_left(before);
        }
        self.first = links.first().copied();
        links
    }

    /// What came over a link, up to a budget.
    pub(super) fn receive(&mut self, link: LinkId) -> Brought {
        self.ends.get_mut(&link).map(LinkEnd::receive).unwrap_or_default()
    }

    fn announce(&mut self, link: LinkId) {
        let Some(end) = self.ends.get(&link) else { return };
        if !self.unannounced.iter().any(|known| known.index == end.other.index) {
            self.unannounced.push(end.other.clone());
        }
    }
}

impl LinkEnd {
    fn has_room_for_data(&self, bytes: usize, is_lossy: bool) -> bool {
        let share = if is_lossy { 2 } else { 1 };
        let waiting = MESSAGES - self.messages.capacity();
        waiting < DATA_MESSAGES / share
            && self.data.load(Ordering::Relaxed) + bytes <= DATA_BYTES / share
    }

    fn receive(&mut self) -> Brought {
        let mut brought = Brought::default();
        // Media first: then every message it refers to is among those read after it.
        while brought.media.len() < BATCHES
            && let Ok(media) = self.incoming_media.try_recv()
        {
            brought.media.push(media);
        }
        while brought.messages.len() < BUDGET {
            match self.incoming.try_recv() {
                Ok(message) => {
                    let data = message.data_bytes().unwrap_or(0);
                    self.incoming_data.fetch_sub(data, Ordering::Relaxed);
                    brought.messages.push(message);
                }
                Err(TryRecvError::Empty) => return brought,
                Err(TryRecvError::Disconnected) => {
                    brought.end = BroughtEnd::Closed;
                    return brought;
                }
            }
        }
        brought.end = BroughtEnd::More;
        brought
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use roomful_sfu::ids::{Identity, Origin, RoomName};
    use roomful_sfu::token::{ApiKeys, Grant};
    use roomful_sfu::{Output, RoomPolicy, Seed, Sfu, SfuConfig, WallClock};

    use super::*;

    fn pair() -> (Links, Links) {
        let neighbour = |index| Neighbour { index: WorkerIndex(index), waker: Weak::new() };
        let (one, other) = ends(neighbour(0), neighbour(1));
        let mut links = (Links::default(), Links::default());
        links.0.insert(LinkId(1), one);
        links.1.insert(LinkId(1), other);
        links
    }

    /// Something to say over a link.
    fn hello() -> LinkMessage {
        let now = Instant::now();
        let config = SfuConfig {
            media_addresses: Vec::new(),
            tcp: None,
            rooms: RoomPolicy::default(),
            clock: WallClock::new(now, 1_700_000_000_000),
            keys: ApiKeys::default(),
            ice_servers: Vec::new(),
            origin: Origin::default(),
        };
        let mut sfu = Sfu::new(config, Seed(1), now).unwrap();
        let grant = Grant::new(Identity::new("ann"), "Ann", RoomName::new("garden"));
        sfu.begin_part(LinkId(1), &grant, now);
        match sfu.poll_output() {
            Output::Link { message, .. } => message,
            other => panic!("a part begins with a message to its home, not with {other:?}"),
        }
    }

    #[test]
    fn media_that_finds_no_room_is_lost_and_counted_and_the_link_goes_on() {
        let (mut one, mut other) = pair();
        for _ in 0..BATCHES + 3 {
            one.send_media(LinkId(1), LinkMedia::default());
        }
        assert_eq!(one.dropped, 3);
        assert_eq!(other.receive(LinkId(1)).media.len(), BATCHES);
        one.send_media(LinkId(1), LinkMedia::default());
        let brought = other.receive(LinkId(1));
        assert_eq!((brought.media.len(), brought.end), (1, BroughtEnd::Silence));
    }

    #[test]
    fn what_was_said_before_a_link_closed_is_heard_by_one_that_speaks_meanwhile() {
        let (mut one, mut other) = pair();
        let hello = hello();
        assert!(one.send(LinkId(1), hello.clone()));
        one.close(LinkId(1));
        assert!(other.send(LinkId(1), hello), "the link is closed, but not broken");
        let brought = other.receive(LinkId(1));
        assert_eq!((brought.messages.len(), brought.end), (1, BroughtEnd::Closed));
    }

    #[test]
    fn a_message_that_finds_no_room_breaks_its_link_for_both_ends() {
        let (mut one, mut other) = pair();
        let hello = hello();
        for _ in 0..MESSAGES {
            assert!(one.send(LinkId(1), hello.clone()));
        }
        assert!(!one.send(LinkId(1), hello));
        assert_eq!(one.other_end(LinkId(1)), None);
        assert_eq!(all_that_waits(&mut other), MESSAGES);
        assert_eq!(other.receive(LinkId(1)).end, BroughtEnd::Closed);
    }

    #[test]
    fn a_flood_of_data_is_lost_and_counted_and_leaves_room_for_what_must_not_be() {
        let floods = [(64 * 1024, DATA_BYTES / (64 * 1024)), (10, DATA_MESSAGES)];
        for (bytes, most) in floods {
            let (mut one, mut other) = pair();
            let message = LinkMessage::of_data(&vec![0; bytes], false);
            for _ in 0..MESSAGES {
                assert!(one.send(LinkId(1), message.clone()));
            }
            assert_eq!(one.dropped, (MESSAGES - most) as u64);
            let hello = hello();
            for _ in 0..MESSAGES - DATA_MESSAGES {
                assert!(one.send(LinkId(1), hello.clone()), "the link holds");
            }
            assert_eq!(all_that_waits(&mut other), most + MESSAGES - DATA_MESSAGES);
            assert!(one.send(LinkId(1), LinkMessage::of_data(&[0; 64 * 1024], true)));
            assert_eq!(all_that_waits(&mut other), 1, "there is room again");
        }
    }

    fn all_that_waits(links: &mut Links) -> usize {
        let mut heard = 0;
        loop {
            let brought = links.receive(LinkId(1));
            heard += brought.messages.len();
            if brought.end != BroughtEnd::More {
                return heard;
            }
        }
    }

    #[test]
    fn every_link_is_first_in_turn() {
        let (mut links, _) = pair();
        let neighbour = |index| Neighbour { index: WorkerIndex(index), waker: Weak::new() };
        for link in [2, 3] {
            links.insert(LinkId(link), ends(neighbour(0), neighbour(1)).0);
        }
        let firsts: Vec<u64> = (0..4).map(|_| links.in_turn()[0].0).collect();
        assert_eq!(firsts, [1, 2, 3, 1]);
    }
}
