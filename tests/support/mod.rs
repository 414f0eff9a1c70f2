//! What several integration tests need: a real S3 server.

mod weed;

pub use weed::{TestS3, s3, unique_prefix};
