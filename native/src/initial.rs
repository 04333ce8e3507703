//! What a spawned process really runs: through `proc_lib` and `gen`, as
//! `proc_lib:translate_initial_call/1` looks.

use spoor_core::stream::FunctionWords;

use crate::atoms;
use crate::vm::{self, Word};

/// What a process really runs that was spawned as `{M, F, Args}`: words of two atoms, and the arity.
pub(crate) fn initial_function(spawned: Word) -> Option<FunctionWords> {
    match initial_call(spawned) {
        Initial::Function(term) => vm::function(term),
        Initial::Callback(module) => Some((module, atoms::INIT.word(), 1)),
        Initial::Supervisor(callback) => Some((atoms::SUPERVISOR.word(), callback, 1)),
        Initial::Started(module, name, arguments) => {
            vm::list_length(arguments).map(|arity| (module, name, u64::from(arity)))
        }
    }
}

/// What a spawned process really runs.
#[derive(Clone, Copy)]
enum Initial {
    /// The callback module of a behaviour.
    Callback(Word),
    /// A supervisor, by its callback module: `supervisor:Callback/1`, as `proc_lib` says it.
    Supervisor(Word),
    /// The function that `proc_lib` was asked to start: module, name, arguments.
    Started(Word, Word, Word),
    /// As spawned: `{M, F, Args}`.
    Function(Word),
}

/// Looks through `proc_lib` and `gen`, as `proc_lib:translate_initial_call/1` does.
fn initial_call(spawned: Word) -> Initial {
    through_proc_lib(spawned).unwrap_or(Initial::Function(spawned))
}

fn through_proc_lib(spawned: Word) -> Option<Initial> {
    let &[module, name, arguments] = vm::tuple(spawned)? else { return None };
    if module != atoms::PROC_LIB.word() || name != atoms::INIT_P.word() {
        return None;
    }
    let [_parent, _ancestors, module, name, arguments] = elements(arguments)?;
    if !vm::is_atom(module) || !vm::is_atom(name) {
        return None;
    }
    Some(through_gen(module, name, arguments).unwrap_or(Initial::Started(module, name, arguments)))
}

/// `gen:init_it(Behaviour, Starter, Parent, [Name,] Module, Args, Options)`.
fn through_gen(module: Word, name: Word, arguments: Word) -> Option<Initial> {
    if module != atoms::GEN.word() || name != atoms::INIT_IT.word() {
        return None;
    }
    let (callback, init_argument) = match elements::<7>(arguments) {
        Some([_, _, _, _name, callback, argument, _]) => (callback, argument),
        None => elements::<6>(arguments).map(|[_, _, _, callback, argument, _]| (callback, argument))?,
    };
    if callback != atoms::SUPERVISOR.word() {
        return vm::is_atom(callback).then_some(Initial::Callback(callback));
    }
    // A supervisor is told its callback module: `{Self, Module, Args}`.
    match vm::tuple(init_argument)? {
        &[_, of, _] if vm::is_atom(of) => Some(Initial::Supervisor(of)),
        _ => Some(Initial::Callback(callback)),
    }
}

/// The elements of a list of exactly `N`.
fn elements<const N: usize>(list: Word) -> Option<[Word; N]> {
    let (mut found, mut rest) = ([0; N], list);
    for place in &mut found {
        (*place, rest) = vm::cell(rest)?;
    }
    (rest == vm::NIL).then_some(found)
}
