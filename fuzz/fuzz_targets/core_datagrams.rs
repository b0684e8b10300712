//! Datagrams from anywhere, into the whole core: demux, ICE, the handshake.

#![no_main]

use roomful_sfu::fuzzing::{core_datagrams, datagram_seeds};

libfuzzer_sys::fuzz_target!(
    init: roomful_fuzz::begin_with(&datagram_seeds()),
    |bytes: &[u8]| core_datagrams(bytes)
);
