//! A virtual network and virtual LiveKit clients around the real core.
//!
//! [`World`] owns one [`roomful_sfu::Sfu`], a [`network::Network`] and any number of [`client::Client`]s, and
//! moves virtual time from one thing that is due to the next: an hour of a call takes as long as its packets
//! take to compute. A test is a [`Plan`]: steps with descriptions, after each of which every invariant of
//! the system is checked ([`World::check_invariants`]).
//!
//! **What one seed decides:** every loss, delay and choice of the network and of the plans, and the core's
//! own sids and sequence numbers. Keys, SSRCs and ICE credentials are drawn by the crypto library: they
//! change from run to run, and no claim rests on them.

pub mod client;
pub mod media;
pub mod network;
pub mod plan;
pub mod reception;
pub mod world;

mod invariants;

pub use client::{AudioCodecs, Browser, Client, JoinOptions, TrackPlan, VideoCodecs};
pub use network::{Bitrate, Conditions, Direction};
pub use plan::{Failure, Plan};
pub use world::{ClientId, World};
