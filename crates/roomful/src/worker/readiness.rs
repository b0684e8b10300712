//! When the socket of a worker is worth reading.

use std::io;
use std::time::{Duration, Instant};

/// Wait before the socket is read again after the system could not deliver. Longer, and more of
/// what arrives meanwhile overflows the kernel's buffer; shorter, and a machine that is out of
/// memory spends what it has left on asking.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// Whether the socket may hold datagrams.
///
/// The poll reports each arrival once (edge-triggered), so what it said is kept here; a failed read
/// leaves datagrams behind that it never mentions again, so that one is tried again by time.
#[derive(Debug)]
pub(super) struct Readiness {
    ready: bool,
    retry_at: Option<Instant>,
    failing: bool,
}

impl Readiness {
    /// Nobody has looked yet.
    pub(super) fn unknown() -> Self {
        Self { ready: true, retry_at: None, failing: false }
    }

    /// Whether to read now.
    pub(super) fn is_ready(&mut self, now: Instant) -> bool {
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
            self.ready = true;
        }
        self.ready
    }

    /// When to look again although the poll says nothing.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The poll reports an arrival.
    pub(super) fn handle_arrival(&mut self) {
        // While reads fail, time decides: a stream of arrivals must not become a spin.
        if self.retry_at.is_none() {
            self.ready = true;
        }
    }

    /// A read went well, and took all there was or not.
    pub(super) fn handle_read(&mut self, drained: bool) {
        if self.failing {
            self.failing = false;
            tracing::info!("media can be received again");
        }
        self.ready = !drained;
    }

    /// A read failed, but the socket is sound: what arrived is read later.
    pub(super) fn handle_error(&mut self, error: &io::Error, now: Instant) {
        self.ready = false;
        self.retry_at = Some(now + RETRY_AFTER);
        // Once, however long it lasts.
        if !self.failing {
            self.failing = true;
            tracing::warn!(%error, "cannot receive media, trying again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_is_repeated_by_time_and_not_by_arrivals() {
        let start = Instant::now();
        let mut readiness = Readiness::unknown();
        assert!(readiness.is_ready(start));
        readiness.handle_error(&io::Error::from_raw_os_error(libc::ENOMEM), start);
        readiness.handle_arrival();
        assert!(!readiness.is_ready(start), "no spin");
        let again = readiness.retry_at().unwrap();
        assert!(readiness.is_ready(again), "what was left behind is read");
        readiness.handle_read(false);
        assert!(readiness.is_ready(again));
        readiness.handle_read(true);
        assert!(!readiness.is_ready(again + LONG) && readiness.retry_at().is_none());
        readiness.handle_arrival();
        assert!(readiness.is_ready(again));
    }

    const LONG: Duration = Duration::from_secs(60);
}
