//! How parts are encoded, as far as their readers must know. Pure.

/// What a part consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Compact rows as lines.
    Ndjson,
    /// Columns.
    Parquet,
}

/// What makes it small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// `.gz`.
    Gzip,
    /// `.zst`.
    Zstd,
}

impl Compression {
    /// As Glue, DuckDB and the configuration spell it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// How all parts of a place are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    /// What they consist of.
    pub(crate) encoding: Encoding,
    /// What makes them small.
    pub(crate) compression: Compression,
}

impl Format {
    /// The folder that they are in.
    pub(crate) const fn root(self) -> &'static str {
        match self.encoding {
            Encoding::Ndjson => "data/",
            Encoding::Parquet => "parquet/",
        }
    }

    /// How their names end.
    pub(crate) const fn suffix(self) -> &'static str {
        match (self.encoding, self.compression) {
            (Encoding::Ndjson, Compression::Gzip) => ".ndjson.gz",
            (Encoding::Ndjson, Compression::Zstd) => ".ndjson.zst",
            (Encoding::Parquet, _) => ".parquet",
        }
    }
}
