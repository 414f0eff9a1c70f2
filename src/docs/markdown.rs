//! As much of Markdown as the manual uses, read into blocks: for the terminal and for `man`.
//!
//! Pure. Everything between two lines of three backticks is code; a table's cells hold no `|`.

/// A block of a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block<'a> {
    /// A heading, and its level from 1.
    Heading(usize, &'a str),
    /// A paragraph, on one line.
    Paragraph(String),
    /// An item of a list, on one line.
    Item(String),
    /// Lines as they stand.
    Code(Vec<&'a str>),
    /// The rows of a table, the first of them its head.
    Table(Vec<Vec<&'a str>>),
}

/// The blocks of `page`.
pub(crate) fn blocks(page: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut lines, mut open) = (Vec::new(), page.lines(), false);
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            blocks.push(Block::Code(lines.by_ref().take_while(|line| !line.starts_with("```")).collect()));
        } else if line.starts_with('#') {
            let title = line.trim_start_matches('#');
            blocks.push(Block::Heading(line.len() - title.len(), title.trim()));
        } else if line.starts_with('|') {
            add_row(&mut blocks, line);
        } else if let Some(item) = line.strip_prefix("- ") {
            blocks.push(Block::Item(item.to_owned()));
        } else if !line.trim().is_empty() && !line.starts_with("<!--") {
            add_text(&mut blocks, line.trim(), open);
        }
        open = !line.trim().is_empty();
    }
    blocks
}

/// Adds a line of text: to the paragraph or item that is `open`, or as a new paragraph.
fn add_text(blocks: &mut Vec<Block<'_>>, line: &str, open: bool) {
    match blocks.last_mut() {
        Some(Block::Paragraph(text) | Block::Item(text)) if open => {
            text.push(' ');
            text.push_str(line);
        }
        _ => blocks.push(Block::Paragraph(line.to_owned())),
    }
}

fn add_row<'a>(blocks: &mut Vec<Block<'a>>, line: &'a str) {
    let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
    let is_rule = cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| "-:".contains(c)));
    match blocks.last_mut() {
        Some(Block::Table(_)) if is_rule => {}
        Some(Block::Table(rows)) => rows.push(cells),
        _ => blocks.push(Block::Table(vec![cells])),
    }
}

/// The text of a line as a reader wants it: without the marks of strong text, and of a link only its name.
pub(crate) fn plain(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some((before, name, behind)) = link(rest) {
        plain.push_str(before);
        plain.push_str(name);
        rest = behind;
    }
    plain.push_str(rest);
    plain.replace("**", "")
}

/// The first link of `text`: what is before it, its name, what is behind it.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let (head, rest) = text.split_once("](")?;
    let (before, name) = head.rsplit_once('[')?;
    let (_, behind) = rest.split_once(')')?;
    Some((before, name, behind))
}

/// The label of an item or a cell that begins with strong text, and the rest: `**name** — rest`.
pub(crate) fn labelled(text: &str) -> Option<(&str, &str)> {
    let (label, rest) = text.strip_prefix("**")?.split_once("**")?;
    Some((label, rest.trim_start_matches([' ', '—'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_read_block_by_block() {
        let page = "# A\n\nOne\ntwo.\n<!-- no -->\n\n- **`k`** — text\n  more\n- b\n\n| x | y |\n|---|--:|\n| 1 | [n](u) |\n\n```sh\n# code\n\n```\n";
        let expected = [
            Block::Heading(1, "A"),
            Block::Paragraph("One two.".into()),
            Block::Item("**`k`** — text more".into()),
            Block::Item("b".into()),
            Block::Table(vec![vec!["x", "y"], vec!["1", "[n](u)"]]),
            Block::Code(vec!["# code", ""]),
        ];
        assert_eq!(blocks(page), expected);
    }

    #[test]
    fn marks_are_for_renderers_only() {
        assert_eq!(
            plain("**Who** reads [the lake](lake.md#x) and `a[0]`, see [b](c)."),
            "Who reads the lake and `a[0]`, see b."
        );
        assert_eq!(labelled("**`load.to`** — text, no default"), Some(("`load.to`", "text, no default")));
        assert_eq!(labelled("text"), None);
    }
}
