//! The sans-IO core of Roomful.

pub mod administration;
pub mod agents;
mod allocation;
mod audience;
mod client;
mod clock;
pub mod codecs;
mod data_blobs;
mod data_tracks;
mod demand;
mod demux;
pub mod egress;
pub mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod ids;
pub mod join;
pub mod keyframes;
mod limits;
pub mod link;
mod liveness;
mod media;
mod outflow;
mod output;
mod participant;
mod playout;
mod publication;
pub mod reached;
mod room;
mod room_policy;
mod route;
mod sfu;
mod sids;
mod signalling;
pub mod speakers;
mod stun;
mod subscription;
#[cfg(any(test, feature = "fuzzing"))]
mod testing;
mod timers;
pub mod token;
mod track_info;
pub mod transmit;
mod transport;
mod transports;
mod variant;

pub use clock::WallClock;
pub use demux::binding_request_ufrag;
pub use media::MediaDrops;
pub use outflow::DataPolicy;
pub use output::{Output, SfuEvent};
pub use playout::{Playout, PlayoutDelay};
pub use room_policy::{NoticePolicy, RoomPolicy, UnknownPreset};
pub use route::{Protocol, Route};
pub use sfu::{Datagram, DropCounts, MediaAddress, NoCertificate, Seed, Sfu, SfuConfig, TcpOffer};
