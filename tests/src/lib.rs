//! Suites that cross crates: scenarios per dialect against the real binary, real clients, crash tests, architecture.
