//! What the program says while it runs: through `tracing`, to standard error.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LoggingConfig;

/// Starts logging, once per process: a second call changes nothing. Panics of any thread are
/// logged from then on, too.
pub fn init(config: &LoggingConfig) {
    // Libraries speak of addresses and packets at debug: below "trace" only their warnings matter.
    let libraries = if config.level == Level::TRACE { Level::TRACE } else { Level::WARN };
    let filter = Targets::new()
        .with_default(LevelFilter::from_level(libraries.min(config.level)))
        .with_target("roomful", config.level)
        .with_target("roomful_sfu", config.level);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let outcome = if config.json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        registry.with(lines.compact().with_target(false).with_ansi(terminal)).try_init()
    };
    if outcome.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            tracing::error!("internal error, please report it: {panic}");
        }));
    }
}
