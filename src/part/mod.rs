//! Parts: an hour's records as objects. Made ([`seal`]) from the lines that the log holds (`gather`), and read back ([`read`]).

mod gather;
pub mod read;
pub mod seal;
