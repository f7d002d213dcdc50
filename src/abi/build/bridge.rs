//! The bridge's declarations of each line's `v8::Platform` and `v8::TaskRunner`, and which functions of the platform are hooked: the slots
//! are those of the catalogue, what a function returns and by what its hook tells whose a call is stand in `lines/common.toml`.

use crate::data::{Common, Hook};
use std::fmt::Write as _;

/// The headers of a line, by name.
pub fn headers(
    common: &Common,
    platform: &[String],
    runner: &[String],
) -> Result<[(&'static str, String); 3], String> {
    Ok([
        ("task_runner.h", task_runner(common, runner)?),
        ("platform.h", self::platform(common, platform)?),
        ("line_hooks.h", hooks(common, platform)?),
    ])
}

/// The function of a slot by its name, with its parameters as the catalogue has them, and what it returns. None: a destructor.
fn function<'a>(common: &'a Common, slot: &'a str) -> Result<Option<(&'a str, &'a str, &'a str)>, String> {
    if slot.starts_with('~') {
        return Ok(None);
    }
    let (name, parameters) = slot.split_at(slot.find('(').unwrap_or(slot.len()));
    // An overload that returns something else stands there with its parameters.
    let function = common.virtual_functions.get(slot).or_else(|| common.virtual_functions.get(name));
    let unknown = || {
        format!("lines/common.toml: virtual_functions.{name}: it is not there, and a V8 has that function")
    };
    Ok(Some((name, parameters, &function.ok_or_else(unknown)?.returns)))
}

/// Declarations of all slots. `body` says what stands behind the one of a name.
fn declarations(
    common: &Common,
    class: &str,
    slots: &[String],
    body: fn(&str) -> &'static str,
) -> Result<String, String> {
    let mut text = String::new();
    for (number, slot) in slots.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = match function(common, slot)? {
            Some((name, parameters, returns)) => {
                writeln!(text, "  virtual {returns} {name}{parameters}{};  // {number}", body(name))
            }
            None if slot == "~D1" => {
                writeln!(text, "  virtual ~{class}() = default;  // {number} and the next")
            }
            None => continue,
        };
    }
    Ok(text)
}

fn header(name: &str, guard: &str, what: &str, body: &str) -> String {
    format!("// {name}: {what} Made by the build.\n#ifndef {guard}\n#define {guard}\n\n{body}\n#endif  // {guard}\n")
}

fn task_runner(common: &Common, slots: &[String]) -> Result<String, String> {
    // Those that are told where they were called came later: what implements the class has its own of the others.
    let body = |name: &str| if name.ends_with("Impl") { " {}" } else { " = 0" };
    let declared = declarations(common, "TaskRunner", slots, body)?.replace("{};", "{}");
    let text = format!(
        "namespace v8 {{\n\nclass SourceLocation;\n\nclass TaskRunner {{\n public:\n  TaskRunner() = default;\n  \
         TaskRunner(const TaskRunner&) = delete;\n  TaskRunner& operator=(const TaskRunner&) = delete;\n{declared}}};\n\n}}  // namespace v8\n"
    );
    Ok(header(
        "task_runner.h",
        "RELINK_TASK_RUNNER_H_",
        "v8::TaskRunner (v8-platform.h) with the slots of its functions.",
        &text,
    ))
}

fn platform(common: &Common, slots: &[String]) -> Result<String, String> {
    let declared = declarations(common, "Platform", slots, |_| " = 0")?;
    let text = format!(
        "#include \"task_runner.h\"\n\nnamespace v8 {{\n\nclass ScopedBlockingCall;\nclass ThreadIsolatedAllocator;\n\
         enum class BlockingType : uint8_t {{ kMayBlock, kWillBlock }};\n\n\
         // Never implemented here: the bridge calls Node's and shadows the host's. Some of it is protected in v8-platform.h.\n\
         class Platform {{\n public:\n  using StackTracePrinter = void (*)();\n{declared}}};\n\n}}  // namespace v8\n"
    );
    Ok(header(
        "platform.h",
        "RELINK_PLATFORM_H_",
        "v8::Platform (v8-platform.h) with the slots of its functions.",
        &text,
    ))
}

fn hooks(common: &Common, slots: &[String]) -> Result<String, String> {
    let mut text = "namespace relink {\n\ninline void hook_line() {\n  using namespace v8;\n".to_owned();
    for slot in slots {
        let Some((name, parameters, returns)) = function(common, slot)? else { continue };
        let by = match common.virtual_functions[name].hook {
            Some(Hook::Isolate) => "isolate",
            Some(Hook::Thread) => "thread",
            None => continue,
        };
        let _ = writeln!(
            text,
            "  hook_by_{by}<static_cast<{returns} (Platform::*){parameters}>(&Platform::{name})>();"
        );
    }
    text.push_str("}\n\n}  // namespace relink\n");
    Ok(header(
        "line_hooks.h",
        "RELINK_LINE_HOOKS_H_",
        "the functions of the line's platform that are hooked.",
        &text,
    ))
}
