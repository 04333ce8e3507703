//! Functions as users write them.
//!
//! `Elixir.MyApp.Orders`, `create`, 2 is `MyApp.Orders.create/2`; `lists`, `map`,
//! 2 is `lists:map/2`; what the compilers made of closures and comprehensions is
//! named after the function that it stands in, with a number (`#2`) behind all but
//! the first of them.

use std::fmt;

use crate::read::{FunctionId, Names, quoted};

/// The function's name.
pub fn function(names: &Names, id: FunctionId) -> String {
    let (module, name, arity) = names.function_parts(id);
    mfa(module, name, arity)
}

/// The module's name.
pub fn module(names: &Names, id: FunctionId) -> String {
    quoted(names.function_parts(id).0)
}

/// Module, name and arity as users write them.
pub fn mfa(module: &str, name: &str, arity: u64) -> String {
    let plain = |name: &str, arity: &str| match module.strip_prefix("Elixir.") {
        Some(elixir) => format!("{elixir}.{name}/{arity}"),
        None => format!("{}:{}/{arity}", quoted(module), quoted(name)),
    };
    match made(name) {
        Some(Made::Fun { function, of_arity, nth }) => {
            format!("anonymous fn/{arity} in {}{nth}", plain(function, of_arity))
        }
        Some(Made::Comprehension { function, of_arity, nth }) => {
            format!("comprehension in {}{nth}", plain(function, of_arity))
        }
        Some(Made::InlinedCall { function, of_arity, called, nth }) => {
            format!("inlined {} in {}{nth}", called.replace('^', ":"), plain(function, of_arity))
        }
        Some(Made::Inlined { function, of_arity }) => format!("inlined {}", plain(function, of_arity)),
        Some(Made::Capture { function, of_arity }) => format!("&{}", plain(function, of_arity)),
        None => plain(name, &arity.to_string()),
    }
}

/// What a compiler-made name says.
enum Made<'a> {
    Fun { function: &'a str, of_arity: &'a str, nth: Nth<'a> },
    Comprehension { function: &'a str, of_arity: &'a str, nth: Nth<'a> },
    InlinedCall { function: &'a str, of_arity: &'a str, called: &'a str, nth: Nth<'a> },
    Inlined { function: &'a str, of_arity: &'a str },
    Capture { function: &'a str, of_arity: &'a str },
}

/// Which of several it is: the number that the compiler puts at the end.
struct Nth<'a>(&'a str);

impl fmt::Display for Nth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "0" => Ok(()),
            number => write!(f, " #{number}"),
        }
    }
}

fn made(name: &str) -> Option<Made<'_>> {
    let inner = name.strip_prefix('-')?.strip_suffix('-')?;
    if let Some(inlined) = inner.strip_prefix("inlined-") {
        let (function, of_arity) = split_arity(inlined)?;
        return Some(Made::Inlined { function, of_arity });
    }
    if let Some(captured) = inner.strip_prefix("fun.") {
        let (function, of_arity) = split_arity(captured)?;
        return Some(Made::Capture { function, of_arity });
    }
    // NAME/ARITY-WHAT: the name itself may hold any of these characters.
    let (at, arity_end) = find_arity(inner)?;
    let (function, of_arity) = (&inner[..at], &inner[at + 1..arity_end]);
    let what = inner.get(arity_end + 1..)?;
    let nth = Nth(what.rsplit_once('-')?.1);
    if what.starts_with("fun-") {
        return Some(Made::Fun { function, of_arity, nth });
    }
    let (form, _) = what.split_once('^')?;
    if ["lc$", "blc$", "lbc$", "bbc$", "mc$", "lmc$", "bmc$", "mlc$", "mbc$", "mmc$"].contains(&form) {
        return Some(Made::Comprehension { function, of_arity, nth });
    }
    let called = what.split('-').next().unwrap_or(what);
    let called = called.rsplit_once('/').map_or(called, |(name, _)| name);
    Some(Made::InlinedCall { function, of_arity, called, nth })
}

fn split_arity(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once('/').filter(|(_, arity)| !arity.is_empty() && arity.bytes().all(|b| b.is_ascii_digit()))
}

/// Where `/ARITY-` stands: the place of the slash and of the dash.
fn find_arity(text: &str) -> Option<(usize, usize)> {
    text.match_indices('/').find_map(|(at, _)| {
        let digits = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let end = at + 1 + digits;
        (digits > 0 && text.as_bytes().get(end) == Some(&b'-')).then_some((at, end))
    })
}

#[cfg(test)]
mod tests {
    use super::mfa;

    #[test]
    fn functions_read_as_their_users_write_them() {
        assert_eq!(mfa("lists", "map", 2), "lists:map/2");
        assert_eq!(mfa("Elixir.MyApp.Orders", "create", 2), "MyApp.Orders.create/2");
        assert_eq!(mfa("Elixir.MyApp.Orders", "valid?", 1), "MyApp.Orders.valid?/1");
        assert_eq!(mfa("shop", "Weird name", 0), "shop:'Weird name'/0");
        assert_eq!(mfa("-", "-", 0), "'-':'-'/0");
    }

    #[test]
    fn what_compilers_make_is_named_after_its_function() {
        assert_eq!(mfa("Elixir.Agnt", "-anon/1-fun-0-", 1), "anonymous fn/1 in Agnt.anon/1");
        assert_eq!(mfa("shop", "-total/2-fun-3-", 4), "anonymous fn/4 in shop:total/2 #3");
        assert_eq!(mfa("shop", "-foo/1-lc$^0/1-0-", 1), "comprehension in shop:foo/1");
        assert_eq!(mfa("shop", "-foo/1-lc$^4/1-1-", 1), "comprehension in shop:foo/1 #1");
        assert_eq!(mfa("shop", "-foo/1-lbc$^0/1-2-", 1), "comprehension in shop:foo/1 #2");
        assert_eq!(mfa("shop", "-map/2-lists^map/1-1-", 2), "inlined lists:map in shop:map/2 #1");
        assert_eq!(mfa("shop", "-map/2-lists^map/1-0-", 2), "inlined lists:map in shop:map/2");
        assert_eq!(mfa("shop", "-inlined-sum/2-", 2), "inlined shop:sum/2");
        assert_eq!(mfa("shop", "-fun.sum/2-", 2), "&shop:sum/2");
        assert_eq!(mfa("Elixir.A", "-a-b/c/1-fun-0-", 0), "anonymous fn/0 in A.a-b/c/1");
    }
}
