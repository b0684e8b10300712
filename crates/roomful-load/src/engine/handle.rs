//! The way to the media thread from others.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use mio::{Poll, Waker};

use super::schedule::Schedule;
use super::snapshot::{Past, Snapshot};
use super::{Command, Engine, WAKER};
use crate::dtls::Identity;
use crate::garbage::Bait;
use crate::ledger::{Depth, Ledger, Totals};
use crate::media::mark::RunId;
use crate::udp::Receiver;

/// Commands that may wait. Lossless: whoever has more waits. A hundred joins a second bring about five
/// hundred commands, and the thread takes all there are every time it wakes.
const COMMANDS: usize = 8192;

/// Commands for the media thread, and what it last said of itself. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
    progress: Arc<Progress>,
    identity: Arc<Identity>,
}

/// What is told while a run goes on.
#[derive(Default)]
pub(crate) struct Progress {
    connected: AtomicU64,
    connecting: AtomicU64,
    receiving: AtomicU64,
    lost: AtomicU64,
    packets: AtomicU64,
    bait: Mutex<Option<Bait>>,
}

impl Progress {
    /// Where media goes, once anybody is connected.
    pub(crate) fn bait(&self) -> Option<Bait> {
        self.bait.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_bait(&self, bait: Bait) {
        *self.bait.lock().unwrap_or_else(PoisonError::into_inner) = Some(bait);
    }

    /// Participants that may send and receive media now.
    pub(crate) fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Participants that are on their way to that.
    pub(crate) fn connecting(&self) -> u64 {
        self.connecting.load(Ordering::Relaxed)
    }

    /// Participants to whom media ever came.
    pub(crate) fn receiving(&self) -> u64 {
        self.receiving.load(Ordering::Relaxed)
    }

    /// Participants whose media path failed.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Media packets received.
    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    pub(super) fn count_receiving(&self) {
        self.receiving.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn publish(&self, connected: u64, connecting: u64, totals: &Totals) {
        self.connected.store(connected, Ordering::Relaxed);
        self.connecting.store(connecting, Ordering::Relaxed);
        self.packets.store(totals.packets, Ordering::Relaxed);
    }
}

/// Starts the media thread.
///
/// # Errors
/// If the system has no thread or no descriptors for it.
pub(crate) fn start(
    run: RunId,
    depth: Depth,
    identity: Identity,
) -> anyhow::Result<(Handle, JoinHandle<io::Result<()>>)> {
    let poll = Poll::new().context("epoll")?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER).context("an event descriptor")?);
    let (sender, commands) = sync_channel(COMMANDS);
    let progress = Arc::new(Progress::default());
    let identity = Arc::new(identity);
    let engine = Engine {
        poll,
        commands,
        receiver: Receiver::new(),
        ledger: Ledger::new(run, depth),
        identity: Arc::clone(&identity),
        participants: Vec::new(),
        slots: std::collections::HashMap::new(),
        schedule: Schedule::default(),
        next_tick: Instant::now(),
        tick: 0,
        progress: Arc::clone(&progress),
        past: Past::default(),
    };
    let thread = std::thread::Builder::new()
        .name("media".into())
        .spawn(move || engine.run())
        .context("the media thread")?;
    Ok((Handle { commands: sender, waker, progress, identity }, thread))
}

impl Handle {
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Fingerprint of everybody's certificate, as SDP has it.
    pub(crate) fn fingerprint(&self) -> &str {
        self.identity.fingerprint()
    }

    /// # Errors
    /// If the media thread has ended.
    pub(crate) fn send(&self, command: Command) -> anyhow::Result<()> {
        self.commands.send(command).map_err(|_| ended())?;
        self.waker.wake().context("waking the media thread")
    }

    /// What was measured so far.
    ///
    /// # Errors
    /// If the media thread has ended.
    pub(crate) async fn report(&self) -> anyhow::Result<Snapshot> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(Command::Report(reply))?;
        answer.await.map_err(|_| ended())
    }
}

fn ended() -> anyhow::Error {
    anyhow!("the media thread has ended")
}
