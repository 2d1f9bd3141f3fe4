//! PostgreSQL's custom archive format.
