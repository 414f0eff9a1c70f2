//! The integration tests.

#[cfg(test)]
mod fixtures;
