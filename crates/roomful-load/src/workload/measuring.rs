//! The measuring window: what the media thread counted in it, and what server and generator used.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::time::{sleep, sleep_until};

use super::Handle;
use crate::cli::Common;
use crate::clock::Stamp;
use crate::engine::{Command, Snapshot};
use crate::ledger::Window;
use crate::process::{ProcessId, Usage};

/// What was sent within the window is waited for at least this long after it: longer than usual repairs
/// take.
const GRACE: Duration = Duration::from_millis(500);

/// And as long as more of it comes, but not longer than this: what is later is as good as lost.
const LONGEST_GRACE: Duration = Duration::from_secs(3);

/// Pause between two looks whether more came.
const LOOK: Duration = Duration::from_millis(100);

/// Time for the window's announcement to reach the media thread before it opens.
const NOTICE: Duration = Duration::from_millis(50);

/// What a window showed.
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    pub(crate) snapshot: Snapshot,
    /// Content of one packet in 64 only.
    pub(crate) is_light: bool,
    /// Before and after, if the server's process was given.
    pub(crate) server: Option<(Usage, Usage)>,
    pub(crate) generator: (Usage, Usage),
    /// When the window opened.
    pub(crate) opened: Instant,
}

/// Warms up, measures, and waits for what is still on its way.
///
/// # Errors
/// If the server's process is gone, or the media thread.
pub(super) async fn measure(engine: &Handle, common: &Common) -> anyhow::Result<Measured> {
    let server = common.server.process();
    pass(engine, server, common.measuring.warmup(), "warming up").await?;
    let length = common.measuring.seconds();
    let from = Stamp::now().plus(NOTICE);
    engine.send(Command::OpenWindow(Window { from, to: from.plus(length) }))?;
    sleep(NOTICE).await;
    let opened = Instant::now();
    let before = usage(server)?;
    pass(engine, server, length, "measuring").await?;
    let after = usage(server)?;
    let snapshot = last_arrivals(engine).await?;
    Ok(Measured {
        seconds: length.as_secs_f64(),
        snapshot,
        is_light: common.measuring.light,
        server: before.0.zip(after.0),
        generator: (before.1, after.1),
        opened,
    })
}

/// Waits for what is still on its way: an overloaded server is late by seconds, and late is not lost.
async fn last_arrivals(engine: &Handle) -> anyhow::Result<Snapshot> {
    let closed = Instant::now();
    sleep(GRACE).await;
    let mut before = engine.report().await?;
    loop {
        sleep(LOOK).await;
        let now = engine.report().await?;
        let delivered = |snapshot: &Snapshot| snapshot.totals.window.delivered_packets;
        if delivered(&now) == delivered(&before) || closed.elapsed() > LONGEST_GRACE {
            return Ok(now);
        }
        before = now;
    }
}

/// Lets time pass, with a line a second about it.
async fn pass(
    engine: &Handle,
    server: Option<ProcessId>,
    length: Duration,
    what: &str,
) -> anyhow::Result<()> {
    let end = Instant::now() + length;
    let mut packets = engine.progress().packets();
    let mut before = usage(server)?;
    loop {
        let now = Instant::now();
        if now >= end {
            return Ok(());
        }
        let second = (now + Duration::from_secs(1)).min(end);
        sleep_until(second.into()).await;
        let after = usage(server)?;
        let progress = engine.progress();
        let rate = progress.packets().saturating_sub(packets) as f64 / now.elapsed().as_secs_f64();
        packets = progress.packets();
        let share = |after: &Usage, before: &Usage| 100.0 * after.share_since(before);
        let server_share = after.0.zip(before.0).map(|(after, before)| share(&after, &before));
        let server_share = server_share.map(|share| format!(", server {share:.0} % of a core"));
        crate::report::progress(&format!(
            "{what}: {} connected, {} receiving, {rate:.0} packets/s{}, generator {:.0} %, {:.0} s left",
            progress.connected(),
            progress.receiving(),
            server_share.unwrap_or_default(),
            share(&after.1, &before.1),
            end.saturating_duration_since(Instant::now()).as_secs_f64(),
        ));
        before = after;
    }
}

fn usage(server: Option<ProcessId>) -> anyhow::Result<(Option<Usage>, Usage)> {
    let server = server.map(Usage::of).transpose().context("the server's process")?;
    Ok((server, Usage::of(ProcessId::own())?))
}
