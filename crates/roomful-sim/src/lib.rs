//! A virtual network and virtual clients around the real core.
