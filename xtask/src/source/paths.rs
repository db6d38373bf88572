//! The paths that a file names: in `use`, in expressions, in types and inside macros, with what the
//! file's own renames stand for.
//!
//! A path is a run of words and `::` among the tokens. That is less than a parser knows and sees
//! more: the bodies of macros, which a parser leaves as they are, are tokens like any other.

use std::collections::BTreeMap;

use super::Source;
use super::lexer::Kind;

/// A path, as written at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    /// The words, whole for a leaf of a `use` tree: `use a::{b, c as d}` names `a::b` and `a::c`.
    pub(crate) segments: Vec<String>,
    pub(crate) role: Role,
    /// The index of its first and of its last token; of a `use` tree, those of the leaf.
    pub(crate) first: usize,
    pub(crate) last: usize,
    /// The inline modules around it.
    pub(crate) modules: Vec<String>,
}

/// How a path is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Imported, under this name.
    Import(String),
    /// Imported with all that is in it: `use path::*`.
    Glob,
    /// Given another name by `type Name = path;`.
    Alias(String),
    /// Used where it stands.
    Used,
    /// Used where it stands, and the path goes on with what a macro puts there: `path::$name`.
    Unfinished,
}

/// Words that begin no path.
const KEYWORDS: [&str; 34] = [
    "as", "async", "await", "break", "const", "continue", "dyn", "else", "enum", "extern", "false",
    "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref",
    "return", "static", "struct", "trait", "true", "type", "unsafe", "use", "where", "while",
];

/// Returns every path of the file, in order.
pub(super) fn mentions(source: &Source) -> Vec<Mention> {
    let mut walk = Walk {
        source,
        found: Vec::new(),
        modules: Vec::new(),
    };
    let mut at = 0;
    while at < source.tokens.len() {
        at = walk.step(at);
    }
    walk.found
}

struct Walk<'source> {
    source: &'source Source,
    found: Vec<Mention>,
    /// The inline modules that are open, each with the token that closes it.
    modules: Vec<(String, usize)>,
}

impl Walk<'_> {
    /// Takes what stands at `at`, and returns where to go on.
    fn step(&mut self, at: usize) -> usize {
        self.modules.retain(|(_, closer)| at <= *closer);
        match self.source.word(at) {
            // `use<'a>` in a type captures lifetimes.
            Some("use") if !self.source.is_sign(at + 1, '<') => self.tree(at + 1, &[]),
            Some("extern") if self.source.word(at + 1) == Some("crate") => self.tree(at + 2, &[]),
            Some("mod") => {
                if let (Some(name), Some(Kind::Open('{', closer))) =
                    (self.source.word(at + 1), self.source.kind(at + 2))
                {
                    self.modules.push((name.to_owned(), closer));
                }
                at + 2
            }
            Some("type") if self.source.is_sign(at + 2, '=') => {
                let name = self.source.word(at + 1).unwrap_or_default().to_owned();
                // `::path` and `path` alike.
                let start = if self.source.is_colons(at + 3) {
                    at + 5
                } else {
                    at + 3
                };
                let known = self.found.len();
                let next = self.path(start);
                if self.source.is_sign(next, ';')
                    && let Some(mention) = self.found.get_mut(known)
                {
                    mention.role = Role::Alias(name);
                }
                next.max(at + 3)
            }
            Some(word) if !KEYWORDS.contains(&word) && !self.is_member(at) => self.path(at),
            _ => at + 1,
        }
    }

    /// Returns true for a field or a method: what comes after a dot.
    fn is_member(&self, at: usize) -> bool {
        at > 0 && self.source.is_sign(at - 1, '.') && !(at > 1 && self.source.is_sign(at - 2, '.'))
    }

    /// Takes the path that begins at `at`.
    fn path(&mut self, at: usize) -> usize {
        let Some(word) = self.source.word(at) else {
            return at;
        };
        let mut mention = self.mention(vec![word.to_owned()], Role::Used, at);
        let mut next = at + 1;
        while self.source.is_colons(next)
            && let Some(word) = self.source.word(next + 2)
        {
            mention.segments.push(word.to_owned());
            mention.last = next + 2;
            next += 3;
        }
        if self.source.is_colons(next) && self.source.is_sign(next + 2, '$') {
            mention.role = Role::Unfinished;
        }
        // `<path>::Name`: the type in the angle brackets is the front of the path.
        if at >= 4
            && self.source.is_colons(at - 2)
            && self.source.is_sign(at - 3, '>')
            && let Some(front) = self.found.last().filter(|front| front.last == at - 4)
            && front.first > 0
            && self.source.is_sign(front.first - 1, '<')
        {
            let segments = front.segments.iter().chain(&mention.segments);
            mention.segments = segments.cloned().collect();
        }
        self.found.push(mention);
        next
    }

    /// Takes the `use` tree at `at`, whose words come after `front`.
    fn tree(&mut self, mut at: usize, front: &[String]) -> usize {
        let mut segments = front.to_vec();
        loop {
            match self.source.kind(at) {
                Some(Kind::Sign(':' | '$')) => at += 1,
                Some(Kind::Sign('*')) => {
                    let mention = self.mention(segments, Role::Glob, at);
                    self.found.push(mention);
                    return at + 1;
                }
                Some(Kind::Open('{', closer)) => {
                    let mut inner = at + 1;
                    while inner < closer {
                        inner = self.tree(inner, &segments).max(inner + 1);
                        if self.source.is_sign(inner, ',') {
                            inner += 1;
                        }
                    }
                    return closer + 1;
                }
                Some(Kind::Word) => {
                    let word = self.source.word(at).unwrap_or_default();
                    if word != "self" || segments.is_empty() {
                        segments.push(word.to_owned());
                    }
                    at += 1;
                    if !self.source.is_colons(at) {
                        return self.leaf(at, segments);
                    }
                }
                _ => return at,
            }
        }
    }

    /// Takes the end of a leaf of a `use` tree, at `at`: perhaps `as name`.
    fn leaf(&mut self, at: usize, segments: Vec<String>) -> usize {
        let renamed = self.source.word(at) == Some("as");
        let name = if renamed {
            self.source.word(at + 1)
        } else {
            segments.last().map(String::as_str)
        };
        let role = Role::Import(name.unwrap_or("_").to_owned());
        let mention = self.mention(segments, role, at - 1);
        self.found.push(mention);
        if renamed { at + 2 } else { at }
    }

    fn mention(&self, segments: Vec<String>, role: Role, at: usize) -> Mention {
        Mention {
            segments,
            role,
            first: at,
            last: at,
            modules: self.modules.iter().map(|(name, _)| name.clone()).collect(),
        }
    }
}

/// What the names of a file stand for.
///
/// It knows no scopes: a name that is imported in one function stands for that everywhere, beside
/// what else it stands for. Only the imports of test code are kept apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    shipped: Scope,
    tests: Scope,
}

#[derive(Clone, Debug, Default)]
struct Scope {
    names: BTreeMap<String, Vec<Vec<String>>>,
    globs: Vec<Vec<String>>,
}

impl Names {
    pub(super) fn new(source: &Source) -> Self {
        let mut names = Self::default();
        for mention in &source.mentions {
            let test = source.is_test(mention.first);
            let scope = if test {
                &mut names.tests
            } else {
                &mut names.shipped
            };
            match &mention.role {
                Role::Import(name) | Role::Alias(name) => {
                    let known = scope.names.entry(name.clone()).or_default();
                    known.push(mention.segments.clone());
                }
                Role::Glob => scope.globs.push(mention.segments.clone()),
                Role::Used | Role::Unfinished => {}
            }
        }
        names
    }

    /// Returns all that `mention` may stand for, itself first, with renames followed through.
    pub(crate) fn meanings(&self, mention: &Mention, test: bool) -> Vec<Vec<String>> {
        let mut found = vec![mention.segments.clone()];
        let mut next = 0;
        // Each round follows one rename; a chain of them has an end, or leads back to what is
        // known.
        while next < found.len() && found.len() < 64 {
            let path = found[next].clone();
            next += 1;
            let Some((head, rest)) = path.split_first() else {
                continue;
            };
            let scopes = [Some(&self.shipped), test.then_some(&self.tests)];
            for scope in scopes.into_iter().flatten() {
                for front in scope.names.get(head).into_iter().flatten() {
                    let meaning: Vec<String> = front.iter().chain(rest).cloned().collect();
                    if !found.contains(&meaning) {
                        found.push(meaning);
                    }
                }
            }
        }
        found
    }

    /// Returns what `mention` may be, taken out of the modules that are imported whole.
    pub(crate) fn through_globs(&self, mention: &Mention, test: bool) -> Vec<Vec<String>> {
        let scopes = [Some(&self.shipped), test.then_some(&self.tests)];
        let globs = scopes.into_iter().flatten().flat_map(|scope| &scope.globs);
        let mut found = Vec::new();
        for glob in globs {
            let front = Mention {
                segments: glob.clone(),
                ..mention.clone()
            };
            for front in self.meanings(&front, test) {
                found.push(front.iter().chain(&mention.segments).cloned().collect());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let source = Source::new(Path::new("x.rs"), text);
        let shown = |mention: &Mention| {
            let path = mention.segments.join("::");
            match &mention.role {
                Role::Import(name) => format!("use {path} as {name}"),
                Role::Glob => format!("use {path}::*"),
                Role::Alias(name) => format!("type {name} = {path}"),
                Role::Used => path,
                Role::Unfinished => format!("{path}::$"),
            }
        };
        source.mentions.iter().map(shown).collect()
    }

    #[test]
    fn use_trees_are_followed_to_their_leaves() {
        assert_eq!(
            paths("pub(crate) use ::std::{self as s, sync::{Arc as A, Mutex}, thread::*};"),
            [
                "crate",
                "use std as s",
                "use std::sync::Arc as A",
                "use std::sync::Mutex as Mutex",
                "use std::thread::*"
            ]
        );
        assert_eq!(paths("extern crate std as s;"), ["use std as s"]);
        assert_eq!(paths("use a::b::{self};"), ["use a::b as b"]);
        assert_eq!(
            paths("macro_rules! m { () => { use $crate::a; } }")[2],
            "use crate::a as a"
        );
    }

    #[test]
    fn paths_are_found_in_expressions_types_and_macros() {
        assert_eq!(paths("a.b(c::d)"), ["a", "c::d"]);
        assert_eq!(paths("vec![x::Y; 0..n]"), ["vec", "x::Y", "n"]);
        assert_eq!(paths("<x::Y>::Z"), ["x::Y", "x::Y::Z"]);
        assert_eq!(paths("type O = x::Y;"), ["type O = x::Y"]);
        assert_eq!(
            paths("fn f() -> impl A + use<'a> { std::$x }"),
            ["f", "A", "std::$", "x"]
        );
    }

    #[test]
    fn renames_are_followed_through() {
        let text = "use std::sync as s; use s::atomic as a; type O = a::Ordering; O::SeqCst";
        let source = Source::new(Path::new("x.rs"), text);
        let meanings = source
            .names
            .meanings(source.mentions.last().unwrap(), false);
        let deepest = meanings.last().unwrap().join("::");
        assert_eq!(deepest, "std::sync::atomic::Ordering::SeqCst");
    }

    #[test]
    fn imports_of_a_test_mean_nothing_outside() {
        let text = "thread::spawn();\n#[cfg(test)]\nmod tests {\n    use std::thread;\n}\n";
        let source = Source::new(Path::new("x.rs"), text);
        assert_eq!(source.names.meanings(&source.mentions[0], false).len(), 1);
        assert_eq!(source.names.meanings(&source.mentions[0], true).len(), 2);
    }
}
