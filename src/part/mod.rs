//! Parts: an hour's records as objects. Made ([`seal`]) from the lines that the log holds (`gather`), and read back ([`read`]).

pub(crate) mod gather;
pub mod read;
pub mod seal;
