//! What adapters declare of the guests' V8s by hand has the slots and sizes that the catalogue tells of the real headers.

#[path = "support/data.rs"]
mod data;
#[path = "support/facts.rs"]
mod facts;

use data::data;
use facts::facts;
use relink::abi::catalogue::known_abis;
use relink::abi::line;
use relink::abi::version::V8Version;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The interfaces of the guest's that adapters declare by hand, and what they are called in V8.
const BY_HAND: [(&str, &str); 11] = [
    ("TaskRunner", "v8::TaskRunner"),
    ("Platform", "v8::Platform"),
    ("SerializerDelegate", "v8::ValueSerializer::Delegate"),
    ("DeserializerDelegate", "v8::ValueDeserializer::Delegate"),
    ("Allocator", "v8::ArrayBuffer::Allocator"),
    ("ExternalStringOf", "v8::String::ExternalStringResource"),
    ("ExternalStringOf", "v8::String::ExternalOneByteStringResource"),
    ("EmbedderGraph", "v8::EmbedderGraph"),
    ("InspectorClient", "v8_inspector::V8InspectorClient"),
    ("InspectorSession", "v8_inspector::V8InspectorSession"),
    ("Inspector", "v8_inspector::V8Inspector"),
];

fn start_of(class: &str) -> String {
    format!("class {class} {{\n")
}

/// The virtual functions that a class in `header` declares, in order; a destructor has two slots.
fn declared(header: &str, class: &str) -> Vec<String> {
    let from = header.split(&start_of(class)).nth(1).expect("the class");
    let body = from.split("\n};").next().expect("its end");
    let functions = body.split("virtual ").skip(1).map(|text| {
        let before = text.split('(').next().expect("a parameter list");
        before.rsplit([' ', '*']).next().expect("a name").to_owned()
    });
    let slots =
        |name: String| if name.starts_with('~') { vec!["~D1".into(), "~D0".into()] } else { vec![name] };
    functions.flat_map(slots).collect()
}

/// Our declarations of a guest's interfaces, as the compiler reads them for a guest of that V8 (1103: 11.3).
fn by_hand(guest: u32) -> String {
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/adapters/guest.h");
    let text = std::fs::read_to_string(header).expect("the header");
    let ours: Vec<&str> = text.lines().filter(|line| !line.starts_with("#include")).collect();
    let mut compiler = Command::new("g++");
    compiler.args(["-E", "-P", "-x", "c++", "-DRELINK_INSPECTOR", &format!("-DRELINK_GUEST={guest}"), "-"]);
    let mut child = compiler.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("g++");
    child.stdin.take().expect("its input").write_all(ours.join("\n").as_bytes()).expect("written");
    let ended = child.wait_with_output().expect("ended");
    assert!(ended.status.success());
    String::from_utf8(ended.stdout).expect("text")
}

/// Whether an interface has the same slots in this Node's V8 and in all of these.
fn same_since(node: u32, interface: &str) -> bool {
    let own = line::of_node(node).expect("a line").v8;
    let later = data().units().filter(|(guest, _)| *guest == own).filter_map(|(_, host)| data().v8(host));
    let later = later.filter_map(|v8| V8Version::parse(v8.full()));
    let of = |v8: V8Version| known_abis(v8)[0].facts().vtables.get(interface);
    later.into_iter().all(|v8| of(v8).is_some() && of(v8) == facts(node).vtables.get(interface))
}

#[test]
fn the_guests_interfaces_have_the_slots_of_its_headers() {
    for (node, v8) in [(18, 1002), (20, 1103), (22, 1204), (24, 1306)] {
        let (header, facts) = (by_hand(v8), facts(node));
        for (ours, theirs) in BY_HAND {
            let of: Vec<&str> =
                facts.vtables[theirs].iter().map(|f| f.split('(').next().unwrap_or(f)).collect();
            if header.contains(&start_of(ours)) {
                assert_eq!(declared(&header, ours), of, "{theirs} of Node {node}");
            } else {
                assert!(same_since(node, theirs), "{theirs} of Node {node} has changed");
            }
        }
        let swapped = header.replacen("virtual void muteMetrics", "virtual void unmuteMetrics", 1);
        assert_ne!(declared(&swapped, "InspectorClient"), declared(&header, "InspectorClient"));
    }
}

/// What is made for the guest in its own room has the size that its headers give it.
#[test]
fn the_guests_parameters_have_the_size_of_its_headers() {
    let header =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/adapters/params.h"));
    let of = |node| facts(node).records["v8::Isolate::CreateParams"].size;
    let (most, of_20) = (of(18), of(20));
    assert_eq!((of(22), of(24)), (most, most));
    let checked =
        format!("sizeof(CreateParams) == (1103 <= RELINK_GUEST && RELINK_GUEST < 1204 ? {of_20} : {most})");
    assert!(header.expect("the header").contains(&checked), "{checked}");
}
