//! Parts: an hour's records as objects. Made ([`seal`]) from the lines that the log holds (`gather`, `gzip`), and read back ([`read`]).

pub(crate) mod gather;
mod gzip;
pub mod read;
pub mod seal;
