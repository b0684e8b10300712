//! The system's wish that the program ends.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Exit code of a program that was interrupted, by the shells' convention (128 + SIGINT).
const INTERRUPTED: i32 = 130;

/// Completes on Ctrl-C or SIGTERM. The next of either ends the process at once.
///
/// # Errors
/// The system has no more resources to watch for signals.
pub fn stop() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::warn!("stopped at once");
            std::process::exit(INTERRUPTED);
        });
    })
}
