//! Run Sidekiq jobs in Rust.
