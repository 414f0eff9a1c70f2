//! Parts: an hour's records as objects. Made ([`seal`]) from the lines that the log holds (`gather`, `gzip`), and read back ([`read`]).
//! What their bytes look like is the matter of one file, [`ndjson`].

pub(crate) mod gather;
mod gzip;
pub mod ndjson;
pub mod read;
pub mod seal;
