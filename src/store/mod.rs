//! The only room that speaks Redis: connections, keys and scripts. Knows bytes, not jobs or policy.

mod options;

pub use options::RedisOptions;
