//! Documents, read as far as tests want to hold them against the code.

use std::fs;
use std::path::Path;

/// The text of a document, by its path in the repository.
pub fn document(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A page of the manual.
pub fn page(name: &str) -> String {
    document(&format!("src/docs/{name}.md"))
}

/// All pages of the manual.
pub fn manual() -> Vec<String> {
    let names = [
        "configuration",
        "operations",
        "sources",
        "profiles",
        "lake",
        "cluster",
        "querying",
        "guarantees",
        "proof",
        "comparison",
    ];
    names.map(page).to_vec()
}

/// The fenced blocks of a language, in order.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let (mut blocks, mut open) = (Vec::new(), None::<(bool, String)>);
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(found)) => open = Some((found == language, String::new())),
            (Some((_, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (Some(_), Some(_)) => blocks.extend(open.take().filter(|(wanted, _)| *wanted).map(|(_, block)| block)),
            (None, None) => {}
        }
    }
    blocks
}

/// What stands between backticks within the text, outside of fenced blocks.
pub fn inline_code(text: &str) -> Vec<String> {
    let mut in_block = false;
    let lines = text.lines().filter(|line| {
        in_block ^= line.starts_with("```");
        !in_block && !line.starts_with("```")
    });
    let text = lines.collect::<Vec<_>>().join(" ");
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The tables of a text: their rows, the head among them, each split into its cells.
pub fn table(text: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables = vec![Vec::new()];
    for line in text.lines() {
        match line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) {
            Some(cells) => {
                tables.last_mut().unwrap().push(cells.split('|').map(|cell| cell.trim().to_owned()).collect());
            }
            None => tables.push(Vec::new()),
        }
    }
    tables.retain(|table: &Vec<Vec<String>>| !table.is_empty());
    tables
}

/// The rows of the table whose first column has that title.
#[track_caller]
pub fn rows(text: &str, title: &str) -> Vec<Vec<String>> {
    let found = table(text).into_iter().find(|table| table[0][0] == title);
    found.unwrap_or_else(|| panic!("no table {title:?}")).split_off(2)
}
