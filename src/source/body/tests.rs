//! That only whole bodies within the caps pass, in pieces of any size. Keeps nothing.

use super::*;
use crate::error::{ErrorKind, Result};
use crate::pointer::Pointer;
use crate::source::PageShape;

const LIMIT: u64 = 1000;

pub(in crate::source) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn run(coding: Coding, bytes: &[u8], step: usize) -> Result<(Vec<u8>, u64), Refusal> {
    run_as(&PageShape::default(), None, coding, bytes, step)
}

fn run_as(
    shape: &PageShape,
    kind: Option<Kind>,
    coding: Coding,
    bytes: &[u8],
    step: usize,
) -> Result<(Vec<u8>, u64), Refusal> {
    let mut body = BodyCheck::new(coding, Expected { shape, kind, limit: LIMIT }, Vec::new())?;
    bytes.chunks(step).try_for_each(|chunk| body.write(chunk))?;
    body.finish()
}

#[test]
fn arrays_pass_byte_for_byte_in_pieces_of_any_size() {
    for text in ["[]", " \r\n[{\"data\":\"x\"}]\n ", "[1]\t", "\u{feff}[]", "\u{feff}\n[2]"] {
        for step in [1, 2, 7, 4096] {
            let (written, bytes) = run(Coding::Plain, text.as_bytes(), step).unwrap();
            assert_eq!((written.as_slice(), bytes), (text.as_bytes(), length(text.as_bytes())));
            let (written, _) = run(Coding::Gzip, &gzip(text.as_bytes()), step).unwrap();
            assert_eq!(written, text.as_bytes());
        }
    }
}

#[test]
fn several_gzip_members_are_one_body() {
    let both = [gzip(b"[1,"), gzip(b"2]")].concat();
    assert_eq!(run(Coding::Gzip, &both, 5).unwrap().0, b"[1,2]");
}

#[test]
fn what_is_no_complete_array_is_no_page() {
    for (text, what) in [
        ("", "empty"),
        (" \n", "empty"),
        ("<html>", "HTML"),
        (" \n{}", "object"),
        ("\u{feff}", "empty"),
        ("\u{feff}{}", "object"),
        ("\u{feff}\u{feff}[]", "no JSON array"),
        ("\u{fec0}[]", "no JSON array"),
        ("\u{f000}[]", "no JSON array"),
        (" \u{feff}[]", "no JSON array"),
        ("\u{feff}[1", "cut short"),
        ("x[]", "no JSON array"),
        ("[{\"data\":\"x\"},\n", "cut short after 15 bytes"),
        ("[[", "cut short"),
    ] {
        for (coding, bytes) in [(Coding::Plain, text.as_bytes().to_vec()), (Coding::Gzip, gzip(text.as_bytes()))] {
            let refused = run(coding, &bytes, 1);
            assert!(matches!(&refused, Err(Refusal::NoPage(why)) if why.contains(what)), "{text}: {refused:?}");
        }
    }
    assert!(matches!(run(Coding::Gzip, b"", 1), Err(Refusal::NoPage(why)) if why.contains("empty")));
    for (half, step) in [(&b"\xef\xbb[]"[..], 1), (b"\xef[]", 9), (b"\xef\xbb[]", 9), (b"\xef\xef\xbb\xbf[]", 2)] {
        assert!(matches!(run(Coding::Plain, half, step), Err(Refusal::NoPage(_))), "{half:?}");
    }
}

#[test]
fn gzip_cut_or_damaged_anywhere_is_no_page() {
    let whole = gzip(b"[{\"data\":\"abcdefgh\"}]");
    for cut in 1..whole.len() {
        let refused = run(Coding::Gzip, &whole[..cut], 3);
        assert!(matches!(refused, Err(Refusal::NoPage(_))), "{cut}: {refused:?}");
    }
    let mut flipped = whole.clone();
    let crc = whole.len() - 6;
    flipped[crc] ^= 1;
    assert!(matches!(run(Coding::Gzip, &flipped, 3), Err(Refusal::NoPage(_))));
    let tail = [whole.as_slice(), b"tail"].concat();
    assert!(matches!(run(Coding::Gzip, &tail, 3), Err(Refusal::NoPage(_))));
}

#[test]
fn caps_hold_for_both_sizes_and_stop_a_bomb_at_once() {
    let fits = format!("[{}]", " ".repeat(998));
    assert_eq!(run(Coding::Plain, fits.as_bytes(), 64).unwrap().1, LIMIT);
    assert!(matches!(run(Coding::Plain, format!("{fits} ").as_bytes(), 64), Err(Refusal::TooLarge("body"))));

    let bomb = gzip(format!("[{}]", " ".repeat(100_000)).as_bytes());
    assert!(bomb.len() < 500);
    assert!(matches!(run(Coding::Gzip, &bomb, 4096), Err(Refusal::TooLarge("uncompressed body"))));

    let nothings = gzip(b"").repeat(100);
    assert!(matches!(run(Coding::Gzip, &nothings, 64), Err(Refusal::TooLarge("compressed body"))));
}

/// Counts into what its test holds, and fails from the second write on.
struct FullSink<'a>(&'a std::cell::Cell<u32>);

impl PageSink for FullSink<'_> {
    fn write(&mut self, _: &[u8]) -> Result<()> {
        self.0.set(self.0.get() + 1);
        if self.0.get() == 1 { Ok(()) } else { Err(Error::new(ErrorKind::State, "disk full")) }
    }
}

#[test]
fn sink_that_fails_is_not_written_to_again() {
    let mut noise = String::from("[");
    while noise.len() < 200_000 {
        noise.push(fastrand::alphanumeric());
    }
    for (coding, bytes) in [(Coding::Plain, noise.clone().into_bytes()), (Coding::Gzip, gzip(noise.as_bytes()))] {
        let writes = std::cell::Cell::new(0);
        let shape = PageShape::default();
        let expected = Expected { shape: &shape, kind: None, limit: 1_000_000 };
        let mut body = BodyCheck::new(coding, expected, FullSink(&writes)).unwrap();
        let failed = bytes.chunks(50_000).try_for_each(|chunk| body.write(chunk));
        assert!(matches!(failed, Err(Refusal::Sink(error)) if error.kind() == ErrorKind::State));
        drop(body);
        assert_eq!(writes.get(), 2, "{coding:?}");
    }
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

#[test]
fn packed_body_is_known_by_its_first_bytes() {
    let text = b"[{\"data\":\"abcdefgh\"}]";
    for step in [1, 3, 4096] {
        for packed in [text.to_vec(), gzip(text), zstd(text), [zstd(&text[..5]), zstd(&text[5..])].concat()] {
            assert_eq!(run(Coding::Unsaid, &packed, step).unwrap().0, text, "{step}");
        }
        assert_eq!(run(Coding::Zstd, &zstd(text), step).unwrap().0, text);
    }
    for short in [&b"\x1f"[..], b"(\xb5/", b"("] {
        assert!(matches!(run(Coding::Unsaid, short, 1), Err(Refusal::NoPage(_))), "{short:?}");
    }
}

#[test]
fn zstd_cut_or_damaged_anywhere_is_no_page() {
    let mut whole = zstd(b"[{\"data\":\"abcdefgh\"}]");
    for cut in 1..whole.len() {
        let refused = run(Coding::Zstd, &whole[..cut], 3);
        assert!(matches!(refused, Err(Refusal::NoPage(_))), "{cut}: {refused:?}");
    }
    whole.extend_from_slice(b"tail");
    assert!(matches!(run(Coding::Zstd, &whole, 3), Err(Refusal::NoPage(_))));
    let bomb = zstd(format!("[{}]", " ".repeat(100_000)).as_bytes());
    assert!(matches!(run(Coding::Zstd, &bomb, 4096), Err(Refusal::TooLarge("uncompressed body"))));
}

#[test]
fn lines_pass_with_their_mark_and_are_not_capped_as_a_whole() {
    let line = "{\"data\":\"abcdefgh\"}\n";
    let (shape, text) = (PageShape::default(), line.repeat(30));
    for step in [1, 7, 4096] {
        for (kind, coding, body) in [
            (Some(Kind::Lines), Coding::Unsaid, text.clone().into_bytes()),
            (None, Coding::Unsaid, text.clone().into_bytes()),
            (None, Coding::Unsaid, zstd(text.as_bytes())),
            (Some(Kind::Lines), Coding::Gzip, gzip(text.as_bytes())),
        ] {
            let (written, bytes) = run_as(&shape, kind, coding, &body, step).unwrap();
            assert_eq!((written, bytes), (format!("\u{1e}{text}").into_bytes(), text.len() as u64));
        }
    }
    assert_eq!(run_as(&shape, Some(Kind::Lines), Coding::Plain, b"", 9).unwrap().0, b"\x1e");
    let elsewhere = PageShape { items: Pointer::parse("/data").unwrap(), ..shape };
    let written = run_as(&elsewhere, Some(Kind::Lines), Coding::Plain, b"{\"data\":[]}\n", 9).unwrap().0;
    assert_eq!(written, b"{\"data\":[]}\n", "lines have no page around them");
}

#[test]
fn object_is_kept_where_the_array_is_in_it_or_may_have_moved_there() {
    let root = PageShape::default();
    let within = PageShape { items: Pointer::parse("/data/items").unwrap(), ..PageShape::default() };
    for (shape, body) in [
        (&within, r#"{"data":{"items":[]}}"#),
        (&within, r#"{"data":{"items":null}}"#),
        (&within, r#"{"logs":[{}]}"#),
        (&within, r#"[{"data":"g"}]"#),
        (&root, r#"{"data":{"items":[{}]}}"#),
        (&root, " {\"a\":[1]} \n"),
    ] {
        assert_eq!(run_as(shape, None, Coding::Plain, body.as_bytes(), 3).unwrap().0, body.as_bytes());
    }
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(900));
    for (shape, body, what) in [
        (&within, r#"{"error":"s3cret"}"#, "object without /data/items (source.items): it has \"error\""),
        (&root, r#"{"error":"s3cret","items":[]}"#, "it has \"error\", \"items\""),
        (&root, &large, "it has \"a\""),
        (&within, r#"{"data":{"items":[{}]}"#, "cut short after 22 bytes, without the last } at its end"),
    ] {
        let refused = run_as(shape, None, Coding::Plain, body.as_bytes(), 3);
        let Err(Refusal::NoPage(why)) = refused else { panic!("{body}: {refused:?}") };
        assert!(why.contains(what) && !why.contains("s3cret"), "{why}");
    }
}
