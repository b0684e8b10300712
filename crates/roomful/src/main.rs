//! The `roomful` program: configuration in, a server until it is told to stop; or one of the commands in [`cli`].

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use roomful::cli::{self, Cli};
use roomful::{Config, Server, external_ip, logging, signals};

/// Threads for the page and the signalling; media has threads of its own. Two, so that one slow
/// request does not hold up the others; more would only cost memory.
const WEB_THREADS: usize = 2;

fn main() -> ExitCode {
    let Cli { command, flags } = Cli::parse();
    if let Some(command) = command {
        return cli::run(command, flags);
    }
    let config = match Config::from_flags(flags) {
        Ok(config) => config,
        Err(error) => Cli::command().error(clap::error::ErrorKind::ValueValidation, error).exit(),
    };
    logging::init(&config.logging);
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(mut config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WEB_THREADS)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let stop = signals::stop()?;
        external_ip::settle(&mut config.media).await?;
        Server::bind(config)?.run(stop).await
    });
    // Whatever is still running has had its time.
    runtime.shutdown_background();
    outcome
}
