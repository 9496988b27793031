//! Rows of JSON as a table for people.
//!
//! Every list of the daemon is an array of objects. A [`Column`] knows how one
//! cell is made of an object; a table that is wider than the terminal loses its
//! least important columns and says so, rather than wrap.

use std::fmt::Write;

use crate::admin::client::Row;

/// Where a column's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column.
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Numbers to the right.
    pub align: Align,
    /// 0: always shown; the highest go first where the terminal is narrow.
    pub rank: u8,
    /// The text of one row.
    pub cell: fn(&Row) -> String,
}

/// Blanks between two columns.
const GAP: usize = 2;

/// The table, lines ending with a newline. `width`: of the terminal, if there is
/// one.
pub fn render(columns: &[Column], rows: &[Row], width: Option<usize>) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| columns.iter().map(|column| (column.cell)(row)).collect())
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let cells = cells.iter().map(|row| row[i].chars().count());
            cells.max().unwrap_or(0).max(column.title.chars().count())
        })
        .collect();
    let (shown, hidden) = fit(columns, &widths, width);

    let mut text = String::new();
    line(&mut text, &shown, columns, &widths, |i| columns[i].title);
    for row in &cells {
        line(&mut text, &shown, columns, &widths, |i| &row[i]);
    }
    if !hidden.is_empty() {
        let titles: Vec<&str> = hidden.iter().map(|&i| columns[i].title).collect();
        let titles = titles.join(", ").to_lowercase();
        let _ = writeln!(text, "(too narrow for: {titles}; --json has all)");
    }
    text
}

/// Which columns fit, and which do not.
fn fit(columns: &[Column], widths: &[usize], width: Option<usize>) -> (Vec<usize>, Vec<usize>) {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let mut hidden = Vec::new();
    let Some(width) = width else {
        return (shown, hidden);
    };
    let total = |shown: &[usize]| -> usize {
        let gaps = GAP * shown.len().saturating_sub(1);
        shown.iter().map(|&i| widths[i]).sum::<usize>() + gaps
    };
    while total(&shown) > width {
        let least = shown.iter().copied().max_by_key(|&i| columns[i].rank);
        let Some(least) = least.filter(|&i| columns[i].rank > 0) else {
            break;
        };
        shown.retain(|&i| i != least);
        hidden.push(least);
    }
    hidden.sort_unstable();
    (shown, hidden)
}

fn line<'a>(
    text: &mut String,
    shown: &[usize],
    columns: &[Column],
    widths: &[usize],
    cell: impl Fn(usize) -> &'a str,
) {
    let start = text.len();
    for (n, &i) in shown.iter().enumerate() {
        if n > 0 {
            text.push_str(&" ".repeat(GAP));
        }
        let (cell, width) = (cell(i), widths[i]);
        // Writing to a string cannot fail.
        let _ = match columns[i].align {
            Align::Left => write!(text, "{cell:<width$}"),
            Align::Right => write!(text, "{cell:>width$}"),
        };
    }
    text.truncate(start + text[start..].trim_end().len());
    text.push('\n');
}

/// Width of the terminal on standard output; `None` where it is none.
pub fn terminal_width() -> Option<usize> {
    terminal().map(|(width, _)| usize::from(width.0))
}

/// Its height.
pub fn terminal_height() -> Option<usize> {
    terminal().map(|(_, height)| usize::from(height.0))
}

fn terminal() -> Option<(terminal_size::Width, terminal_size::Height)> {
    terminal_size::terminal_size_of(std::io::stdout())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn rows() -> Vec<Row> {
        let row = |name: &str, n: u32| match serde_json::json!({"name": name, "n": n}) {
            Value::Object(row) => row,
            _ => unreachable!("an object"),
        };
        vec![row("a", 7), row("längeres", 1234)]
    }

    fn columns() -> [Column; 2] {
        [
            Column {
                title: "NAME",
                align: Align::Left,
                rank: 0,
                cell: |row| row["name"].as_str().unwrap_or_default().to_owned(),
            },
            Column {
                title: "N",
                align: Align::Right,
                rank: 1,
                cell: |row| row["n"].to_string(),
            },
        ]
    }

    #[test]
    fn columns_align_by_characters_and_lines_end_without_blanks() {
        let text = render(&columns(), &rows(), None);
        assert_eq!(text, "NAME         N\na            7\nlängeres  1234\n");
    }

    #[test]
    fn a_narrow_terminal_loses_the_least_important_column_and_says_so() {
        let text = render(&columns(), &rows(), Some(13));
        assert_eq!(
            text,
            "NAME\na\nlängeres\n(too narrow for: n; --json has all)\n"
        );
        let text = render(&columns(), &rows(), Some(14));
        assert!(text.contains("1234"), "{text}");
    }
}
