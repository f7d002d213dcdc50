//! The report for people.

use super::Report;
use std::fmt::Write as _;

/// The report as text: a few lines, most important first.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail, so results of writeln! are not looked at.
    let unknown = || "unknown".to_owned();
    let host_v8 = report.host_v8.clone().unwrap_or_else(unknown);
    let _ = writeln!(text, "host      {} (pid {})", report.host, report.pid);
    let provider = report.provider.clone().unwrap_or_else(unknown);
    let _ = writeln!(text, "V8        {host_v8} in {provider}");
    if let Some(because) = &report.provider_because {
        let _ = writeln!(text, "because   {because}");
    }
    let node = report.node.clone().unwrap_or_else(unknown);
    let guest_v8 = report.guest_v8.clone().unwrap_or_else(unknown);
    let _ = writeln!(text, "guest     Node {node}, compiled for V8 {guest_v8}: {}", report.guest);
    if let Some(verdict) = &report.verdict {
        let _ = writeln!(text, "verdict   {verdict}");
    }
    if let Some(probe) = &report.probe {
        let _ = writeln!(text, "probe     {}", probe.text());
    }
    bound(&mut text, report);
    for witness in &report.witnesses {
        let _ = writeln!(
            text,
            "proof     {} = {} in {} ({})",
            readable(&witness.symbol),
            witness.address,
            witness.module,
            witness.protection
        );
    }
    if !report.v8_modules.is_empty() {
        let _ = writeln!(
            text,
            "proof     modules with a V8 in this process, guest included: {}",
            report.v8_modules.join(", ")
        );
    }
    if let Some(audit) = &report.audit {
        let left: Vec<_> = audit.left.iter().map(|(to, names)| format!("{} in {to}", names.len())).collect();
        let _ = writeln!(
            text,
            "audit     {} slots hold what the plan says, {} do not; names left to the dynamic linker: {}",
            audit.right,
            audit.wrong.len(),
            left.join(", ")
        );
        for line in &audit.wrong {
            let _ = writeln!(text, "wrong     {line}");
        }
    }
    for adapter in &report.adapters {
        let _ = writeln!(text, "adapter   {} for {}", adapter.stands_in, readable(&adapter.symbol));
    }
    for (what, flags) in [("set", &report.flags_set), ("dropped", &report.flags_dropped)] {
        if !flags.is_empty() {
            let _ = writeln!(text, "flags     {what}: {}", flags.join(" "));
        }
    }
    for lost in &report.degraded {
        let _ = writeln!(text, "degraded  {lost}");
    }
    for note in &report.notes {
        let _ = writeln!(text, "note      {note}");
    }
    times(&mut text, report);
    ending(&mut text, report);
    text
}

/// A C++ name as people write it, without its parameters.
fn readable(symbol: &str) -> String {
    let options = cpp_demangle::DemangleOptions::new().no_params().no_return_type();
    let name = cpp_demangle::Symbol::new(symbol).ok().and_then(|s| s.demangle_with_options(&options).ok());
    name.unwrap_or_else(|| symbol.to_owned())
}

fn bound(text: &mut String, report: &Report) {
    if report.slots.is_empty() {
        return;
    }
    let kinds: Vec<_> = report.slots.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let total: usize = report.slots.values().sum();
    let _ = writeln!(
        text,
        "slots     {total} bound ({}) in {} pages, {} left to the dynamic linker",
        kinds.join(", "),
        report.pages,
        report.left_to_the_linker
    );
    let reasons: Vec<_> = report.reasons.iter().map(|(why, count)| format!("{count} {why}")).collect();
    let _ = writeln!(text, "because   {}", reasons.join(", "));
}

fn times(text: &mut String, report: &Report) {
    if report.stages.is_empty() {
        return;
    }
    let stages: Vec<_> =
        report.stages.iter().map(|s| format!("{} {}.{:03} ms", s.stage, s.us / 1000, s.us % 1000)).collect();
    let _ = writeln!(text, "times     {}", stages.join(", "));
}

fn ending(text: &mut String, report: &Report) {
    if let Some(outcome) = &report.outcome {
        let detail =
            if outcome.message.is_empty() { String::new() } else { format!(": {}", outcome.message) };
        let _ = writeln!(text, "ended     {} with exit code {}{detail}", outcome.how, outcome.exit_code);
    }
    if let Some(error) = &report.error {
        let _ = writeln!(text, "error     {} {}", error.code, error.message);
    }
}
