//! Text from outside, made harmless for a terminal and a log: no character of it acts, and none begins a line.
//!
//! Names of files, hosts, headers, keys and other people's texts go through here where they are printed: the log, stdout, the cells of
//! a table, a page. A character that could move the cursor, change the title, begin a line or change the reading direction is
//! written as its escape, `\n` or `\u{1b}`, so that readers still see what it was. Invariant: what [`clean`] returns is one line
//! without any such character. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether `c` acts on a terminal or on the layout of text: control characters (C0, DEL, C1), the separators of lines and
/// paragraphs, and what turns the reading direction.
pub fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `text` as one line.
pub fn clean(text: &str) -> Cow<'_, str> {
    cleaned(text, acts)
}

/// `text` of several lines: line ends and tabs stay.
pub(crate) fn clean_lines(text: &str) -> Cow<'_, str> {
    cleaned(text, |c| acts(c) && c != '\n' && c != '\t')
}

fn cleaned(text: &str, must_go: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&must_go) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if must_go(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// A text of several lines that this program styled: line ends and the sequences that only choose a style (`ESC [ … m`) stay.
/// Parts from outside were cleaned before they were styled.
pub(crate) fn clean_styled(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, behind)) = rest.split_once('\u{1b}') {
        clean.push_str(&clean_lines(plain));
        match style_length(behind) {
            Some((style, after)) => {
                clean.push('\u{1b}');
                clean.push_str(style);
                rest = after;
            }
            None => {
                clean.push_str("\\u{1b}");
                rest = behind;
            }
        }
    }
    clean.push_str(&clean_lines(rest));
    clean
}

/// Splits `[ … m` off.
fn style_length(behind_escape: &str) -> Option<(&str, &str)> {
    let numbers = behind_escape.strip_prefix('[')?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers.get(end..)?.starts_with('m').then(|| behind_escape.split_at_checked(end + 2))?
}

/// JSON with every such character as its escape, which JSON readers decode. Outside of strings there are only line ends,
/// which stay.
pub fn clean_json(json: &str) -> Cow<'_, str> {
    let must_go = |c: char| acts(c) && c != '\n';
    if !json.chars().any(must_go) {
        return Cow::Borrowed(json);
    }
    let mut clean = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        if must_go(c) {
            // All of them have code points of four digits.
            let _ = write!(clean, "\\u{:04x}", u32::from(c));
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_acts_is_written_as_its_escape_and_all_else_stays() {
        for (text, plain) in [
            ("plain – «é» 漢字 🎉 \\ \" '", "plain – «é» 漢字 🎉 \\ \" '"),
            ("\u{1b}]0;title\u{7}\u{1b}[31m", r"\u{1b}]0;title\u{7}\u{1b}[31m"),
            ("a\r\nb\tc", r"a\r\nb\tc"),
            ("\u{9b}31m\u{7f}\u{85}", r"\u{9b}31m\u{7f}\u{85}"),
            ("\u{202e}txt.exe\u{2066}\u{200f}\u{2028}", r"\u{202e}txt.exe\u{2066}\u{200f}\u{2028}"),
        ] {
            assert_eq!(clean(text), plain);
        }
        assert_eq!(clean_lines("a\n\tb\r\u{1b}[2J"), "a\n\tb\\r\\u{1b}[2J");
    }

    #[test]
    fn styles_stay_and_other_sequences_do_not() {
        let styled = "\u{1b}[1;31mred\u{1b}[0m\n\u{1b}[mplain";
        assert_eq!(clean_styled(styled), styled);
        for acting in
            ["\u{1b}[2J", "\u{1b}]0;m\u{7}", "\u{1b}", "\u{1b}[", "\u{1b}[31", "\u{1b}[?25l", "\u{1b}\u{1b}[2A"]
        {
            assert!(!clean_styled(acting).contains('\u{1b}'), "{acting:?}");
        }
    }

    proptest! {
        #[test]
        fn clean_text_is_one_line_in_which_nothing_acts(text in any::<String>()) {
            prop_assert!(!clean(&text).contains(acts));
            prop_assert!(!clean_lines(&text).contains(|c| acts(c) && c != '\n' && c != '\t'));
        }

        #[test]
        fn clean_json_means_the_same(text in any::<String>(), odd in "[\u{1}-\u{1f}\u{7f}-\u{9f}\u{2028}-\u{202e}\u{feff}]{0,8}") {
            let value = serde_json::json!({ odd.clone(): text + &odd });
            let json = serde_json::to_string(&value).unwrap();
            let clean = clean_json(&json);
            prop_assert!(!clean.contains(acts));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&clean).unwrap(), value);
        }
    }
}
