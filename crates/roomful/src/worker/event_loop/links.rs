//! What links bring to the core of a worker, and what it says over them.

use std::time::{Duration, Instant};

use roomful_sfu::administration::{ForwardParticipant, RequestId};
use roomful_sfu::join::JoinAttempt;

use super::State;
use crate::placement::WorkerIndex;
use crate::worker::links::BroughtEnd;

/// Time after which no further link is read in a turn. Longer, and what many neighbours say at once delays media here;
/// shorter, and it waits for turns that send one slice each.
const LINK_TIME: Duration = Duration::from_millis(1);

impl State {
    /// Somebody is to join a part of a room that lives on another worker: it is linked, unless it is here already.
    pub(super) fn prepare_part(&mut self, home: WorkerIndex, attempt: &JoinAttempt, now: Instant) {
        let known = self.sfu.link_home(&attempt.grant.room);
        let leads_to = known.and_then(|link| self.links.other_end(link));
        if let Some(former) = known.filter(|_| leads_to != Some(home)) {
            self.links.close(former);
            self.sfu.handle_link_closed(former, now);
            self.drain(now);
        }
        if home == self.index || leads_to == Some(home) {
            return;
        }
        let (link, end) = self.neighbours.open(self.index, home);
        match end {
            Some(end) => self.links.insert(link, end),
            None => tracing::warn!("a worker has no room for one more mail: a join is refused"),
        }
        // Where there is no end, the first message breaks the link.
        self.sfu.begin_part(link, &attempt.grant, now);
    }

    /// A participant of a room here is to be a guest in a room whose home is worker `home`.
    pub(super) fn forward(
        &mut self,
        request: RequestId,
        wish: ForwardParticipant,
        home: WorkerIndex,
        now: Instant,
    ) {
        let (link, end) = self.neighbours.open(self.index, home);
        match end {
            Some(end) => self.links.insert(link, end),
            None => tracing::warn!("a worker has no room for one more mail: nobody is forwarded"),
        }
        // Where there is no end, the first message breaks the link.
        self.sfu.forward(request, link, wish, now);
    }

    /// Takes in what workers said; `true` if more may wait.
    pub(super) fn receive_links(&mut self, start: Instant) -> bool {
        let mut more = false;
        let mut now = start;
        for link in self.links.in_turn() {
            if now - start >= LINK_TIME {
                return true;
            }
            let brought = self.links.receive(link);
            more |= brought.end == BroughtEnd::More;
            for message in brought.messages {
                self.sfu.handle_link(link, message, now);
                self.drain(now);
            }
            for media in brought.media {
                self.sfu.handle_link_media(link, &media, now);
                self.drain(now);
            }
            if brought.end == BroughtEnd::Closed {
                self.links.close(link);
                self.sfu.handle_link_closed(link, now);
                self.drain(now);
            }
            now = Instant::now();
        }
        more
    }

    /// Hands over media for other workers, and wakes those that were told anything.
    pub(super) fn send_links(&mut self) {
        while let Some((link, media)) = self.sfu.poll_link_media() {
            self.links.send_media(link, media);
        }
        self.links.wake_others();
    }
}
