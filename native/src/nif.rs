//! What Erlang calls: terms in, terms out, nothing decided here.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustler::{Atom, Encoder, Env, LocalPid, NifResult, OwnedEnv, Term};
use spoor_core::adopt::{self, Adopted, Keep, Left};
use spoor_core::governor::{Rate, Sampled, Thinned, Thinning};
use spoor_core::recording;
use spoor_core::registry::{self, State};
use spoor_core::segments;
use spoor_core::snapshot::{Copied, Failed};
use spoor_core::{Host, Limit, OpenError, Summary};
use spoor_core::{Options, Storage};
use spoor_format::lane::CAUSES;
use spoor_format::record::write;
use spoor_format::term::RawTerm;

use crate::values;
use crate::vm::{self, VmNames};

/// Bytes of a process label that are kept.
const LABEL_BYTES: usize = 256;

/// Processes that a VM has room for, where nobody says.
const PLACES: u64 = 1 << 18;

/// Processes looked at by one call, in some 100 us.
const LOOKED_AT: usize = 4096;

mod atoms {
    rustler::atoms! {
        ok, error, closed, limit, file_cut, none, full, recording, stopping,
        no_space, dir_unwritable, file_error, ring_too_small, segment_too_small, stream_too_small, too_many_recordings, unsupported,
        eacces, enoent, eexist, enotdir, erofs, eperm, enospc, emfile, eio, eloop, enametoolong, efbig, eunknown,
        enomem, edquot, enfile, eagain, enodev, enosys, enotempty, ebusy, einval,
        path, ring, owner, time, max_events, content, max_term_bytes, meta,
        phase, events, overwritten, dropped, lanes, elapsed_ms, stop_reason,
        rate, function_rate, max_cost, sample, sample_removes, max_cost_ppm, overload_stops,
        thinned, first_ms, last_ms, sampled, recorded, processes,
        copied, bytes, chunks, earlier, overtaken, covered,
        found, kept, deleted, unsure, failed, cut_short,
        mode, once, stream, segment, keep_first, packs, sync,
        spoor_tracer,
    }
}

/// Answers of functions on a recording: `ok`-ish, or `{error, closed}`.
fn or_closed<'a>(env: Env<'a>, found: Option<Term<'a>>) -> Term<'a> {
    found.unwrap_or_else(|| (atoms::error(), atoms::closed()).encode(env))
}

fn state_of(state: i64) -> State {
    State::from_integer(state)
}

#[rustler::nif(schedule = "DirtyIo")]
fn open<'a>(env: Env<'a>, config: Term<'a>) -> NifResult<Term<'a>> {
    let owner: LocalPid = config.map_get(atoms::owner())?.decode()?;
    let host = Owner { pid: owner, env: OwnedEnv::new() };
    Ok(match recording::open(options(config)?, host) {
        Ok(state) => (atoms::ok(), state.integer()).encode(env),
        Err(error) => (atoms::error(), reason(env, &error)).encode(env),
    })
}

fn options(config: Term<'_>) -> NifResult<Options> {
    let number = |key: Atom| config.map_get(key)?.decode::<u64>();
    let pairs: Vec<(rustler::Binary<'_>, rustler::Binary<'_>)> = config.map_get(atoms::meta())?.decode()?;
    let content = config.map_get(atoms::content())?.decode::<Atom>()? == atoms::full();
    let (time, max_events) = (number(atoms::time())?, number(atoms::max_events())?);
    let content_bytes = if content { number(atoms::max_term_bytes())? as usize } else { 0 };
    Ok(Options {
        path: path_of(config.map_get(atoms::path())?)?.to_owned(),
        storage: storage(config)?,
        sync: config.map_get(atoms::sync()).and_then(|ms| ms.decode::<u64>()).ok().map(Duration::from_millis),
        places: config.map_get(atoms::processes()).map_or(Ok(PLACES), |places| places.decode::<u64>())?,
        threads: threads(),
        time: (time > 0).then(|| Duration::from_millis(time)),
        max_events: (max_events > 0).then_some(max_events),
        thinning: thinning(config)?,
        content_bytes,
        meta: pairs.iter().map(|(key, value)| (lossy(key), lossy(value))).collect(),
        thread_kind: vm::thread_kind,
    })
}

/// Where events go; without `mode` into a ring.
fn storage(config: Term<'_>) -> NifResult<Storage> {
    let number = |key: Atom| config.map_get(key)?.decode::<u64>();
    let is = |key: Atom| config.map_get(key).map_or(Ok(false), |value| value.decode::<bool>());
    let bytes = number(atoms::ring())?;
    Ok(match config.map_get(atoms::mode()).and_then(|mode| mode.decode::<Atom>()) {
        Ok(mode) if mode == atoms::once() => Storage::Once(bytes),
        Ok(mode) if mode == atoms::stream() => Storage::Stream(segments::Stream {
            segment_bytes: number(atoms::segment())?,
            total_bytes: bytes,
            keep_first: is(atoms::keep_first())?,
            packs: is(atoms::packs())?,
        }),
        _ => Storage::Ring(bytes),
    })
}

/// What thins the recording; keys that are not there thin nothing.
fn thinning(config: Term<'_>) -> NifResult<Thinning> {
    let number = |key: Atom| config.map_get(key).map_or(Ok(0), |value| value.decode::<u32>());
    let is = |key: Atom| config.map_get(key).map_or(Ok(false), |value| value.decode::<bool>());
    let rate = |key: Atom| match config.map_get(key).and_then(|value| value.decode::<(u32, u64)>()) {
        Ok((events, ms)) if events > 0 && ms > 0 => Some(Rate { events, per: Duration::from_millis(ms) }),
        _ => None,
    };
    Ok(Thinning {
        rate: rate(atoms::rate()),
        function_rate: rate(atoms::function_rate()),
        sample: number(atoms::sample())?,
        sample_removes: is(atoms::sample_removes())?,
        max_cost_ppm: number(atoms::max_cost_ppm())?,
        overload_stops: is(atoms::overload_stops())?,
    })
}

/// Threads of the VM: its schedulers of all kinds, and a few that never trace.
fn threads() -> u64 {
    std::fs::read_dir("/proc/self/task").map_or(64, |tasks| tasks.count() as u64)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A path is bytes, in whatever encoding.
fn path_of(term: Term<'_>) -> NifResult<&Path> {
    let bytes = term.decode::<rustler::Binary<'_>>()?.as_slice();
    Ok(Path::new(OsStr::from_bytes(bytes)))
}

fn path_term<'a>(env: Env<'a>, path: &Path) -> Term<'a> {
    let bytes = path.as_os_str().as_bytes();
    let mut binary = rustler::NewBinary::new(env, bytes.len());
    binary.as_mut_slice().copy_from_slice(bytes);
    binary.into()
}

fn reason<'a>(env: Env<'a>, error: &OpenError) -> Term<'a> {
    let path = |path: &Path| path_term(env, path);
    match error {
        OpenError::NoSpace { need, have } => (atoms::no_space(), need, have).encode(env),
        OpenError::Directory { path: at, error } => (atoms::dir_unwritable(), path(at), posix(error)).encode(env),
        OpenError::File { path: at, error } => (atoms::file_error(), path(at), posix(error)).encode(env),
        OpenError::RingTooSmall { least } => (atoms::ring_too_small(), least).encode(env),
        OpenError::SegmentTooSmall { segment, least, stream } => {
            (atoms::segment_too_small(), segment, least, stream).encode(env)
        }
        OpenError::StreamTooSmall { stream, least, segment } => {
            (atoms::stream_too_small(), stream, least, segment).encode(env)
        }
        OpenError::TooMany => atoms::too_many_recordings().encode(env),
        other => (atoms::unsupported(), other.to_string()).encode(env),
    }
}

/// The system's error, named as Erlang's `file` module names it.
fn posix(error: &std::io::Error) -> Atom {
    match error.raw_os_error().unwrap_or(0) {
        libc::EACCES => atoms::eacces(),
        libc::ENOENT => atoms::enoent(),
        libc::EEXIST => atoms::eexist(),
        libc::ENOTDIR => atoms::enotdir(),
        libc::EROFS => atoms::erofs(),
        libc::EPERM => atoms::eperm(),
        libc::ENOSPC => atoms::enospc(),
        libc::EMFILE => atoms::emfile(),
        libc::EIO => atoms::eio(),
        libc::ELOOP => atoms::eloop(),
        libc::ENAMETOOLONG => atoms::enametoolong(),
        libc::EFBIG => atoms::efbig(),
        libc::ENOMEM => atoms::enomem(),
        libc::EDQUOT => atoms::edquot(),
        libc::ENFILE => atoms::enfile(),
        libc::EAGAIN => atoms::eagain(),
        libc::ENODEV => atoms::enodev(),
        libc::ENOSYS => atoms::enosys(),
        libc::ENOTEMPTY => atoms::enotempty(),
        libc::EBUSY => atoms::ebusy(),
        libc::EINVAL => atoms::einval(),
        _ => atoms::eunknown(),
    }
}

/// Copies the last milliseconds of a recording, or all for 0, into a file that must
/// not exist. The process is told by `{spoor_tracer, State, {copied, Path, Answer}}`.
#[rustler::nif(schedule = "DirtyIo")]
fn copy<'a>(env: Env<'a>, state: i64, path: Term<'a>, last_ms: u64, to: LocalPid) -> NifResult<Term<'a>> {
    let path = path_of(path)?.to_owned();
    let last = (last_ms > 0).then(|| Duration::from_millis(last_ms));
    let told = path.clone();
    let answer = move |made: Result<Copied, Failed>| {
        // Nobody waits any more where the process is gone.
        let _ = OwnedEnv::new().send_and_clear(&to, |env| {
            let made = match &made {
                Ok(copied) => copied_map(env, copied)
                    .map_or_else(|_| atoms::error().encode(env), |map| (atoms::ok(), map).encode(env)),
                Err(Failed::Io(error)) => (atoms::error(), posix(error)).encode(env),
                Err(_) => (atoms::error(), atoms::closed()).encode(env),
            };
            (atoms::spoor_tracer(), state, (atoms::copied(), path_term(env, &told), made))
        });
    };
    let asked = registry::with(state_of(state), |recording| recording.snapshot(&path, last, answer));
    Ok(or_closed(
        env,
        asked.map(|asked| match asked {
            Ok(()) => atoms::ok().encode(env),
            Err(error) => (atoms::error(), posix(&error)).encode(env),
        }),
    ))
}

fn copied_map<'a>(env: Env<'a>, copied: &Copied) -> NifResult<Term<'a>> {
    Term::map_from_pairs(
        env,
        &[
            (atoms::bytes(), copied.bytes),
            (atoms::events(), copied.events),
            (atoms::chunks(), copied.chunks),
            (atoms::earlier(), copied.earlier),
            (atoms::overtaken(), copied.overtaken),
            (atoms::covered(), copied.covered_ms),
        ],
    )
}

/// Begins to count the time limit.
#[rustler::nif]
fn start_time(env: Env<'_>, state: i64) -> Term<'_> {
    let started = registry::with(state_of(state), |recording| recording.start_time());
    or_closed(env, started.map(|()| atoms::ok().encode(env)))
}

/// Begins to count the stretches of limits.
#[rustler::nif]
fn start_stretches(env: Env<'_>, state: i64) -> Term<'_> {
    let started = registry::with(state_of(state), |recording| recording.start_stretches());
    or_closed(env, started.map(|()| atoms::ok().encode(env)))
}

/// How often somebody began to trace since garbage collections are left to others; takes
/// them back if that is as often as `seen`.
#[rustler::nif]
fn gc_guard(state: i64, seen: u64) -> u64 {
    state_of(state).clear_gc_guard(seen)
}

#[rustler::nif]
fn close<'a>(env: Env<'a>, state: i64, reason: rustler::Binary<'a>) -> Term<'a> {
    let closed = registry::with(state_of(state), |recording| recording.close(&lossy(&reason)));
    or_closed(env, closed.map(|()| atoms::ok().encode(env)))
}

#[rustler::nif]
fn status<'a>(env: Env<'a>, state: i64) -> NifResult<Term<'a>> {
    let summary = registry::with(state_of(state), |recording| recording.summary());
    let map = summary.map(|summary| summary_map(env, &summary)).transpose()?;
    Ok(or_closed(env, map.map(|map| (atoms::ok(), map).encode(env))))
}

fn summary_map<'a>(env: Env<'a>, summary: &Summary) -> NifResult<Term<'a>> {
    let phase = if summary.recording { atoms::recording() } else { atoms::stopping() };
    let causes = CAUSES.iter().zip(summary.dropped).filter(|(_, count)| *count > 0);
    let causes = causes.map(|(cause, count)| Ok((Atom::from_str(env, cause)?, count)));
    let causes = causes.collect::<NifResult<Vec<_>>>()?;
    let sampled = summary.sampled.map(|sampled| sampled_map(env, sampled)).transpose()?;
    let sampled = sampled.map(|map| (atoms::sampled().encode(env), map));
    let told = Term::map_from_pairs(
        env,
        &[
            (atoms::path(), path_term(env, &summary.path)),
            (atoms::phase(), phase.encode(env)),
            (atoms::events(), summary.events.encode(env)),
            (atoms::overwritten(), summary.overwritten.encode(env)),
            (atoms::dropped(), Term::map_from_pairs(env, &causes)?),
            (atoms::thinned(), thinned_map(env, &summary.thinned)?),
            (atoms::lanes(), summary.lanes.encode(env)),
            (atoms::ring(), summary.room_bytes.encode(env)),
            (atoms::elapsed_ms(), (summary.elapsed.as_millis() as u64).encode(env)),
            (atoms::stop_reason(), summary.stop_reason.encode(env)),
        ],
    )?;
    sampled.map_or(Ok(told), |(key, map)| told.map_put(key, map))
}

fn sampled_map<'a>(env: Env<'a>, sampled: Sampled) -> NifResult<Term<'a>> {
    Term::map_from_pairs(env, &[(atoms::recorded(), sampled.recorded), (atoms::processes(), sampled.processes)])
}

/// Processes that are traced from now on are counted in or out of a sample; answers those
/// that are left for another call.
#[rustler::nif]
fn meet<'a>(env: Env<'a>, state: i64, processes: Term<'a>) -> Term<'a> {
    let met = registry::with(state_of(state), |recording| {
        let mut rest = vm::word_of(processes);
        for _ in 0..LOOKED_AT {
            let Some((process, tail)) = vm::cell(rest) else { break };
            if vm::kind(process) == vm::Kind::Pid {
                recording.meet(vm::identity_word(process));
            }
            rest = tail;
        }
        vm::term_of(env, rest)
    });
    or_closed(env, met)
}

/// Cause to when and how many.
fn thinned_map<'a>(env: Env<'a>, thinned: &[Thinned]) -> NifResult<Term<'a>> {
    let one = |thinned: &Thinned| {
        let ms = |time: Duration| (time.as_millis() as u64).encode(env);
        let pairs = [
            (atoms::events(), thinned.events.encode(env)),
            (atoms::first_ms(), ms(thinned.first)),
            (atoms::last_ms(), ms(thinned.last)),
        ];
        let pairs = pairs.map(|(key, value)| (key.encode(env), value));
        Ok((Atom::from_str(env, thinned.cause.name())?.encode(env), Term::map_from_pairs(env, &pairs)?))
    };
    let pairs = thinned.iter().map(one).collect::<NifResult<Vec<_>>>()?;
    Term::map_from_pairs(env, &pairs)
}

/// Of the processes at the beginning of the list, those of which nothing was described yet, and
/// the list behind them: `{New, Rest}`.
#[rustler::nif]
fn undescribed<'a>(env: Env<'a>, state: i64, processes: Term<'a>) -> Term<'a> {
    let looked = registry::with(state_of(state), |recording| {
        let (mut new, mut rest) = (Vec::new(), vm::word_of(processes));
        for _ in 0..LOOKED_AT {
            let Some((process, tail)) = vm::cell(rest) else { break };
            if vm::kind(process) == vm::Kind::Pid && !recording.is_known(vm::identity_word(process)) {
                new.push(vm::term_of(env, process));
            }
            rest = tail;
        }
        (new, vm::term_of(env, rest)).encode(env)
    });
    or_closed(env, looked)
}

/// Writes what is known of processes, if it is news: `{Pid, Parent, Name, Label, InitialCall, Hash}`.
#[rustler::nif]
fn describe<'a>(env: Env<'a>, state: i64, processes: Vec<Term<'a>>) -> Term<'a> {
    let written = registry::with(state_of(state), |recording| {
        for process in &processes {
            describe_one(env, recording, *process);
        }
    });
    or_closed(env, written.map(|()| atoms::ok().encode(env)))
}

fn describe_one(env: Env<'_>, recording: &recording::Recording, process: Term<'_>) {
    let Some(&[pid, parent, name, label, initial, hash]) = vm::tuple(vm::word_of(process)) else { return };
    let hash = vm::small(hash).unwrap_or(0) as u64;
    if vm::kind(pid) != vm::Kind::Pid || !recording.is_news(vm::identity_word(pid), hash) {
        return;
    }
    let (env, undefined) = (env.as_c_arg(), crate::atoms::UNDEFINED.word());
    recording.info(|s, delta| {
        let name = if vm::is_atom(name) && name != undefined { s.atom(name, &VmNames(env))? } else { 0 };
        let initial = match vm::function(initial) {
            Some(function) => s.function(function, &VmNames(env))?,
            None => 0,
        };
        // No label and no parent are said by `none`, not by the atom.
        let mut label_space = [0; LABEL_BYTES];
        let label = values::encode_unless(s, env, label, undefined, &mut label_space)?;
        let mut parent_space = [0; 64];
        let parent = values::encode_unless(s, env, parent, undefined, &mut parent_space)?;
        write::process_info(s, delta, vm::identity_word(pid), parent, name, label, initial)
    });
}

/// Writes a remark into the file.
#[rustler::nif]
fn note<'a>(env: Env<'a>, state: i64, what: Term<'a>, detail: Term<'a>) -> NifResult<Term<'a>> {
    if !what.is_atom() {
        return Err(rustler::Error::BadArg);
    }
    let (raw, what, detail) = (env.as_c_arg(), vm::word_of(what), vm::word_of(detail));
    let written = registry::with(state_of(state), |recording| {
        recording.info(|s, delta| {
            let what = s.atom(what, &VmNames(raw))?;
            values::full(s, raw, detail, LABEL_BYTES, |s, detail: RawTerm<'_>| write::note(s, delta, what, detail))
        });
    });
    Ok(or_closed(env, written.map(|()| atoms::ok().encode(env))))
}

/// Looks through a directory for recordings whose VMs died, see [`adopt::adopt`].
#[rustler::nif(name = "adopt", schedule = "DirtyIo")]
fn adopt_all<'a>(env: Env<'a>, directory: Term<'a>, files: u64, bytes: u64) -> NifResult<Term<'a>> {
    match adopt::adopt(path_of(directory)?, Keep { files, bytes }) {
        Ok(adopted) => Ok((atoms::ok(), adopted_map(env, &adopted)?).encode(env)),
        Err(error) => Ok((atoms::error(), posix(&error)).encode(env)),
    }
}

fn adopted_map<'a>(env: Env<'a>, adopted: &Adopted) -> NifResult<Term<'a>> {
    let one = |left: &Left| (path_term(env, &left.path), left.bytes, left.started_ns).encode(env);
    let all = |lefts: &[Left]| lefts.iter().map(one).collect::<Vec<_>>().encode(env);
    let unsure: Vec<_> = adopted.unsure.iter().map(|path| path_term(env, path)).collect();
    let failed: Vec<_> = adopted.failed.iter().map(|(path, error)| (path_term(env, path), posix(error))).collect();
    Term::map_from_pairs(
        env,
        &[
            (atoms::found(), all(&adopted.found)),
            (atoms::kept(), all(&adopted.kept)),
            (atoms::deleted(), all(&adopted.deleted)),
            (atoms::unsure(), unsure.encode(env)),
            (atoms::failed(), failed.encode(env)),
            (atoms::cut_short(), adopted.is_cut_short.encode(env)),
        ],
    )
}

/// The process that a recording belongs to, as its keeper sees it.
struct Owner {
    pid: LocalPid,
    env: OwnedEnv,
}

impl Owner {
    fn tell(&self, state: State, message: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) {
        // An owner that is gone needs no message.
        let _ = OwnedEnv::new().send_and_clear(&self.pid, |env| {
            let message = message(env);
            (atoms::spoor_tracer(), state.integer(), message)
        });
    }
}

impl Host for Owner {
    fn owner_alive(&self) -> bool {
        self.env.run(|env| self.pid.is_alive(env))
    }

    fn limit(&self, state: State, limit: Limit) {
        let name = match limit {
            Limit::Time => atoms::time(),
            Limit::MaxEvents => atoms::max_events(),
            Limit::Rate => atoms::rate(),
            Limit::FunctionRate => atoms::function_rate(),
            Limit::MaxCost | Limit::Refusing => atoms::max_cost(),
            Limit::Full => atoms::full(),
            Limit::FileCut => atoms::file_cut(),
        };
        self.tell(state, |env| (atoms::limit(), name).encode(env));
    }

    fn closed(&self, state: State, summary: &Summary) {
        self.tell(state, |env| match summary_map(env, summary) {
            Ok(map) => (atoms::closed(), map).encode(env),
            Err(_) => atoms::closed().encode(env),
        });
    }
}
