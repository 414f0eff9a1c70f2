//! Python string literals: quotes, prefixes, escapes, and adjacent literals that are one text.

use std::borrow::Cow;

use super::super::reason::{Reason, ReasonKind};
use super::super::scan::literal_run;
use super::Parser;

/// Longer than any character's name; bounds the search for the closing brace.
const LONGEST_NAME: usize = 128;

/// How a literal's text is written.
#[derive(Clone, Copy)]
struct Style {
    quote: u8,
    /// Between three quotes: line ends are text.
    triple: bool,
    /// Prefix `r`: backslashes are text.
    raw: bool,
}

impl<'a> Parser<'a> {
    /// The usual text: one pair of quotes, no escapes, followed by the end of a key or value. Steps over it and the white space after
    /// it; for anything else the cursor stays.
    #[inline]
    pub(super) fn plain_text(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let quote = self.peek().filter(|byte| matches!(byte, b'\'' | b'"'))?;
        let start = self.at + 1;
        let end = literal_run(bytes, start, quote);
        // An empty text may be the start of a triple quote.
        if end == start || bytes.get(end) != Some(&quote) {
            return None;
        }
        let text = self.text.get(start..end)?;
        let before = std::mem::replace(&mut self.at, end + 1);
        self.skip_space();
        if matches!(self.peek(), Some(b',' | b':' | b'}' | b']' | b')')) {
            return Some(text);
        }
        self.at = before;
        None
    }

    /// One text: a string literal and those that directly follow it.
    pub(super) fn text(&mut self) -> Result<Cow<'a, str>, Reason> {
        if let Some(text) = self.plain_text() {
            return Ok(Cow::Borrowed(text));
        }
        let mut text = self.literal()?;
        while self.another_follows() {
            text.push_str(&self.literal()?);
        }
        Ok(Cow::Owned(text))
    }

    fn another_follows(&mut self) -> bool {
        self.skip_space();
        match self.peek() {
            Some(b'\'' | b'"') => true,
            Some(b'r' | b'R' | b'u' | b'U') => matches!(self.peek_at(1), Some(b'\'' | b'"')),
            _ => false,
        }
    }

    fn literal(&mut self) -> Result<String, Reason> {
        let raw = self.prefix()?;
        let quote = self.peek().unwrap_or_default();
        let triple = self.peek_at(1) == Some(quote) && self.peek_at(2) == Some(quote);
        self.at += if triple { 3 } else { 1 };
        self.spelled_out(Style { quote, triple, raw })
    }

    /// Steps over the prefix, up to the quote: whether the literal is raw.
    fn prefix(&mut self) -> Result<bool, Reason> {
        let raw = match self.peek() {
            Some(b'\'' | b'"') => return Ok(false),
            Some(b'r' | b'R') => true,
            Some(b'u' | b'U') => false,
            _ => return Err(self.syntax("bytes, an f-string or an unknown prefix")),
        };
        if !matches!(self.peek_at(1), Some(b'\'' | b'"')) {
            return Err(self.syntax("bytes, an f-string or an unknown prefix"));
        }
        self.at += 1;
        Ok(raw)
    }

    /// The text of a literal that is more than a run of plain characters; the cursor is behind its opening quotes.
    fn spelled_out(&mut self, style: Style) -> Result<String, Reason> {
        let mut out = String::new();
        loop {
            let start = self.at;
            self.at = literal_run(self.text.as_bytes(), start, style.quote);
            out.push_str(self.since(start));
            match self.peek() {
                None => return Err(self.syntax("the text ends inside a string")),
                Some(0) => return Err(self.syntax("a NUL byte")),
                Some(b'\\') if style.raw => self.raw_backslash(&mut out),
                Some(b'\\') => self.escape(&mut out)?,
                Some(b'\n' | b'\r') if !style.triple => return Err(self.syntax("a line end inside a string")),
                Some(b'\n' | b'\r') => self.line_end(&mut out),
                Some(byte) if byte == style.quote && self.closes(style) => return Ok(out),
                Some(byte) => {
                    out.push(char::from(byte));
                    self.at += 1;
                }
            }
        }
    }

    /// Steps over the closing quotes, if the cursor is at them.
    fn closes(&mut self, style: Style) -> bool {
        let length = if style.triple { 3 } else { 1 };
        let closes = (0..length).all(|n| self.peek_at(n) == Some(style.quote));
        self.at += if closes { length } else { 0 };
        closes
    }

    /// Python reads every line end of its source as `\n`.
    fn line_end(&mut self, out: &mut String) {
        self.at += if self.rest().starts_with(b"\r\n") { 2 } else { 1 };
        out.push('\n');
    }

    /// In a raw literal a backslash is text, and so is the character after it, even a quote.
    fn raw_backslash(&mut self, out: &mut String) {
        self.at += 1;
        out.push('\\');
        match self.peek() {
            Some(byte @ (b'\\' | b'\'' | b'"')) => {
                out.push(char::from(byte));
                self.at += 1;
            }
            Some(b'\n' | b'\r') => self.line_end(out),
            _ => {}
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), Reason> {
        let start = self.at;
        self.at += 2;
        let plain = match self.text.as_bytes().get(start + 1) {
            Some(byte @ (b'\\' | b'\'' | b'"')) => char::from(*byte),
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'a') => '\u{7}',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'v') => '\u{b}',
            Some(b'0'..=b'7') => self.octal(start)?,
            Some(b'x') => self.hexadecimal(start, 2)?,
            Some(b'u') => self.hexadecimal(start, 4)?,
            Some(b'U') => self.hexadecimal(start, 8)?,
            Some(b'N') => self.named(start)?,
            Some(b'\n') => return Ok(()),
            Some(b'\r') => {
                self.take(b'\n');
                return Ok(());
            }
            _ => {
                // Not an escape: the backslash stays, and what follows it is read as usual.
                self.at = start + 1;
                '\\'
            }
        };
        out.push(plain);
        Ok(())
    }

    /// One to three octal digits; the cursor is behind the first.
    fn octal(&mut self, start: usize) -> Result<char, Reason> {
        let more = self.rest().iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
        self.at += more;
        self.character(start, u32::from_str_radix(self.since(start + 1), 8).ok())
    }

    /// Exactly `digits` hexadecimal digits.
    fn hexadecimal(&mut self, start: usize, digits: usize) -> Result<char, Reason> {
        let found = self.rest().iter().take(digits).take_while(|byte| byte.is_ascii_hexdigit()).count();
        if found != digits {
            return Err(self.syntax("an escape with too few digits"));
        }
        self.at += digits;
        self.character(start, u32::from_str_radix(self.since(start + 2), 16).ok())
    }

    /// `{NAME}` of a character.
    fn named(&mut self, start: usize) -> Result<char, Reason> {
        let unknown = Reason::new(ReasonKind::NotARecord, "an unknown character name").at(start);
        let name_start = self.at + 1;
        let length = self.rest().iter().take(LONGEST_NAME).position(|&byte| byte == b'}').ok_or(unknown)?;
        if !self.take(b'{') {
            return Err(unknown);
        }
        self.at = name_start + length - 1;
        let named = unicode_names2::character(self.since(name_start)).ok_or(unknown)?;
        self.at += 1;
        Ok(named)
    }

    fn character(&self, start: usize, code: Option<u32>) -> Result<char, Reason> {
        let kind = match code {
            Some(0xd800..=0xdfff) => Reason::new(ReasonKind::Unrepresentable, "a lone surrogate"),
            _ => Reason::new(ReasonKind::NotARecord, "an escape beyond the last character"),
        };
        code.and_then(char::from_u32).ok_or(kind.at(start))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::super::{Value, parse};

    fn accepts(text: &str, expected: &str) {
        let Ok(Value::Str(found)) = parse(text) else { panic!("{text}: {:?}", parse(text)) };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn escapes_are_those_of_python() {
        accepts(r"'\101\x41\u0041\U00000041\N{LATIN SMALL LETTER A}\z'", r"AAAAa\z");
        accepts(r#"'\\ \' \" \n\t\r\a\b\f\v'"#, "\\ ' \" \n\t\r\u{7}\u{8}\u{c}\u{b}");
        accepts(r"'\0\7\08\777\400'", "\u{0}\u{7}\u{0}8\u{1ff}\u{100}");
        accepts(r"'a\/b \é \8 \ud55c\uae00 \U0001f600'", "a\\/b \\é \\8 한글 😀");
        accepts("'a\\\nb\\\r\nc\\\rd'", "abcd");
        accepts(r"'\N{GREEK SMALL LETTER ALPHA}\N{hangul syllable gag}'", "α각");
    }

    #[test]
    fn quotes_nest_as_in_python() {
        accepts(r#"'say "hi"'"#, r#"say "hi""#);
        accepts(r#""it's""#, "it's");
        accepts("''", "");
        accepts(r#""""a "quoted" 'one' "" \" end \"""""#, r#"a "quoted" 'one' "" " end ""#);
        accepts("'''two\nlines\r\nthree\rfour'''", "two\nlines\nthree\nfour");
        accepts("''''''", "");
        accepts("'''a''b'''", "a''b");
        accepts("'tab\tand \u{1} and 한글'", "tab\tand \u{1} and 한글");
    }

    #[test]
    fn prefixes_say_how_to_read_backslashes() {
        accepts(r"r'\n\'\\'", r"\n\'\\");
        accepts(r"R'''a\''''", r"a\'");
        accepts(r"u'\n'", "\n");
        accepts("U'x'", "x");
        for text in ["b'x'", "rb'x'", "Br'x'", "f'x'", "rf'x'", "ur'x'", "t'x'", "é'x'", "r", "'a' b'c'", "True'x'"] {
            assert_eq!(read(text), Err("not-a-record"), "{text}");
        }
    }

    #[test]
    fn adjacent_literals_are_one_text() {
        accepts("'a' 'b'\t\"c\"", "abc");
        accepts("('a'\n r'\\b' u'c' '''d''')", "a\\bcd");
    }

    #[test]
    fn broken_strings_are_refused() {
        for text in [
            "'",
            "\"a",
            "'a\nb'",
            "'a\rb'",
            "'''a''",
            "'a\\",
            r"'a\'",
            r"r'a\'",
            r"'\x4'",
            r"'\xg0'",
            r"'\u004'",
            r"'\U0000004'",
            r"'\U00110000'",
            r"'\N'",
            r"'\N{'",
            r"'\N{}'",
            r"'\N{NO SUCH NAME}'",
            r"'\N{é}'",
            r"'\x+1'",
            r"'\NA}'",
            "'a\0b'",
            "'''a\0'''",
        ] {
            assert_eq!(read(text), Err("not-a-record"), "{text:?}");
        }
    }

    #[test]
    fn lone_surrogate_is_no_text() {
        for text in [r"'\ud83d'", r"'\udfff'", r"'\ud83d\ude00'", r"'\U0000d800'"] {
            assert_eq!(read(text), Err("unrepresentable"), "{text}");
        }
    }

    #[test]
    fn long_hostile_text_takes_linear_time() {
        let start = std::time::Instant::now();
        for text in [r"\N{".repeat(300_000), "'a'".repeat(300_000), "\\\n".repeat(500_000), "''".repeat(500_000)] {
            let quoted = format!("'{text}'");
            let _ = (parse(&quoted), parse(&text));
        }
        // Milliseconds; a square would be minutes.
        assert!(start.elapsed().as_secs() < 20);
    }
}
