//! A server and a client against a Redis of the test's own.

mod bad_input;
mod client;
mod lifecycle;
mod outages;
mod reliable;
mod retries;
mod support;
