//! Where two lists of lines first differ, as a diff shows it. Pure.
//!
//! Invariant: what is shown is bounded, however much differs; equal lists give nothing. It need not be the shortest way from the one to the
//! other: lines that moved far are shown as gone and come.

use std::fmt::Write as _;

/// The most lines that are shown.
const SHOWN: usize = 20;
/// How far ahead a line is looked for that both have.
const AHEAD: usize = 64;

/// The first differences: `-` before a line that only `expected` has, `+` before one that only `found` has, below the line of `expected`
/// where they begin. Empty: there are none.
pub(crate) fn first_differences(expected: &[&str], found: &[&str]) -> String {
    let (mut text, mut shown, mut at) = (String::new(), 0, (0, 0));
    while let Some((left, right)) = rest(expected, found, &mut at) {
        if shown >= SHOWN {
            text.push_str("… and more\n");
            break;
        }
        let (gone, come) = until_equal(left, right);
        let _ = writeln!(text, "@@ line {} @@", at.0 + 1);
        let lines =
            left.iter().take(gone).map(|line| ('-', line)).chain(right.iter().take(come).map(|line| ('+', line)));
        for (sign, line) in lines.take(SHOWN - shown) {
            let _ = writeln!(text, "{sign} {line}");
        }
        shown += gone + come;
        at = (at.0 + gone, at.1 + come);
    }
    text
}

/// What follows the lines that are equal from `at` on. `None`: nothing.
fn rest<'l, 's>(
    left: &'l [&'s str],
    right: &'l [&'s str],
    at: &mut (usize, usize),
) -> Option<(&'l [&'s str], &'l [&'s str])> {
    let tails = (left.get(at.0..)?, right.get(at.1..)?);
    let equal = tails.0.iter().zip(tails.1).take_while(|(a, b)| a == b).count();
    *at = (at.0 + equal, at.1 + equal);
    let (left, right) = (tails.0.get(equal..)?, tails.1.get(equal..)?);
    (!left.is_empty() || !right.is_empty()).then_some((left, right))
}

/// How many lines of either side come before the next that both have; all of them where there is none near.
fn until_equal(left: &[&str], right: &[&str]) -> (usize, usize) {
    for sum in 1..2 * AHEAD {
        for gone in sum.saturating_sub(AHEAD)..=sum.min(AHEAD) {
            let come = sum - gone;
            if left.get(gone).is_some_and(|line| right.get(come) == Some(line)) {
                return (gone, come);
            }
        }
    }
    (left.len(), right.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_that_only_one_side_has_are_signed() {
        let diff = |left: &str, right: &str| {
            let (left, right): (Vec<_>, Vec<_>) = (left.lines().collect(), right.lines().collect());
            first_differences(&left, &right)
        };
        assert_eq!(diff("a\nb\nc", "a\nb\nc"), "");
        assert_eq!(diff("a\nb\nc", "a\nx\nc"), "@@ line 2 @@\n- b\n+ x\n");
        assert_eq!(diff("a\nb\nc", "a\nc\nd"), "@@ line 2 @@\n- b\n@@ line 4 @@\n+ d\n");
        assert_eq!(diff("", "a"), "@@ line 1 @@\n+ a\n");
        assert_eq!(diff("a\nb", "a"), "@@ line 2 @@\n- b\n");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_short_and_nothing_only_where_all_is_equal(
            left in prop::collection::vec(prop::sample::select(&["a", "b", "c"][..]), 0..300),
            right in prop::collection::vec(prop::sample::select(&["a", "b", "c"][..]), 0..300),
        ) {
            let text = first_differences(&left, &right);
            prop_assert_eq!(text.is_empty(), left == right);
            prop_assert!(text.lines().count() <= 2 * SHOWN + 2, "{}", text);
            prop_assert_eq!(first_differences(&left, &left), "");
        }
    }
}
