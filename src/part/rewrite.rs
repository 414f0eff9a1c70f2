//! A part's object in one format → the same lines in another.
//!
//! Pure. Memory is some hundred kilobytes beside the object and what the codec needs. The identity that comes out has the digest of the
//! lines, so whoever knows the one of the old object can tell that nothing changed.

use std::io::{self, Write};

use super::codec::{self, Codec};
use crate::hour::format::Format;
use crate::hour::part::PartIdentity;

/// Bytes of lines that are handed on at once.
const AT_ONCE: usize = 1 << 18;

/// Writes the lines of `object`, which is of format `from`, as an object of `codec`.
///
/// # Errors
/// `object` does not decode, or `out` takes no more: what is in `out` is then of no use.
pub(crate) fn rewrite(
    from: Format,
    object: &[u8],
    codec: &Codec<'_>,
    out: impl Write + Send,
) -> io::Result<PartIdentity> {
    let mut writer = codec.begin(out)?;
    let (mut lines, mut rows, mut written) = (Vec::with_capacity(AT_ONCE), 0, Ok(()));
    codec::for_each_line(from, object, &mut |line| {
        lines.extend_from_slice(line.as_bytes());
        lines.push(b'\n');
        rows += 1;
        if lines.len() >= AT_ONCE {
            if written.is_ok() {
                written = writer.write(&lines);
            }
            lines.clear();
        }
    })?;
    written?;
    writer.write(&lines)?;
    writer.finish(rows)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::hour::format::{Compression, Encoding};
    use crate::part::codec::Columns;
    use crate::record::row::{Codecs, Compactor};

    /// A writer that is full after so many bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes.len() > self.0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0 -= bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Makes objects of one format, whichever.
    struct Maker(Format, Columns, Compactor);

    impl Maker {
        fn all() -> Vec<Self> {
            let dictionaries = Codecs::default();
            let formats = Encoding::ALL
                .into_iter()
                .flat_map(|encoding| Compression::ALL.map(|compression| Format { encoding, compression }));
            formats
                .map(|format| Self(format, Columns::new(&[], &TimeZone::UTC).unwrap(), Compactor::new(&dictionaries)))
                .collect()
        }

        fn codec(&self) -> Codec<'_> {
            Codec::new(self.0, &self.1, &self.2)
        }
    }

    fn lines(rows: usize) -> Vec<u8> {
        let line =
            |n| format!("{{\"record_id\":{n},\"inDate\":\"230310014811818\",\"x\":\"{}\"}}\n", n * 7919).into_bytes();
        (0..rows).flat_map(line).collect()
    }

    #[test]
    fn lines_stay_what_they_are_from_any_format_to_any_other() {
        let all = Maker::all();
        for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (from, to))) {
            for rows in [1, 20_000] {
                let (object, before) = from.codec().encode(&lines(rows)).unwrap();
                let (made, expected) = to.codec().encode(&lines(rows)).unwrap();
                let mut again = Vec::new();
                let after = rewrite(from.0, &object, &to.codec(), &mut again).unwrap();
                assert!(again == made, "{} to {}: the bytes that sealing makes", from.0, to.0);
                assert_eq!(after, expected);
                assert!(after.has_records_of(&before));
            }
        }
    }

    #[test]
    fn damage_and_a_full_disk_are_errors_and_another_end_is_another_identity() {
        let (gzip, zstd) = (Format::ndjson(Compression::Gzip), Codec::lines(Compression::Zstd));
        let (object, before) = Codec::lines(Compression::Gzip).encode(&lines(50_000)).unwrap();
        assert!(rewrite(gzip, &object[..object.len() / 2], &zstd, Vec::new()).is_err());
        assert_eq!(rewrite(gzip, &object, &zstd, Full(1000)).unwrap_err().kind(), io::ErrorKind::StorageFull);
        let (object, _) = Codec::lines(Compression::Gzip).encode(lines(50_000).trim_ascii_end()).unwrap();
        let after = rewrite(gzip, &object, &zstd, Vec::new()).unwrap();
        assert_eq!(after.content_sha256, before.content_sha256, "the last line got its end");
    }
}
