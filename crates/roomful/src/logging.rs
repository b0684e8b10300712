//! What the program says while it runs: through `tracing`, to standard error.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LoggingConfig;

/// What carries media, by the first part of its log targets.
const MEDIA_LIBRARIES: [&str; 4] = ["dimpl", "is", "sctp_proto", "str0m"];

/// Starts logging, once per process: a second call changes nothing. Panics of any thread are
/// logged from then on, too.
pub fn init(config: &LoggingConfig) {
    let registry = tracing_subscriber::registry().with(filter(config.level));
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

/// Libraries speak of addresses and packets at debug: below "trace" only their warnings matter. Those
/// of the media libraries warn of what clients send (a codec they number differently, a late packet),
/// which is every join and nothing an operator can act on: of them only errors.
fn filter(level: Level) -> Targets {
    let of = |target: &'static str, level| (target, LevelFilter::from_level(level));
    let own = [of("roomful", level), of("roomful_sfu", level)];
    if level == Level::TRACE {
        return Targets::new().with_default(level).with_targets(own);
    }
    // The more severe level is the lesser one.
    Targets::new()
        .with_default(level.min(Level::WARN))
        .with_targets(MEDIA_LIBRARIES.map(|library| of(library, Level::ERROR)))
        .with_targets(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_libraries_are_heard_for_errors_only_below_trace() {
        for level in [Level::DEBUG, Level::INFO, Level::WARN] {
            let filter = filter(level);
            for library in ["str0m::session", "dimpl", "is::agent", "sctp_proto::association"] {
                assert!(!filter.would_enable(library, &Level::WARN), "{library} at {level}");
                assert!(filter.would_enable(library, &Level::ERROR), "{library} at {level}");
            }
            assert!(filter.would_enable("axum::serve", &Level::WARN));
            assert!(filter.would_enable("roomful_sfu::room", &level));
            assert!(!filter.would_enable("axum::serve", &Level::INFO));
        }
        assert!(filter(Level::TRACE).would_enable("str0m::session", &Level::TRACE));
        assert!(!filter(Level::ERROR).would_enable("axum::serve", &Level::WARN));
    }
}
