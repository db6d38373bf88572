//! Stealyard beside its peers.
