//! What holds of the store on either engine. Each test runs on a fresh SQLite file, and, where
//! `MNEMIC_TEST_DATABASE_URL` names a PostgreSQL server, on a fresh database there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod agents;
mod api_keys;
mod archives;
mod blocks;
mod build;
mod context;
mod conversations;
mod embed_scopes;
mod erasure;
mod events;
mod groups;
mod house;
mod identities;
mod jobs;
mod leases;
mod memory_changes;
mod messages;
mod migrations;
mod otids;
mod own_threads;
mod paging;
mod passages;
mod plans;
mod providers;
mod random;
mod runs;
mod sandbox_configs;
mod steps;
mod thread;
mod tools;
mod traces;
mod writer;
