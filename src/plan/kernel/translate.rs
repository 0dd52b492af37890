//! Translates a kernel's file to the text that a driver compiles.
//!
//! The files are WESL, which is WGSL with imports and conditions, plus one attribute of our own:
//! - `@if(FLAG)`, `@if(!A && B || C)` and `@else` keep or drop the declaration or statement after them.
//! - `@unroll for (var i = 0u; i < N; i++) { … }` repeats its body with `i` as a constant, because WGSL compilers do
//!   not unroll reliably.

use std::collections::HashMap;
use std::fmt::Write as _;

/// The meaning of names during translation.
#[derive(Clone, Default)]
pub(super) struct Names<'a> {
    /// Flags that are set.
    pub(super) flags: Vec<&'a str>,
    /// Constants. Those that the text declares are added during translation.
    pub(super) constants: HashMap<String, u64>,
}

const CONDITION: &str = "a condition ends in a parenthesis";

/// Appends the text with its conditions decided and its marked loops unrolled.
pub(super) fn translate(mut text: &str, names: &mut Names<'_>, out: &mut String) {
    while let Some(mark) = next_mark(text) {
        out.push_str(&text[..mark]);
        text = &text[mark..];
        if let Some(rest) = text.strip_prefix("@if(") {
            let (condition, rest) = rest.split_once(')').expect(CONDITION);
            let mut taken = holds(condition, &names.flags);
            text = decide(taken, rest, names, out);
            while let Some(rest) = text.trim_start().strip_prefix("@else") {
                let (other, rest) = match rest.trim_start().strip_prefix("@if(") {
                    Some(rest) => {
                        let (condition, rest) = rest.split_once(')').expect(CONDITION);
                        (holds(condition, &names.flags), rest)
                    }
                    None => (true, rest),
                };
                text = decide(other && !taken, rest, names, out);
                taken |= other;
            }
        } else if let Some(rest) = text.strip_prefix("@unroll") {
            let end = node_end(rest);
            unroll(rest[..end].trim_start(), names, out);
            text = &rest[end..];
        } else if let Some(rest) = text.strip_prefix("const ") {
            let end = rest.find(';').map_or(rest.len(), |end| end + 1);
            if let Some((name, value)) = rest[..end].trim_end_matches(';').split_once(" = ")
                && let Some(value) = evaluate(value, &names.constants)
            {
                names.constants.insert(name.trim().into(), value);
            }
            out.push_str(&text[.."const ".len() + end]);
            text = &rest[end..];
        } else {
            out.push('@');
            text = &text[1..];
        }
    }
    out.push_str(text);
}

/// The next attribute or constant.
fn next_mark(text: &str) -> Option<usize> {
    let attribute = text.find('@');
    let constant = text.match_indices("const ").map(|(at, _)| at).find(|&at| !ends_in_name(&text[..at]));
    [attribute, constant].into_iter().flatten().min()
}

/// Translates the declaration or statement at the start of `text` if it is kept. Returns what follows it.
fn decide<'t>(kept: bool, text: &'t str, names: &mut Names<'_>, out: &mut String) -> &'t str {
    let end = node_end(text);
    if kept {
        translate(&text[..end], names, out);
    }
    &text[end..]
}

fn unroll(text: &str, names: &mut Names<'_>, out: &mut String) {
    const FORM: &str = "`@unroll` stands before `for (var i = 0u; i < N; i++) {`";
    let (head, body) = text.split_once('{').expect(FORM);
    let (counter, bound) = loop_head(head).expect(FORM);
    let bound = evaluate(bound, &names.constants).expect("an unrolled loop runs to a constant");
    let body = body.trim_end().strip_suffix('}').expect(FORM);
    let outer = names.constants.get(counter).copied();
    for step in 0..bound {
        let _ = writeln!(out, "{{ const {counter} = {step}u;");
        names.constants.insert(counter.into(), step);
        translate(body, names, out);
        out.push_str("}\n");
    }
    match outer {
        Some(value) => names.constants.insert(counter.into(), value),
        None => names.constants.remove(counter),
    };
}

/// Counter and bound of `for (var NAME = 0u; NAME < BOUND; NAME++)`.
fn loop_head(head: &str) -> Option<(&str, &str)> {
    let rest = head.trim().strip_prefix("for (var ")?;
    let (counter, rest) = rest.split_once(" = 0u; ")?;
    let bound = rest.strip_prefix(counter)?.strip_prefix(" < ")?.split(';').next()?;
    Some((counter, bound))
}

/// The end of the declaration or statement at the start of a text: after its semicolon or closing brace.
pub(super) fn node_end(text: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && (c == ';' || c == '}') {
            return at + 1;
        }
    }
    text.len()
}

/// Whether a condition of flags, `!`, `&&` and `||` holds.
pub(super) fn holds(condition: &str, flags: &[&str]) -> bool {
    let factor = |factor: &str| match factor.trim().strip_prefix('!') {
        Some(name) => !flags.contains(&name.trim()),
        None => flags.contains(&factor.trim()),
    };
    condition.split("||").any(|term| term.split("&&").all(factor))
}

/// The words of a text that may be names: not those after a dot.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find(|c: char| c.is_ascii_alphanumeric() || c == '_')?;
            let member = rest[..start].ends_with('.');
            let word = &rest[start..];
            let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(word.len());
            rest = &word[end..];
            if !member {
                return Some(&word[..end]);
            }
        }
    })
}

fn ends_in_name(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

/// The value of an expression of `+ - * / %`, parentheses, whole numbers and known names.
pub(super) fn evaluate(expression: &str, names: &HashMap<String, u64>) -> Option<u64> {
    let mut rest = expression.trim();
    let value = sum(&mut rest, names)?;
    rest.trim().is_empty().then_some(value)
}

fn sum(rest: &mut &str, names: &HashMap<String, u64>) -> Option<u64> {
    let mut value = product(rest, names)?;
    while let Some(operator) = next_operator(rest, "+-") {
        let right = product(rest, names)?;
        value = if operator == '+' { value.checked_add(right)? } else { value.checked_sub(right)? };
    }
    Some(value)
}

fn product(rest: &mut &str, names: &HashMap<String, u64>) -> Option<u64> {
    let mut value = factor(rest, names)?;
    while let Some(operator) = next_operator(rest, "*/%") {
        let right = factor(rest, names)?;
        value = match operator {
            '*' => value.checked_mul(right)?,
            '/' => value.checked_div(right)?,
            _ => value.checked_rem(right)?,
        };
    }
    Some(value)
}

fn factor(rest: &mut &str, names: &HashMap<String, u64>) -> Option<u64> {
    *rest = rest.trim_start();
    if let Some(inner) = rest.strip_prefix('(') {
        *rest = inner;
        let value = sum(rest, names)?;
        *rest = rest.trim_start().strip_prefix(')')?;
        return Some(value);
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (word, tail) = rest.split_at(end);
    *rest = tail;
    word.strip_suffix('u').unwrap_or(word).parse().ok().or_else(|| names.get(word).copied())
}

fn next_operator(rest: &mut &str, accepted: &str) -> Option<char> {
    let trimmed = rest.trim_start();
    let operator = trimmed.chars().next().filter(|c| accepted.contains(*c))?;
    *rest = &trimmed[1..];
    Some(operator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(text: &str, flags: &[&str]) -> String {
        let mut names = Names { flags: flags.to_vec(), constants: HashMap::from([("N".into(), 2)]) };
        let mut out = String::new();
        translate(text, &mut names, &mut out);
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn conditions_keep_one_declaration_or_statement() {
        let text =
            "@if(A) fn f() { g(); } @else fn f() { h(); } @if(!A && B) const x = 1; @group(0) var y: u32;";
        assert_eq!(translated(text, &["A", "B"]), "fn f() { g(); } @group(0) var y: u32;");
        assert_eq!(translated(text, &["B"]), "fn f() { h(); } const x = 1; @group(0) var y: u32;");
        assert_eq!(translated("@if(A || B) a(); b();", &["B"]), "a(); b();");
        assert_eq!(translated("@if(A) a(); @else @if(B) b(); @else c();", &["B"]), "b();");
        assert_eq!(translated("@if(A) a(); @else @if(B) b(); @else c();", &[]), "c();");
    }

    #[test]
    fn marked_loops_repeat_their_bodies_with_the_counter_as_a_constant() {
        let text = "const M = N + 1u; @unroll for (var i = 0u; i < M - 1u; i++) { @if(A) a[i] = i; }";
        let body = |i| format!("{{ const i = {i}u; a[i] = i; }}");
        assert_eq!(translated(text, &["A"]), format!("const M = N + 1u; {} {}", body(0), body(1)));
        assert_eq!(translated("myconst = 1;", &[]), "myconst = 1;");
    }

    #[test]
    fn expressions_are_whole_numbers_or_nothing() {
        let names = HashMap::from([("A".to_string(), 7)]);
        let value = |text| evaluate(text, &names);
        assert_eq!(value("(A + 1u) * 2 - A / 2 % 2"), Some(15));
        assert_eq!([value("A - 8"), value("A / 0"), value("B"), value("A A"), value("")], [None; 5]);
    }
}
