//! The tokens of CLIP's text encoders.

use crate::error::{Error, Result};
use regex::Regex;
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// The tokens of a prompt, with the marks of its beginning and end.
const LENGTH: usize = 77;
/// Bytes of a prompt. The time for one word grows with the square of its length.
const MAX_BYTES: usize = 16 * 1024;
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
/// Contractions, words, single digits, and runs of other characters.
const PIECES: &str = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";

/// CLIP's byte-pair encoding (Radford et al. 2021), as the `CLIPTokenizer` of transformers does it: text in Unicode's
/// composed form and in lower case, without repairs of broken text.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    ids: HashMap<String, u32>,
    /// The rank and the result of each pair that is joined.
    merges: HashMap<(u32, u32), (usize, u32)>,
    start: u32,
    end: u32,
    padding: u32,
    pieces: Regex,
}

/// An encoded prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tokens {
    /// 77 numbers: the mark of the beginning, the prompt, the mark of its end, padding.
    pub ids: Vec<u32>,
    /// How many tokens at the end of the prompt were left out, because only 75 fit.
    pub dropped: usize,
}

impl Tokenizer {
    /// Reads the texts of `vocab.json` and `merges.txt`. Padding is the mark of the end, as in Stable Diffusion 1.
    ///
    /// # Errors
    /// [`Error::Model`] if a text is not of that form, or names a token that the vocabulary does not have.
    pub fn new(vocab: &str, merges: &str) -> Result<Tokenizer> {
        let ids: HashMap<String, u32> = serde_json::from_str(vocab).map_err(|error| {
            Error::Model(format!("vocab.json is no table of tokens and numbers: {error}")).one_line()
        })?;
        let id = |token: &str| {
            let line =
                || Error::Model(format!("vocab.json has no token {token:?} (is it CLIP's?)")).one_line();
            ids.get(token).copied().ok_or_else(line)
        };
        let mut pairs = HashMap::new();
        let lines =
            merges.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"));
        for (rank, line) in lines {
            let Some((a, b)) = line.split_once(' ') else {
                let line = format!("line {} of merges.txt is {line:?} (expected two tokens)", rank + 1);
                return Err(Error::Model(line).one_line());
            };
            pairs.entry((id(a)?, id(b)?)).or_insert((rank, id(&format!("{a}{b}"))?));
        }
        let [start, end] = [id(START)?, id(END)?];
        let pieces = Regex::new(PIECES).expect("the pattern is a constant, and the tests compile it");
        Ok(Tokenizer { merges: pairs, start, end, padding: end, pieces, ids })
    }

    /// Pads with another token: `pad_token` of `tokenizer_config.json`, which is `!` in Stable Diffusion 2.
    ///
    /// # Errors
    /// [`Error::Model`] if the vocabulary does not have it.
    pub fn with_padding(mut self, token: &str) -> Result<Tokenizer> {
        let line = || Error::Model(format!("vocab.json has no token {token:?} for padding")).one_line();
        self.padding = self.ids.get(token).copied().ok_or_else(line)?;
        Ok(self)
    }

    /// The 77 tokens of a prompt.
    ///
    /// # Errors
    /// [`Error::Usage`] if the prompt has more than 16 KiB.
    pub fn encode(&self, prompt: &str) -> Result<Tokens> {
        if prompt.len() > MAX_BYTES {
            let line = format!("the prompt has {} bytes (expected at most {MAX_BYTES})", prompt.len());
            return Err(Error::Usage(line));
        }
        let mut ids = vec![self.start];
        let mut rest = prompt;
        while let Some((at, mark, id)) = [(START, self.start), (END, self.end)]
            .into_iter()
            .filter_map(|(mark, id)| Some((rest.find(mark)?, mark, id)))
            .min()
        {
            self.plain(&rest[..at], &mut ids);
            ids.push(id);
            rest = &rest[at + mark.len()..];
        }
        self.plain(rest, &mut ids);
        let dropped = ids.len().saturating_sub(LENGTH - 1);
        ids.truncate(LENGTH - 1);
        ids.push(self.end);
        ids.resize(LENGTH, self.padding);
        Ok(Tokens { ids, dropped })
    }

    /// Adds the tokens of text without marks.
    fn plain(&self, text: &str, ids: &mut Vec<u32>) {
        let text: String = text.nfc().flat_map(char::to_lowercase).collect();
        self.pieces.find_iter(&text).for_each(|piece| self.piece(piece.as_str(), ids));
    }

    /// Joins the pairs of a piece, those of the lowest rank first.
    fn piece(&self, piece: &str, ids: &mut Vec<u32>) {
        let last = piece.len() - 1;
        let symbol = |(i, byte): (usize, u8)| {
            let symbol = format!("{}{}", letter(byte), if i == last { "</w>" } else { "" });
            self.ids.get(&symbol).copied().unwrap_or(self.end)
        };
        let mut word: Vec<u32> = piece.bytes().enumerate().map(symbol).collect();
        let join = |pair: &[u32]| self.merges.get(&(pair[0], pair[1]));
        while let Some(&(rank, joined)) = word.windows(2).filter_map(join).min() {
            let mut next = Vec::with_capacity(word.len());
            let mut i = 0;
            while i < word.len() {
                let joins = i + 1 < word.len() && join(&word[i..]).is_some_and(|found| found.0 == rank);
                next.push(if joins { joined } else { word[i] });
                i += if joins { 2 } else { 1 };
            }
            word = next;
        }
        ids.extend(word);
    }
}

/// The printable character that stands for a byte in the vocabulary (Radford et al. 2019).
fn letter(byte: u8) -> char {
    let is_printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..);
    match is_printable(&byte) {
        true => char::from(byte),
        false => {
            let hidden = (0..byte).filter(|other| !is_printable(other)).count();
            char::from_u32(256 + hidden as u32).unwrap_or_default()
        }
    }
}
