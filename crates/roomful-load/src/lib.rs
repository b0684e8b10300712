//! A load generator for video rooms: many virtual participants in one process that speak only over the
//! wire, as browsers would, and a report on how the server bore them.
//!
//! Signalling runs on a small asynchronous runtime (`signalling`, `crowd`, `workload`), media on one plain
//! thread (`engine`) that owns every participant's socket; between them go [commands](engine::Command).
//! A packet goes `udp → engine → participant → ledger`, a frame `engine/schedule → media/source → udp`.
//! Content is marked where it is made and checked where it arrives (`media/mark`).

#![cfg(target_os = "linux")]

mod cli;
mod clock;
mod crowd;
mod dtls;
mod engine;
mod ice;
mod ledger;
mod media;
mod participant;
mod process;
mod report;
mod sdp;
mod signalling;
mod udp;
mod workload;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

/// Runs with these command-line arguments, the program's name first, and says how it went: 0 if the run
/// counts, 2 if it is void, 1 if it could not be carried out.
///
/// Must not be called within an asynchronous runtime.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A terminal that is gone stops nothing.
            let _gone = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match carry_out(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            report::progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Returns whether the run counts.
fn carry_out(cli: &cli::Cli) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(workload::run(cli))?;
    report.publish(cli.workload.common())?;
    Ok(report.void.is_none())
}
