//! Tokens of a Rust file, from rustc's own lexer, so that raw strings, byte strings, nested
//! comments, lifetimes and character literals are what the compiler takes them for.

use std::ops::Range;

use ra_ap_rustc_lexer::{FrontmatterAllowed, LiteralKind, TokenKind, tokenize};

/// A piece of code; comments and white space are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Where it stands in the file, in bytes.
    pub(crate) at: Range<usize>,
}

/// What a token is, as far as the rules ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or a keyword.
    Word,
    /// A number, a string or a character; also a lifetime.
    Literal,
    /// One character of punctuation.
    Sign(char),
    /// `(`, `[` or `{`, with the index of the token that closes it.
    Open(char, usize),
    /// `)`, `]` or `}`, with the index of the token that it closes.
    Close(char, usize),
}

/// A file cut into tokens and comments.
#[derive(Debug, Default)]
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    /// Where the comments stand, in bytes, documentation included.
    pub(crate) comments: Vec<Range<usize>>,
    /// Where the insides of strings and whole character literals stand: neither code nor comment.
    pub(crate) quoted: Vec<Range<usize>>,
}

/// Cuts `text` into tokens and comments.
pub(crate) fn lex(text: &str) -> Lexed {
    let mut lexed = Lexed::default();
    let mut start = 0;
    let mut open = Vec::new();
    for token in tokenize(text, FrontmatterAllowed::No) {
        let at = start..start + token.len as usize;
        start = at.end;
        let kind = match token.kind {
            TokenKind::Whitespace | TokenKind::Eof => continue,
            TokenKind::LineComment { .. } | TokenKind::BlockComment { .. } => {
                lexed.comments.push(at);
                continue;
            }
            TokenKind::Ident | TokenKind::RawIdent | TokenKind::InvalidIdent => Kind::Word,
            TokenKind::Literal { kind, .. } => {
                lexed
                    .quoted
                    .extend(inside(kind, &text[at.clone()], at.start));
                Kind::Literal
            }
            TokenKind::Lifetime { .. } | TokenKind::RawLifetime => Kind::Literal,
            _ => sign(text[at.clone()].chars().next().unwrap_or(' ')),
        };
        let kind = match kind {
            Kind::Open(..) => {
                open.push(lexed.tokens.len());
                kind
            }
            Kind::Close(sign, _) => {
                let (opener, here) = (open.pop().unwrap_or(0), lexed.tokens.len());
                if let Some(Token {
                    kind: Kind::Open(_, closer),
                    ..
                }) = lexed.tokens.get_mut(opener)
                {
                    *closer = here;
                }
                Kind::Close(sign, opener)
            }
            other => other,
        };
        lexed.tokens.push(Token { kind, at });
    }
    // A bracket that nothing closes reaches to the end; such a file does not build.
    let last = lexed.tokens.len().saturating_sub(1);
    for opener in open {
        if let Kind::Open(_, closer) = &mut lexed.tokens[opener].kind {
            *closer = last;
        }
    }
    lexed
}

fn sign(character: char) -> Kind {
    match character {
        '(' | '[' | '{' => Kind::Open(character, 0),
        ')' | ']' | '}' => Kind::Close(character, 0),
        other => Kind::Sign(other),
    }
}

/// Returns what a literal quotes: a string's inside, a character with its quotes; nothing of a
/// number.
fn inside(kind: LiteralKind, text: &str, start: usize) -> Option<Range<usize>> {
    match kind {
        LiteralKind::Int { .. } | LiteralKind::Float { .. } => None,
        LiteralKind::Char { .. } | LiteralKind::Byte { .. } => Some(start..start + text.len()),
        _ => {
            let from = text.find('"')? + 1;
            let to = text
                .rfind('"')
                .filter(|to| *to >= from)
                .unwrap_or(text.len());
            Some(start + from..start + to)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        let tokens = lex(text).tokens;
        let words = tokens.iter().filter(|token| token.kind == Kind::Word);
        words.map(|token| &text[token.at.clone()]).collect()
    }

    #[test]
    fn strings_of_every_kind_end_where_the_compiler_ends_them() {
        for literal in [
            r#"r"\""#,
            r##"r#"a " b"#"##,
            r#"br"\""#,
            r#"b"\"""#,
            r#"c"x""#,
            r#""\\""#,
            r#""a\"b""#,
            "\"a\nb\"",
            r"'\''",
            "'\"'",
            "b'\"'",
            r"'\u{1F600}'",
        ] {
            assert_eq!(
                words(&format!("before({literal}); after")),
                ["before", "after"],
                "{literal}"
            );
        }
    }

    #[test]
    fn comments_nest_and_lifetimes_are_no_characters() {
        assert_eq!(words("a /* b /* c */ d */ e // f\ng"), ["a", "e", "g"]);
        assert_eq!(
            words("fn f<'a>(x: &'a str, y: &'a T) {}"),
            ["fn", "f", "x", "str", "y", "T"]
        );
        assert_eq!(words("'label: loop { break 'label; }"), ["loop", "break"]);
    }

    #[test]
    fn brackets_know_their_partners() {
        let tokens = lex("f(a[0], { b })").tokens;
        assert_eq!(tokens[1].kind, Kind::Open('(', 10));
        assert_eq!(tokens[10].kind, Kind::Close(')', 1));
        assert_eq!(tokens[3].kind, Kind::Open('[', 5));
        assert_eq!(tokens[7].kind, Kind::Open('{', 9));
    }
}
