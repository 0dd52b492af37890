//! Text output: tables, sizes, and nothing that could control a terminal.

use crate::error::{Error, Result};
use std::io::Write;

/// Prints to stdout. A reader that closes the pipe early (`| head`) is not an error.
pub(super) fn print(text: &str) -> Result<()> {
    let printable: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let mut out = std::io::stdout().lock();
    match out.write_all(printable.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("standard output".as_ref())(e)),
        _ => Ok(()),
    }
}

/// Prints one line on stderr. Names and messages from files may contain anything. A closed stderr is not an error.
pub(super) fn say(text: &str) {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let _ = writeln!(std::io::stderr(), "unet: {line}");
}

/// Columns as wide as their widest entry. The first `left` columns are aligned left, the others right.
pub(super) fn table(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, &width))| match i < left {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One row of a [`table`].
pub(super) fn row<const N: usize>(cells: [&dyn std::fmt::Display; N]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

/// A number with a noun, in the plural if necessary.
pub(super) fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// A number of bytes as MiB.
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// An integer with thousands separators.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate with the unit that keeps it short: `61.2 TFLOP/s`, `812 GB/s`.
pub(super) fn rate(per_second: f64, unit: &str) -> String {
    let (value, prefix) = match per_second {
        r if r >= 1e12 => (r / 1e12, "T"),
        r if r >= 1e9 => (r / 1e9, "G"),
        r => (r / 1e6, "M"),
    };
    format!("{value:.*} {prefix}{unit}/s", usize::from(value < 100.0))
}

/// A time as ISO 8601 in UTC, from seconds since 1970. Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
pub(super) fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    // Months count from March, so the leap day is the last.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_rates_read_as_people_write_them() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(date(1_767_225_599), "2025-12-31T23:59:59Z");
        assert_eq!(rate(61.24e12, "FLOP"), "61.2 TFLOP/s");
        assert_eq!(rate(812.4e9, "B"), "812 GB/s");
        assert_eq!(rate(2.5e6, "B"), "2.5 MB/s");
    }
}
