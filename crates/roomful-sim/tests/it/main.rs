//! Whole calls in virtual time: every test name is a claim about what people in a room can rely on.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share fail as tests do"
)]

mod administration;
mod agents;
mod calls;
mod capacity;
mod churn;
mod codecs;
mod data;
mod data_tracks;
mod demand;
mod guests;
mod hostile;
mod large;
mod layered;
mod layers;
mod meeting;
mod moves;
mod notices;
mod paths;
mod playout;
mod presence;
mod quality;
mod resuming;
mod rights;
mod rooms;
mod sections;
mod speakers;
mod spread;
mod two;
mod welcome;
