//! What of a recording is asked for: filters and a window, the same for all commands.

use clap::Args;

use crate::model::filter::Filter;
use crate::model::group::Grouping;

/// Which stretch of time.
#[derive(Debug, Args)]
#[command(next_help_heading = "Time window")]
pub struct WindowArgs {
    /// Begin here: after the start of the recording, or with `-` before its end.
    ///
    /// A number of seconds, or with a unit: 2.5s, 300ms, 50us, 1m.
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub from: Option<Moment>,
    /// End before this; as for --from. What happens at this moment is in the window that begins there.
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub to: Option<Moment>,
    /// The last seconds before the end: short for --from -TIME.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "from")]
    pub last: Option<u64>,
}

/// What of a recording: the same for all commands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub struct SelectArgs {
    /// Only these processes: a pid (<0.12.0> or 0.12.0), or a registered name,
    /// label or initial call, in which * and ? stand for any text and character.
    #[arg(short, long = "process", value_name = "PID|NAME")]
    pub processes: Vec<String>,
    /// Only processes registered under these names (* and ? allowed).
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// Only processes of these groups (* and ? allowed); see --group-by.
    #[arg(short, long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// What processes are grouped by: title (the first that exists of name, label and
    /// initial call), name, label, initial_call, supervisor.
    #[arg(long, value_name = "WHAT", default_value = "title", value_parser = parse_grouping, hide_default_value = true)]
    pub group_by: Grouping,
    /// Only functions of these modules (* and ? allowed). Commands on processes
    /// take the processes that had an event of such a function.
    #[arg(short, long = "module", value_name = "MODULE")]
    pub modules: Vec<String>,
    /// Only these functions: Mod.fun/2 or mod:fun/2, with or without arity, or all
    /// of a module (* and ? allowed).
    #[arg(short, long = "function", value_name = "FUNCTION")]
    pub functions: Vec<String>,
    /// Only what began on these threads: s1, dc2, dio*, ... (* and ? allowed).
    #[arg(long = "scheduler", value_name = "LANE")]
    pub schedulers: Vec<String>,
    /// Only events of these kinds, as if no others had been recorded: call,
    /// return_to, in, out, spawn, ... (* and ? allowed).
    #[arg(short, long = "kind", value_name = "KIND")]
    pub kinds: Vec<String>,
    /// Which stretch of time.
    #[command(flatten)]
    pub window: WindowArgs,
}

/// A moment of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nanoseconds after its start.
    AfterStart(u64),
    /// Nanoseconds before its end.
    BeforeEnd(u64),
}

/// What the functions of a filter pick out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picks {
    /// Themselves.
    Functions,
    /// The processes that have events of them.
    Processes,
}

/// The filter that the arguments describe.
pub fn filter(args: &SelectArgs, picks: Picks) -> Filter {
    Filter {
        processes: args.processes.clone(),
        names: args.names.clone(),
        groups: args.groups.clone(),
        grouping: args.group_by,
        modules: args.modules.clone(),
        functions: args.functions.clone(),
        pick_processes: picks == Picks::Processes,
        names_first: false,
        everyone: false,
        schedulers: args.schedulers.clone(),
        kinds: args.kinds.clone(),
    }
}

fn parse_grouping(text: &str) -> Result<Grouping, String> {
    let known = Grouping::ALL.iter().find(|(_, name)| *name == text).map(|(grouping, _)| *grouping);
    known.ok_or_else(|| format!("processes are grouped by {}", Grouping::ALL.map(|(_, name)| name).join(", ")))
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    match text.strip_prefix('-') {
        Some(before) => parse_duration(before).map(Moment::BeforeEnd),
        None => parse_duration(text).map(Moment::AfterStart),
    }
}

fn parse_duration(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 6] = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9)];
    let unit = UNITS.iter().find_map(|(unit, ns)| text.strip_suffix(unit).map(|number| (number, *ns)));
    let (number, ns) = unit.unwrap_or((text, 1e9));
    match number.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok((value * ns).round() as u64),
        _ => Err("a time is a number of seconds, or has a unit: 2.5s, 300ms, 50us, 1m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("2.5"), Ok(2_500_000_000));
        assert_eq!(parse_duration("300ms"), Ok(300_000_000));
        assert_eq!(parse_duration("1m"), Ok(60_000_000_000));
        assert_eq!(parse_moment("-5s"), Ok(Moment::BeforeEnd(5_000_000_000)));
        assert!(parse_duration("soon").is_err() && parse_duration("-1").is_err() && parse_duration("nan").is_err());
    }
}
