//! How a body is packed, and the stream that unpacks it.
//!
//! Where nobody says how it is packed, its first bytes do: no JSON begins with them. Invariant: a packed body is whole only if its last
//! member or frame ends where the body ends.

use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder as MultiGzReader;
use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{DParameter, Decoder};
use zstd::stream::zio;

use super::super::PageSink;
use super::{Checked, Refusal};

/// The first bytes of packed streams.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The most memory that unpacking zstd may take, as a power of two: `zstd -19` needs 2^23.
const WINDOW: u32 = 26;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Coding {
    Plain,
    Gzip,
    Zstd,
    /// Nobody says: its first bytes tell.
    Unsaid,
}

impl Coding {
    /// The coding of a file of this name.
    pub(in crate::source) fn of_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name.rsplit_once('.') {
            Some((_, "gz")) => Self::Gzip,
            Some((_, "zst")) => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// What packs it. `None`: nothing.
    pub(in crate::source) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
            Self::Plain | Self::Unsaid => None,
        }
    }

    /// What the first bytes tell. `None`: they are too few.
    fn of_beginning(bytes: &[u8]) -> Option<Self> {
        let begins = |magic: &[u8]| magic.iter().zip(bytes).all(|(a, b)| a == b);
        match bytes.len() {
            0 => None,
            length if begins(&GZIP) => (length >= GZIP.len()).then_some(Self::Gzip),
            length if begins(&ZSTD) => (length >= ZSTD.len()).then_some(Self::Zstd),
            _ => Some(Self::Plain),
        }
    }
}

/// A body that is unpacked into the check.
pub(super) enum Stream<'p, S: PageSink> {
    Plain(Checked<'p, S>),
    Gzip(Box<MultiGzDecoder<Checked<'p, S>>>),
    Zstd(Box<zio::Writer<Checked<'p, S>, Decoder<'static>>>),
    /// The first bytes, until they tell. The check moves on when they do.
    Unsaid(Option<Checked<'p, S>>, Vec<u8>),
}

impl<'p, S: PageSink> Stream<'p, S> {
    /// A stream of the given coding, from its beginning.
    pub(super) fn new(coding: Coding, checked: Checked<'p, S>) -> io::Result<Self> {
        Ok(match coding {
            Coding::Plain => Self::Plain(checked),
            Coding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(checked))),
            Coding::Zstd => Self::Zstd(Box::new(zio::Writer::new(checked, decoder()?))),
            Coding::Unsaid => Self::Unsaid(Some(checked), Vec::new()),
        })
    }

    /// What a cap on the bytes as received is about.
    pub(super) const fn form(&self) -> &'static str {
        match self {
            Self::Gzip(_) | Self::Zstd(_) => "compressed body",
            Self::Plain(_) | Self::Unsaid(..) => "body",
        }
    }

    /// Whether it unpacks to lines, as far as it is known.
    pub(super) fn is_lines(&mut self) -> bool {
        self.checked().is_some_and(|checked| checked.content.is_lines())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(checked) => checked.write_all(bytes),
            Self::Gzip(gzip) => gzip.write_all(bytes),
            Self::Zstd(zstd) => zstd.write_all(bytes),
            Self::Unsaid(_, first) => {
                first.extend_from_slice(bytes);
                Coding::of_beginning(first).map_or(Ok(()), |coding| self.go_on_as(coding))
            }
        }
    }

    /// Goes on as what the first bytes tell.
    fn go_on_as(&mut self, coding: Coding) -> io::Result<()> {
        let Self::Unsaid(checked, first) = self else { return Ok(()) };
        let (Some(checked), first) = (checked.take(), std::mem::take(first)) else { return Ok(()) };
        *self = Self::new(coding, checked)?;
        self.write(&first)
    }

    /// Ends the stream: an error where it was cut short.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.go_on_as(Coding::Plain)?;
        match self {
            Self::Gzip(gzip) => gzip.try_finish(),
            Self::Zstd(zstd) => zstd.finish(),
            Self::Plain(_) | Self::Unsaid(..) => Ok(()),
        }
    }

    /// Why a write or the end failed. Nothing is written after it.
    pub(super) fn refusal(&mut self, cause: &io::Error) -> Refusal {
        let what = self.coding().name().unwrap_or("plain");
        // A decoder writes out what it still holds when it is dropped.
        let refused = self.checked().and_then(|checked| {
            checked.closed = true;
            checked.refusal.take()
        });
        refused.unwrap_or_else(|| Refusal::NoPage(format!("the {what} stream is cut short or damaged ({cause})")))
    }

    /// What packs it, as far as it is known.
    pub(super) const fn coding(&self) -> Coding {
        match self {
            Self::Gzip(_) => Coding::Gzip,
            Self::Zstd(_) => Coding::Zstd,
            Self::Plain(_) | Self::Unsaid(..) => Coding::Plain,
        }
    }

    fn checked(&mut self) -> Option<&mut Checked<'p, S>> {
        match self {
            Self::Plain(checked) => Some(checked),
            Self::Gzip(gzip) => Some(gzip.get_mut()),
            Self::Zstd(zstd) => Some(zstd.writer_mut()),
            Self::Unsaid(checked, _) => checked.as_mut(),
        }
    }

    /// The check behind a stream that has ended.
    pub(super) fn into_checked(self) -> io::Result<Checked<'p, S>> {
        match self {
            Self::Plain(checked) | Self::Unsaid(Some(checked), _) => Ok(checked),
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(zstd) => Ok(zstd.into_inner().0),
            Self::Unsaid(None, _) => Err(io::Error::other("its coding could not be told")),
        }
    }
}

/// What unpacks zstd, in bounded memory.
fn decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW))?;
    Ok(decoder)
}

/// Unpacks what is read.
pub(in crate::source) fn reader<'r>(
    coding: Coding,
    source: impl Read + Send + 'r,
) -> io::Result<Box<dyn Read + Send + 'r>> {
    Ok(match coding {
        Coding::Plain | Coding::Unsaid => Box::new(source),
        Coding::Gzip => Box::new(MultiGzReader::new(source)),
        Coding::Zstd => {
            let mut zstd = zstd::stream::read::Decoder::new(source)?;
            zstd.window_log_max(WINDOW)?;
            Box::new(zstd)
        }
    })
}
