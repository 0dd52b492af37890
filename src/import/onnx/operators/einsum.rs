//! `Einsum` of one or two operands: sums, permutations and products.

use super::*;

/// Letters that stand for the axes of an ellipsis.
const REST: std::ops::Range<u8> = 0..16;

impl<'a> Builder<'a> {
    pub(super) fn einsum(&mut self, reader: &Reader<'a>) -> Result<Live> {
        let name = reader.name();
        let lives = (0..reader.node.input.len()).map(|i| self.live(reader, i)).collect::<Result<Vec<_>>>()?;
        let ranks: Vec<usize> = lives.iter().map(|live| live.view.rank()).collect();
        let equation = Equation::parse(&reader.text("equation", ""), &ranks).ok_or_else(|| {
            reader.unsupported("only sums, permutations and products of two operands without diagonals are")
        })?;
        let result = &equation.result;
        match (&lives[..], &equation.terms[..]) {
            ([live], [term]) => {
                let (live, term) = self.summed(name, live, term, |letter| result.contains(&letter))?;
                self.ordered(&live, &term, result)
            }
            ([a, b], [left, right]) => {
                let (a, left) = self.summed(name, a, left, |l| result.contains(&l) || right.contains(&l))?;
                let (b, right) = self.summed(name, b, right, |l| result.contains(&l) || left.contains(&l))?;
                let both = |l: &&u8| left.contains(l) && right.contains(l);
                let batch: Vec<u8> = result.iter().filter(both).copied().collect();
                let inner: Vec<u8> =
                    left.iter().filter(both).filter(|l| !result.contains(l)).copied().collect();
                let own = |term: &[u8], other: &[u8]| -> Vec<u8> {
                    term.iter().filter(|l| !other.contains(l)).copied().collect()
                };
                let (rows, columns) = (own(&left, &right), own(&right, &left));
                let made = [&batch[..], &rows, &columns].concat();
                let (a, a_dims) = self.matrices(&a, &left, [&batch, &rows, &inner])?;
                let (b, b_dims) = self.matrices(&b, &right, [&batch, &inner, &columns])?;
                let product = match inner.is_empty() {
                    true => self.pair(name, BinaryKind::Mul, &a, &b)?,
                    false => self.product(name, &a, &b)?,
                };
                let extent = |l: &u8| {
                    let in_left = left.iter().position(|k| k == l).map(|i| a_dims[i]);
                    in_left.or_else(|| right.iter().position(|k| k == l).map(|i| b_dims[i])).unwrap_or(1)
                };
                let dims: Vec<usize> = made.iter().map(extent).collect();
                let product = self.reshaped_live(&product, &dims)?;
                self.ordered(&product, &made, result)
            }
            _ => Err(reader.unsupported("only one or two operands are")),
        }
    }

    /// The operand without the axes that nothing else has.
    fn summed(
        &mut self,
        name: &str,
        live: &Live,
        term: &[u8],
        wanted: impl Fn(u8) -> bool,
    ) -> Result<(Live, Vec<u8>)> {
        let dropped: Vec<usize> = (0..term.len()).filter(|&i| !wanted(term[i])).collect();
        if dropped.is_empty() {
            return Ok((live.clone(), term.to_vec()));
        }
        let left = term.iter().copied().filter(|&l| wanted(l)).collect();
        Ok((self.reduced(name, live, ReduceKind::Sum, &dropped, false)?, left))
    }

    /// The axes in the order of other letters.
    fn ordered(&self, live: &Live, term: &[u8], wanted: &[u8]) -> Result<Live> {
        let order: Vec<usize> = wanted.iter().filter_map(|l| term.iter().position(|k| k == l)).collect();
        Ok(Live::new(live.id, live.view.permuted(&order)?))
    }

    /// The operand with three groups of its axes as one axis each, and its extents.
    fn matrices(&mut self, live: &Live, term: &[u8], groups: [&[u8]; 3]) -> Result<(Live, Vec<usize>)> {
        let dims = live.dims();
        let ordered = self.ordered(live, term, &groups.concat())?;
        let extent = |l: &u8| term.iter().position(|k| k == l).map_or(1, |i| dims[i]);
        let joined = groups.map(|group| group.iter().map(extent).product::<usize>());
        Ok((self.reshaped_live(&ordered, &joined)?, dims))
    }
}

/// The axes of the operands and of the result as letters.
struct Equation {
    terms: Vec<Vec<u8>>,
    result: Vec<u8>,
}

impl Equation {
    /// `None` if the equation does not fit operands of these ranks, or asks for a diagonal.
    fn parse(text: &str, ranks: &[usize]) -> Option<Equation> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, result) = match text.split_once("->") {
            Some((left, result)) => (left, Some(result)),
            None => (text.as_str(), None),
        };
        let parts: Vec<&str> = left.split(',').collect();
        if parts.len() != ranks.len() {
            return None;
        }
        // The axes of an ellipsis are counted from the last.
        let rest = |part: &str, rank: usize| -> Option<usize> {
            match part.contains("...") {
                true => rank.checked_sub(part.len() - 3),
                false => (part.len() == rank).then_some(0),
            }
        };
        let counts =
            parts.iter().zip(ranks).map(|(part, &rank)| rest(part, rank)).collect::<Option<Vec<_>>>()?;
        let most = counts.iter().copied().max().unwrap_or(0);
        let letters = |part: &str, count: usize| -> Option<Vec<u8>> {
            let all = REST.len().checked_sub(count).map(|_| (REST.start..count as u8).rev())?;
            let letters = match part.split_once("...") {
                Some((before, behind)) => {
                    [before.as_bytes(), &all.collect::<Vec<_>>(), behind.as_bytes()].concat()
                }
                None => part.as_bytes().to_vec(),
            };
            let is_letter = |&l: &u8| l.is_ascii_alphabetic() || REST.contains(&l);
            let once = (1..letters.len()).all(|i| !letters[..i].contains(&letters[i]));
            (once && letters.iter().all(is_letter)).then_some(letters)
        };
        let terms = parts
            .iter()
            .zip(&counts)
            .map(|(part, &count)| letters(part, count))
            .collect::<Option<Vec<_>>>()?;
        let result = match result {
            Some(result) => letters(result, most)?,
            // The axes of the ellipsis, then the letters that occur once, in the order of the alphabet.
            None => {
                let count = |l: &u8| terms.iter().flatten().filter(|k| *k == l).count();
                let mut once: Vec<u8> =
                    terms.iter().flatten().filter(|l| !REST.contains(l) && count(l) == 1).copied().collect();
                once.sort_unstable();
                (REST.start..most as u8).rev().chain(once).collect()
            }
        };
        let known = |l: &u8| terms.iter().any(|term| term.contains(l));
        result.iter().all(known).then_some(Equation { terms, result })
    }
}
